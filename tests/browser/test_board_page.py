"""The Surge Board in a real browser: live without reloading, in two languages, two themes and two sizes."""

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import redis
from django.contrib.sessions.models import Session

from signals import formats, sse
from signals.models import Signal
from signals.selectors import outcome_row, signal_row
from signals.translations import po_entries
from surge_site.config import PROJECT
from tests.browser.cast import COINS, board_fill, board_publish, scores_fill
from tests.browser.conftest import Window
from tests.browser.site_process import SiteProcess
from tests.signals.factories import board_put, outcome_make, signal_make, strategy_make

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
CATALOGUE = PROJECT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"


@pytest.fixture(scope="session")
def scores(clickhouse_url: str) -> None:
    scores_fill()


@pytest.fixture(autouse=True)
def board(hot: redis.Redis, scores: None) -> None:
    """Five coins that are live, two strategies, one signal of each kind."""
    strategy_make("a-tier", "A", p_min=0.6)
    loose = strategy_make("b-tier", "B", p_min=0.4)
    board_fill(hot)
    outcome_make(signal_make("BTCUSDT", seconds_ago=240, strategy=loose), "tp", 35.7)
    outcome_make(signal_make("ETHUSDT", seconds_ago=500), "sl", -64.3)
    signal_make("BTCUSDT", seconds_ago=60)


def until(page: Any, expression: str, timeout: float = 15.0) -> None:
    """Wait until the expression is true; Playwright's own waiting would need `eval`, which the page forbids."""
    deadline = time.monotonic() + timeout
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true within {timeout} s: {expression}"
        page.wait_for_timeout(50)


def cell(page: Any, coin: str, name: str) -> str:
    return str(page.inner_text(f'tr[data-symbol="{coin}"] [data-cell="{name}"]'))


def drawn(page: Any) -> None:
    page.wait_for_selector("#plot .main-svg")
    page.wait_for_selector("#chart-cover", state="hidden")


def test_a_reader_logs_in_and_sees_the_board(window: Window) -> None:
    page = window.log_in()
    assert page.eval_on_selector_all("#rows tr", "rows => rows.map((row) => row.dataset.symbol)") == list(COINS)
    assert cell(page, "BTCUSDT", "p") == "42.0%"
    assert cell(page, "PEPEUSDT", "price") == "0.00001234"
    assert page.locator(".signal").count() == 3
    drawn(page)
    assert page.inner_text("#chart-title") == "BTCUSDT"


def test_prices_move_without_reloading(window: Window, hot: redis.Redis) -> None:
    page = window.log_in()
    page.evaluate("window.stayed = true")
    board_publish(hot, ETHUSDT={"price": 3500.0, "p": 0.77, "utility_bps": 25.0})
    page.wait_for_selector('tr[data-symbol="ETHUSDT"] [data-cell="price"]:text-is("3,500.00")')
    assert cell(page, "ETHUSDT", "p") == "77.0%"
    assert page.locator('tr[data-symbol="ETHUSDT"][data-hot]').count() == 1
    until(page, "document.querySelector('#rows tr').dataset.symbol === 'ETHUSDT'")
    assert page.inner_text("#top-symbol") == "ETHUSDT"
    assert page.evaluate("window.stayed") is True


def test_a_coin_that_appears_gets_a_row_of_its_own(window: Window, hot: redis.Redis) -> None:
    page = window.log_in()
    sse.publish_board([board_fill(hot)[0] | {"symbol": "新币USDT", "p": None, "state": "warming"}])
    page.wait_for_selector('tr[data-symbol="新币USDT"][data-state="warming"]')
    assert cell(page, "新币USDT", "p") == "–"
    page.click('tr[data-symbol="新币USDT"]')
    assert "symbol=新币USDT" in unquote(page.url)


def test_a_signal_arrives_without_reloading(window: Window) -> None:
    page = window.log_in()
    page.evaluate("window.stayed = true")
    signal = signal_make("SOLUSDT", seconds_ago=0.1)
    sse.publish_signal(signal_row(signal))
    card = page.wait_for_selector(f'.feed > [data-signal="{signal.public_id}"]:first-child')
    for text in ("SOLUSDT", "71.0%", "+18.4 bps", "24.3 bps", "outcome pending"):
        assert text in card.inner_text()
    toast = page.inner_text(".toast")
    assert "SOLUSDT" in toast
    assert "probability 71.0%, utility +18.4 bps" in toast
    page.wait_for_selector('#signals-day:text-is("4")')
    card.query_selector("summary").click()
    assert "Order book in sync" in card.inner_text()
    assert page.evaluate("window.stayed") is True


