"""The interface for programs."""

import json
import time
from datetime import timedelta
from urllib.parse import quote

import numpy as np
import pytest
import redis
from django.test import Client
from django.utils import timezone

from marketdata.archive import ArchiveError
from signals.selectors import ScoreSeries
from tests.signals.factories import board_put, board_row, outcome_make, signal_make, strategy_make

pytestmark = pytest.mark.django_db

ADDRESSES = [
    "/api/v1/signals/",
    "/api/v1/signals/00000000-0000-0000-0000-000000000000/",
    "/api/v1/symbols/",
    "/api/v1/symbols/BTCUSDT/chart/",
    "/api/v1/schema/",
    "/api/v1/docs/",
]


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """ClickHouse as a plain table: three scores for every coin. Keeps what it was asked."""
    asked: dict[str, tuple[int, int]] = {}

    def read(symbol: str, since_ns: int, until_ns: int, limit: int) -> ScoreSeries:
        assert limit * 250_000_000 >= until_ns - since_ns
        asked[symbol] = (since_ns, until_ns)
        ns = until_ns - np.array([3, 2, 1]) * 1_000_000_000
        mid = np.array([1.0, 2.0, np.nan])
        return ScoreSeries(ns, mid, np.array([0.1, 0.2, 0.3]), np.zeros(3), np.ones(3))

    monkeypatch.setattr("signals.api.score_series", read)
    return asked


def no_scores(symbol: str, since_ns: int, until_ns: int, limit: int) -> ScoreSeries:
    return ScoreSeries(np.array([], np.int64), *(np.array([]) for _ in range(4)))


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_stranger_is_refused(client: Client, address: str) -> None:
    assert client.get(address).status_code in (401, 403)


@pytest.mark.parametrize("address", ADDRESSES[:4])
def test_nothing_can_be_written(page: Client, address: str) -> None:
    for ask in (page.post, page.put, page.patch, page.delete):
        assert ask(address).status_code == 405


def test_a_signal_is_told_whole(page: Client) -> None:
    signal = signal_make()
    outcome_make(signal)
    (row,) = page.get("/api/v1/signals/").json()["results"]
    assert row["public_id"] == str(signal.public_id)
    assert row["price"] == "67123.45"
    assert row["decided_ns"] == str(signal.decided_ns)
    assert row["outcome"]["result"] == "tp"
    assert row == page.get(f"/api/v1/signals/{signal.public_id}/").json()


def test_signals_come_newest_first_page_by_page_and_none_twice(page: Client) -> None:
    ids = [str(signal_make(seconds_ago=ago).public_id) for ago in range(1, 8)]
    seen, address = [], "/api/v1/signals/?limit=3"
    while address:
        answer = page.get(address).json()
        seen += [row["public_id"] for row in answer["results"]]
        address = answer["next"]
    assert seen == ids


def test_a_signal_that_arrives_meanwhile_shifts_no_page(page: Client) -> None:
    ids = [str(signal_make(seconds_ago=ago).public_id) for ago in range(2, 6)]
    first = page.get("/api/v1/signals/?limit=2").json()
    signal_make(seconds_ago=1)
    second = page.get(first["next"]).json()
    assert [row["public_id"] for row in first["results"] + second["results"]] == ids


def test_signals_are_narrowed_by_symbol_strategy_tier_and_time(page: Client) -> None:
    strict, loose = strategy_make("a-tier", "A"), strategy_make("b-tier", "B")
    signal_make("币安人生USDT", strategy=strict, seconds_ago=5)
    signal_make("ETHUSDT", strategy=loose, seconds_ago=4000)

    def symbols(**question: str) -> list[str]:
        return [row["symbol"] for row in page.get("/api/v1/signals/", question).json()["results"]]

    assert symbols(symbol="币安人生USDT") == ["币安人生USDT"]
    assert symbols(strategy="b-tier") == ["ETHUSDT"]
    assert symbols(tier="A") == ["币安人生USDT"]
    assert symbols(since=(timezone.now() - timedelta(hours=1)).isoformat()) == ["币安人生USDT"]
    assert symbols(tier="A", strategy="b-tier") == []


@pytest.mark.parametrize("question", [{"tier": "C"}, {"since": "yesterday"}, {"symbol": "X" * 40}, {"strategy": "a b"}])
def test_a_question_that_makes_no_sense_is_told_so(page: Client, question: dict[str, str]) -> None:
    answer = page.get("/api/v1/signals/", question)
    assert answer.status_code == 400
    assert set(answer.json()) == set(question)


@pytest.mark.parametrize("limit", ["0", "-3", "x", "100000"])
def test_a_strange_page_size_stays_within_bounds(page: Client, limit: str) -> None:
    signal_make()
    assert len(page.get("/api/v1/signals/", {"limit": limit}).json()["results"]) == 1


def test_a_made_up_cursor_is_refused(page: Client) -> None:
    assert page.get("/api/v1/signals/?cursor=nonsense").status_code == 404


def test_signals_of_the_other_mode_are_not_told(page: Client) -> None:
    hidden = signal_make(mode="production")
    assert page.get("/api/v1/signals/").json()["results"] == []
    assert page.get(f"/api/v1/signals/{hidden.public_id}/").status_code == 404


