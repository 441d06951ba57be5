"""The Surge Board as the server writes it: complete and readable before any script runs."""

import re
import time

import pytest
import redis
from django.test import Client

from signals.models import Strategy
from tests.signals.factories import board_put, board_row, outcome_make, signal_make, strategy_make

pytestmark = pytest.mark.django_db


def shown(page: Client, address: str = "/") -> str:
    answer = page.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def row_of(html: str, symbol: str) -> str:
    (row,) = re.findall(rf'<tr data-symbol="{symbol}".*?</tr>', html, re.DOTALL)
    return row


def test_the_board_shows_each_coin_most_probable_first(page: Client, hot: redis.Redis) -> None:
    board_put(hot, board_row("ETHUSDT", p=0.12), board_row("BTCUSDT", p=0.42), board_row("SOLUSDT", p=None))
    html = shown(page)
    assert re.findall(r'<tr data-symbol="(\w+)"', html) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    row = row_of(html, "BTCUSDT")
    for text in ("42.0%", "+3.5", "67,123.45", "1.2", "-4.4", "live", 'width="42.0%"'):
        assert text in row


def test_a_coin_above_the_threshold_stands_out(page: Client, hot: redis.Redis) -> None:
    strategy_make(p_min=0.4)
    board_put(hot, board_row("BTCUSDT", p=0.42), board_row("ETHUSDT", p=0.39))
    html = shown(page)
    assert "data-hot" in row_of(html, "BTCUSDT")
    assert "data-hot" not in row_of(html, "ETHUSDT")


def test_a_strategy_that_is_off_sets_no_threshold(page: Client, hot: redis.Redis) -> None:
    strategy_make(p_min=0.4, is_active=False)
    board_put(hot, board_row("BTCUSDT", p=0.42))
    html = shown(page)
    assert "data-hot" not in row_of(html, "BTCUSDT")
    assert "switched off" in html


def test_why_a_coin_gives_no_signal_is_said_in_words(page: Client, hot: redis.Redis) -> None:
    board_put(hot, board_row(reason="probability, cooldown"))
    assert 'title="Probability, Not cooling down"' in row_of(shown(page), "BTCUSDT")


def test_an_empty_board_says_what_to_do(page: Client, hot: redis.Redis) -> None:
    html = shown(page)
    assert "No prices yet" in html
    assert "./surge up" in html
    assert "No coin chosen" in html


def test_old_prices_are_marked_and_a_banner_says_so(page: Client, hot: redis.Redis) -> None:
    board_put(hot, board_row(tick_ns=str(time.time_ns() - 60_000_000_000)))
    html = shown(page)
    assert 'data-state="stale"' in row_of(html, "BTCUSDT")
    assert re.search(r'data-banner="stale">', html)
    assert re.search(r'data-banner="problem" hidden', html)


def test_fresh_prices_raise_no_banner(page: Client, hot: redis.Redis) -> None:
    board_put(hot, board_row())
    banners = re.findall(r'data-banner="([\w-]+)">', shown(page))
    assert banners == []


def test_without_redis_the_page_still_comes_and_says_why(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mode: str) -> None:
        raise redis.ConnectionError("no one there")

    monkeypatch.setattr("signals.views.board_rows", fail)
    assert re.search(r'data-banner="problem">', shown(page))


def test_the_coin_in_the_address_is_chosen(page: Client, hot: redis.Redis) -> None:
    board_put(hot, board_row("BTCUSDT"), board_row("币安人生USDT", p=0.1, price=0.2311))
    html = shown(page, "/?symbol=币安人生USDT&minutes=60")
    assert 'aria-selected="true"' in row_of(html, "币安人生USDT")
    assert 'data-symbol="币安人生USDT" data-minutes="60"' in html
    assert 'href="?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&amp;minutes=60"' in html
    assert '<b id="now-price">0.23110</b>' in html