def test_the_same_signal_told_twice_is_shown_once(window: Window) -> None:
    page = window.log_in()
    signal = signal_make("SOLUSDT", seconds_ago=0.1)
    for _ in range(3):
        sse.publish_signal(signal_row(signal))
    later = signal_make("ETHUSDT", seconds_ago=0.1)
    sse.publish_signal(signal_row(later))
    page.wait_for_selector(f'[data-signal="{later.public_id}"]')
    assert page.locator(f'[data-signal="{signal.public_id}"]').count() == 1


def test_an_outcome_replaces_the_waiting_and_leaves_the_card_open(window: Window) -> None:
    page = window.log_in()
    card = page.locator(".signal").first
    card.locator("summary").click()
    public_id = card.get_attribute("data-signal")
    outcome = outcome_make(Signal.objects.get(public_id=public_id), "timeout", -12.5)
    sse.publish_outcome({"public_id": public_id, "outcome": outcome_row(outcome), "return_bps": outcome.return_bps})
    page.wait_for_selector(f'[data-signal="{public_id}"] .result-timeout')
    assert "timed out -12.5 bps" in card.inner_text()
    assert page.locator(f'[data-signal="{public_id}"] details[open]').count() == 1


def test_a_chosen_coin_is_in_the_address_and_in_the_chart(window: Window) -> None:
    page = window.log_in()
    drawn(page)
    page.click('tr[data-symbol="币安人生USDT"] a')
    until(page, "document.getElementById('chart-title').textContent === '币安人生USDT'")
    assert "symbol=币安人生USDT" in unquote(page.url)
    page.click('a[data-minutes="60"]')
    assert "minutes=60" in page.url
    drawn(page)
    page.reload()
    window.live()
    drawn(page)
    assert page.inner_text("#chart-title") == "币安人生USDT"
    assert page.get_attribute('a[data-minutes="60"]', "aria-current") == "true"
    page.go_back()
    until(page, "document.getElementById('chart-title').textContent === '币安人生USDT'")
    page.go_back()
    until(page, "document.getElementById('chart-title').textContent === 'BTCUSDT'")


def test_the_chart_grows_with_the_scores_and_marks_signals(window: Window, hot: redis.Redis) -> None:
    page = window.log_in()
    drawn(page)
    lengths = "() => document.getElementById('plot').data.map((trace) => trace.x.length)"
    before = page.evaluate(lengths)
    assert before[0] > 500
    board_publish(hot, BTCUSDT={"price": 67_200.0})
    until(page, f"({lengths})()[0] === {before[0] + 1}")
    assert page.evaluate("document.getElementById('plot').data[0].y.at(-1)") == 67_200.0
    sse.publish_signal(signal_row(signal_make("BTCUSDT", seconds_ago=0.1)))
    until(page, f"({lengths})()[2] === {before[2] + 1}")


def test_the_theme_changes_at_once_and_is_there_again_from_the_first_byte(window: Window) -> None:
    page = window.log_in()
    drawn(page)
    background = "getComputedStyle(document.documentElement).backgroundColor"
    line = "document.getElementById('plot').data[0].line.color"
    assert page.evaluate(background) == "rgb(19, 23, 34)"
    dark_line = page.evaluate(line)
    with page.expect_response("**/preferences/"):
        page.click(".theme-to-light")
    assert page.evaluate(background) == "rgb(240, 243, 250)"
    until(page, f"{line} !== '{dark_line}'")
    answer = page.reload()
    assert 'data-theme="light"' in answer.text()
    page.wait_for_selector(".theme-to-dark")


def test_the_language_changes_and_the_address_stays(window: Window) -> None:
    page = window.log_in()
    page.click('tr[data-symbol="ETHUSDT"] a')
    page.click('a[data-minutes="360"]')
    address = page.url
    page.click('button[name="language"]')
    page.wait_for_selector('html[lang="zh-hans"]')
    assert page.url == address
    assert page.inner_text("h1") == "暴涨看板"
    assert page.inner_text("#chart-title") == "ETHUSDT"
    window.live()
    assert page.inner_text("#live-word") == "实时"
    page.click('button[name="language"]')
    page.wait_for_selector('html[lang="en"]')