def test_a_page_of_signals_takes_few_questions(page: Client, django_assert_max_num_queries) -> None:
    for ago in range(20):
        outcome_make(signal_make(seconds_ago=ago + 1))
    with django_assert_max_num_queries(4):
        page.get("/api/v1/signals/")


def test_the_board_is_told_with_ages_and_states(page: Client, hot: redis.Redis) -> None:
    old = str(time.time_ns() - 30_000_000_000)
    board_put(hot, board_row("BTCUSDT"), board_row("ETHUSDT", p=0.9, tick_ns=old))
    board = page.get("/api/v1/symbols/").json()
    assert [row["symbol"] for row in board["rows"]] == ["ETHUSDT", "BTCUSDT"]
    assert [row["state"] for row in board["rows"]] == ["stale", "live"]
    assert board["rows"][0]["age_ms"] > 30_000
    assert (board["state"], board["live"], board["stale"]) == ("live", 1, 1)
    assert abs(board["now_ms"] - time.time() * 1000) < 5_000


def test_without_redis_the_board_says_what_to_do(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mode: str) -> None:
        raise redis.ConnectionError("no one there")

    monkeypatch.setattr("signals.api.board_rows", fail)
    answer = page.get("/api/v1/symbols/")
    assert answer.status_code == 503
    assert "./surge up" in answer.json()["detail"]


def test_a_chart_is_a_figure_of_price_probability_and_signals(page: Client, scores) -> None:
    strategy_make(p_min=0.6)
    signal = signal_make("币安人生USDT", seconds_ago=60)
    signal_make("币安人生USDT", seconds_ago=7200)
    answer = page.get(f"/api/v1/symbols/{quote('币安人生USDT')}/chart/?minutes=60")
    told = answer.json()
    assert told["symbol"] == "币安人生USDT"
    assert told["points"] == 3
    price, probability, marks = told["figure"]["data"]
    assert price["y"] == [1.0, 2.0, None]
    assert probability["y"] == [0.1, 0.2, 0.3]
    assert marks["x"] == [signal.decided_ns // 1_000_000]
    assert told["figure"]["layout"]["shapes"][0]["y0"] == 0.6
    since_ns, until_ns = scores["币安人生USDT"]
    assert until_ns - since_ns == 60 * 60_000_000_000
    json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_coin_nobody_knows_has_no_chart(page: Client, hot: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signals.api.score_series", no_scores)
    board_put(hot, board_row("BTCUSDT"))
    assert page.get("/api/v1/symbols/NOPEUSDT/chart/").status_code == 404
    known = page.get("/api/v1/symbols/BTCUSDT/chart/")
    assert (known.status_code, known.json()["points"]) == (200, 0)


@pytest.mark.parametrize("minutes", ["0", "1441", "x", "-5"])
def test_a_strange_time_range_is_refused(page: Client, scores, minutes: str) -> None:
    assert page.get(f"/api/v1/symbols/BTCUSDT/chart/?minutes={minutes}").status_code == 400


def test_without_clickhouse_the_chart_says_what_to_do(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(symbol: str, since_ns: int, until_ns: int, limit: int) -> None:
        raise ArchiveError("gone")

    monkeypatch.setattr("signals.api.score_series", fail)
    answer = page.get("/api/v1/symbols/BTCUSDT/chart/")
    assert answer.status_code == 503
    assert "ClickHouse" in answer.json()["detail"]


def test_messages_come_in_the_readers_language(page: Client, chinese: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(mode: str) -> None:
        raise redis.ConnectionError("no one there")

    monkeypatch.setattr("signals.api.board_rows", fail)
    answer = page.get("/api/v1/symbols/", headers={"Accept-Language": "zh-hans"})
    assert "没有响应" in answer.json()["detail"]


def test_the_schema_describes_every_address_and_its_rows(page: Client) -> None:
    schema = page.get("/api/v1/schema/", {"format": "json"}).json()
    assert schema["openapi"].startswith("3.")
    assert set(schema["paths"]) >= {
        "/api/v1/signals/",
        "/api/v1/signals/{public_id}/",
        "/api/v1/symbols/",
        "/api/v1/symbols/{symbol}/chart/",
    }
    asked = {parameter["name"] for parameter in schema["paths"]["/api/v1/signals/"]["get"]["parameters"]}
    assert asked >= {"symbol", "strategy", "tier", "since", "cursor", "limit"}


def test_rows_hold_exactly_what_the_schema_says(page: Client, hot: redis.Redis) -> None:
    outcome_make(signal_make())
    board_put(hot, board_row())
    parts = page.get("/api/v1/schema/", {"format": "json"}).json()["components"]["schemas"]
    (signal,) = page.get("/api/v1/signals/").json()["results"]
    (row,) = page.get("/api/v1/symbols/").json()["rows"]
    assert set(signal) == set(parts["Signal"]["properties"])
    assert set(signal["outcome"]) == set(parts["Outcome"]["properties"])
    assert set(signal["gates"][0]) == set(parts["Gate"]["properties"])
    assert set(signal["cost_parts"]) == set(parts["CostParts"]["properties"])
    assert set(row) == set(parts["Symbol"]["properties"])