@pytest.mark.parametrize("minutes", ["7", "-1", "x", "99999999999999999999", "٣", ""])
def test_a_strange_time_range_is_the_default(page: Client, hot: redis.Redis, minutes: str) -> None:
    assert 'data-minutes="15"' in shown(page, f"/?minutes={minutes}")


def test_what_the_address_says_cannot_write_markup(page: Client, hot: redis.Redis) -> None:
    html = shown(page, "/?symbol=</script><script>alert(1)</script>")
    assert "<script>alert(1)" not in html


def test_signals_stand_newest_first_with_the_numbers_behind_them(page: Client, hot: redis.Redis) -> None:
    outcome_make(signal_make("ETHUSDT", seconds_ago=300))
    signal_make("BTCUSDT", seconds_ago=5)
    html = shown(page)
    assert re.findall(r'<article class="signal"[^>]*data-symbol="(\w+)"', html) == ["BTCUSDT", "ETHUSDT"]
    for text in ("71.0%", "+18.4 bps", "24.3 bps", "Order book in sync", "fees", "outcome pending", "target reached"):
        assert text in html


def test_an_outcome_nobody_saw_has_no_number(page: Client, hot: redis.Redis) -> None:
    outcome_make(signal_make(), "unseen", None)
    html = shown(page)
    assert '<span class="result result-unseen">not observed</span>' in html
    assert "none settled" in html


def test_the_title_card_counts_a_day(page: Client, hot: redis.Redis) -> None:
    outcome_make(signal_make(seconds_ago=100), "tp", 35.7)
    outcome_make(signal_make(seconds_ago=200), "sl", -64.3)
    signal_make(seconds_ago=10)
    outcome_make(signal_make(seconds_ago=90_000), "sl", -64.3)
    html = shown(page)
    assert 'id="signals-day">3<' in html
    assert "50.0% <small>of 2 settled</small>" in html
    assert "-14.3 <small>bps</small>" in html


def test_signals_of_the_other_mode_are_not_shown(page: Client, hot: redis.Redis) -> None:
    signal_make("LEAKUSDT", mode="production")
    board_put(hot, board_row("LEAKUSDT"), mode="production")
    assert "LEAKUSDT" not in shown(page)


def test_the_mode_can_be_seen_and_read(page: Client, hot: redis.Redis, settings) -> None:
    html = shown(page)
    assert "mode-bar-demo" in html
    assert 'data-watermark="DEMO"' in html
    assert "Simulated exchange" in html
    settings.SURGE_MODE = "production"
    html = shown(page)
    assert "mode-bar-production" in html
    assert "data-watermark" not in html
    assert "PRODUCTION</title>" in html


def test_a_card_is_served_alone_for_live_arrival(page: Client) -> None:
    signal = signal_make("BTCUSDT")
    html = shown(page, f"/signals/{signal.public_id}/card/")
    assert html.startswith("<article")
    assert str(signal.public_id) in html
    assert page.get("/signals/00000000-0000-0000-0000-000000000000/card/").status_code == 404


def test_feed_and_figures_are_served_alone_for_a_fresh_start(page: Client) -> None:
    signal_make("BTCUSDT")
    assert shown(page, "/signals/feed/").count("<article") == 1
    assert 'id="signals-day">1<' in shown(page, "/signals/tally/")


def test_the_page_writes_no_style_and_no_script_into_itself(page: Client, hot: redis.Redis) -> None:
    board_put(hot, board_row())
    outcome_make(signal_make())
    html = shown(page)
    assert not re.search(r'\sstyle="', html)
    assert "<style" not in html
    assert not re.search(r"\son\w+=", html)
    scripts = re.findall(r"<script\b([^>]*)>", html)
    assert scripts
    assert all("src=" in script or 'type="application/json"' in script for script in scripts)


def test_the_page_needs_few_questions_to_the_database(
    page: Client, hot: redis.Redis, django_assert_max_num_queries
) -> None:
    for number in range(30):
        outcome_make(signal_make(seconds_ago=10 + number))
    assert Strategy.objects.count() == 1
    with django_assert_max_num_queries(12):
        page.get("/")