def test_the_chinese_page_says_nothing_in_english(window: Window, hot: redis.Redis) -> None:
    page = window.log_in()
    page.click('button[name="language"]')
    page.wait_for_selector('html[lang="zh-hans"]')
    window.live()
    drawn(page)
    for summary in page.query_selector_all(".signal summary"):
        summary.click()
    sse.publish_signal(signal_row(signal_make("SOLUSDT", seconds_ago=0.1)))
    page.wait_for_selector(".toast")
    english = {
        entry.key.split("\x04")[-1] for entry in po_entries(CATALOGUE.read_text("utf-8")) if entry.key != entry.text
    }
    said = page.evaluate(
        """() => {
          const texts = [];
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walk.nextNode()) {
            const isHidden = walk.currentNode.parentElement.closest("script, template, code");
            if (!isHidden) texts.push(walk.currentNode.data.trim());
          }
          for (const element of document.querySelectorAll("[title], [aria-label], [placeholder]")) {
            for (const name of ["title", "aria-label", "placeholder"]) texts.push(element.getAttribute(name) ?? "");
          }
          return texts;
        }"""
    )
    assert len(said) > 100
    assert sorted(text for text in english & set(said) if text) == []
    coins = {name for coin in COINS for name in (coin, coin.removesuffix("USDT"))}
    words = {word for text in said for word in re.findall(r"[A-Za-z]{4,}", text)}
    allowed = {"Surge", "DEMO", "English", "Switch", "surge", "reader", "tier", "JSON", "Redis", "USDT"}
    assert sorted(word.removesuffix("USDT") for word in words if word not in allowed and word not in coins) == []


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_fits_every_window(windows: Any, pictures: Path | None, language: str, theme: str, size: dict) -> None:
    window = windows(viewport=size, has_touch=size is PHONE)
    cookies = {"surge_theme": theme, "django_language": language}
    window.context.add_cookies(
        [{"name": name, "value": value, "url": window.site.url} for name, value in cookies.items()]
    )
    page = window.log_in()
    drawn(page)
    assert window.overflow() == 0
    page.click(".signal summary")
    assert window.overflow() == 0
    wrap = page.evaluate(
        "(() => { const w = document.querySelector('.table-wrap'); return w.scrollWidth - w.clientWidth })()"
    )
    assert wrap == 0
    if pictures:
        page.screenshot(path=pictures / f"board-{theme}-{language}-{size['width']}.png")


def test_a_phone_has_menu_and_jumps(windows: Any) -> None:
    window = windows(viewport=PHONE, has_touch=True)
    page = window.log_in()
    assert not page.is_visible("#sidebar")
    page.click(".menu-button")
    page.wait_for_selector("#sidebar", state="visible")
    assert page.get_attribute(".menu-button", "aria-expanded") == "true"
    page.keyboard.press("Escape")
    page.wait_for_selector("#sidebar", state="hidden")
    page.click('.jump a[href="#signals"]')
    until(page, "scrollY > 0 && document.getElementById('signals').getBoundingClientRect().top < innerHeight - 100")


def test_the_board_is_worked_without_a_mouse(window: Window) -> None:
    page = window.log_in()
    page.keyboard.press("j")
    page.keyboard.press("j")
    until(page, "document.getElementById('chart-title').textContent === '币安人生USDT'")
    page.keyboard.press("k")
    until(page, "document.getElementById('chart-title').textContent === 'ETHUSDT'")
    page.keyboard.press("/")
    page.keyboard.type("sol")
    assert page.eval_on_selector_all("#rows tr", "rows => rows.filter((row) => !row.hidden).length") == 1
    page.keyboard.type("xx")
    assert page.is_visible("#search-blank")
    page.keyboard.press("Escape")
    assert page.eval_on_selector_all("#rows tr", "rows => rows.filter((row) => !row.hidden).length") == len(COINS)
    with page.expect_response("**/preferences/"):
        page.keyboard.press("t")
    page.wait_for_selector('html[data-theme="light"]')
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip-link"


def test_when_no_data_come_the_page_says_so(window: Window, hot: redis.Redis) -> None:
    page = window.log_in()
    assert page.is_hidden('[data-banner="stale"]')
    page.wait_for_selector('#live-badge[data-state="stale"]')
    page.wait_for_selector('[data-banner="stale"]')
    page.wait_for_selector('tr[data-symbol="BTCUSDT"][data-state="stale"]')
    board_publish(hot)
    page.wait_for_selector('#live-badge[data-state="live"]')
    page.wait_for_selector('[data-banner="stale"]', state="hidden")


def test_an_empty_board_fills_itself(window: Window, hot: redis.Redis) -> None:
    board_put(hot)
    page = window.page
    page.goto("/")
    page.fill("#id_username", "reader")
    page.fill("#id_password", "reads-all-day-long")
    page.click("main .button-primary")
    assert "No prices yet" in page.inner_text("#board-blank")
    board_publish(hot)
    page.wait_for_selector('tr[data-symbol="BTCUSDT"]')
    assert page.is_hidden("#board-blank")


def test_without_scripts_the_page_can_be_read(windows: Any) -> None:
    window = windows(viewport=WIDE, java_script_enabled=False)
    page = window.page
    page.goto("/")
    page.fill("#id_username", "reader")
    page.fill("#id_password", "reads-all-day-long")
    page.click("main .button-primary")
    assert cell(page, "BTCUSDT", "p") == "42.0%"
    assert "The chart needs JavaScript" in page.inner_text("#chart-cover")
    page.click('tr[data-symbol="ETHUSDT"] a')
    assert page.inner_text("#chart-title") == "ETHUSDT"
    page.click(".signal summary")
    assert "Order book in sync" in page.inner_text(".signal")
    page.click(".theme-to-light")
    assert page.get_attribute("html", "data-theme") == "light"


def test_numbers_look_the_same_from_server_and_script(window: Window) -> None:
    page = window.log_in()
    values = [0, 0.04, -0.04, 0.05, 1.25, -12.36, 99.99, 100, 67123.456, 0.00001234, 0.5432, 9_940, 61_000, 7.3e6, None]
    told = page.evaluate(
        """async (values) => {
          const format = await import("/static/js/format.js");
          const names = ["priceText", "percentText", "bpsText", "signedBpsText", "ageText"];
          return values.map((value) => names.map((name) => format[name](value)));
        }""",
        values,
    )
    for value, texts in zip(values, told, strict=True):
        ours = [formats.price_text, formats.percent_text, formats.bps_text, formats.signed_bps_text, formats.age_text]
        assert texts == [write(value) for write in ours], value


def test_the_admin_wears_the_same_clothes(window: Window, pictures: Path | None) -> None:
    page = window.log_in()
    page.goto("/admin/signals/signal/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 23, 34)"
    assert page.locator("#result_list tbody tr").count() == 3
    if pictures:
        page.screenshot(path=pictures / "admin-dark.png")
    page.click(".theme-form button")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(240, 243, 250)"


def test_the_interface_documents_itself_within_the_policy(window: Window, pictures: Path | None) -> None:
    page = window.log_in()
    page.goto("/api/v1/docs/")
    page.wait_for_selector(".opblock")
    assert page.locator(".opblock").count() >= 4
    assert window.overflow() == 0
    if pictures:
        page.screenshot(path=pictures / "api-dark.png")


@pytest.fixture
def restartable(site: SiteProcess):
    yield site
    site.stop()
    site.start()


def test_a_page_that_was_cut_off_catches_up_by_itself(restartable: SiteProcess, windows: Any, hot: redis.Redis) -> None:
    window = windows(viewport=WIDE)
    page = window.log_in()
    page.evaluate("window.stayed = true")
    restartable.stop()
    page.wait_for_selector('#live-badge[data-state="reconnecting"]')
    missed = signal_make("SOLUSDT", seconds_ago=0.1)
    sse.publish_signal(signal_row(missed))
    board_fill(hot, PEPEUSDT={"p": 0.91})
    restartable.start()
    page.wait_for_selector(f'[data-signal="{missed.public_id}"]', timeout=40_000)
    until(page, "document.querySelector('#rows tr').dataset.symbol === 'PEPEUSDT'")
    window.live()
    assert page.evaluate("window.stayed") is True
    window.complaints = [
        text for text in window.complaints if "ERR_CONNECTION_REFUSED" not in text and "ERR_INCOMPLETE" not in text
    ]


def test_a_page_whose_session_ended_says_so(window: Window) -> None:
    page = window.log_in()
    Session.objects.all().delete()
    page.wait_for_selector('[data-banner="signed-out"]', timeout=30_000)
    assert page.get_attribute('[data-banner="signed-out"] a', "href").startswith("/login/")
    window.complaints = [text for text in window.complaints if "403" not in text]
