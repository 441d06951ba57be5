import random

import pytest

from marketdata.binance.pacing import Backoff, RateWindow, batches
from marketdata.binance.routes import route_of, shards
from marketdata.events import Market


def test_the_ceiling_doubles_to_its_cap_and_stays_there() -> None:
    backoff = Backoff(base_s=0.5, cap_s=30.0)
    ceilings = []
    for _ in range(2000):
        ceilings.append(backoff.ceiling_s)
        backoff.next_wait_s(0.5)
    assert ceilings[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert ceilings[-1] == 30.0


def test_a_wait_is_drawn_from_the_whole_range() -> None:
    assert Backoff().next_wait_s(0.0) == 0.0
    assert Backoff().next_wait_s(0.999) == pytest.approx(0.4995)


def test_a_healthy_connection_brings_the_ceiling_down() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.next_wait_s(1.0)
    backoff.note_healthy()
    assert backoff.ceiling_s == 0.5


def test_a_window_never_holds_more_than_its_limit() -> None:
    """Actions that wait as they are told, on a clock that tests move."""
    random.seed(4)
    window, now_s, done = RateWindow(3, 1.0), 100.0, []
    for _ in range(200):
        now_s += random.choice([0.0, 0.0, 0.1, 0.4])
        now_s += window.wait_s(now_s)
        window.note(now_s)
        done.append(now_s)
    assert all(after - before >= 1.0 - 1e-9 for before, after in zip(done, done[3:], strict=False))
    assert done[-1] - done[0] < 200 / 3 + 60


def test_a_fresh_window_lets_its_limit_through_at_once() -> None:
    window = RateWindow(3, 1.0)
    for _ in range(3):
        assert window.wait_s(5.0) == 0.0
        window.note(5.0)
    assert window.wait_s(5.25) == 0.75
    assert window.wait_s(7.0) == 0.0


def test_ten_minutes_without_an_exchange_stay_within_the_connect_budget() -> None:
    """Eight connections fail at once, again and again: at most 60 tries in any 5 minutes, as promise P10 says."""
    random.seed(1)
    budget, tries = RateWindow(60, 300.0), []
    lines = [(0.0, Backoff()) for _ in range(8)]
    while True:
        lines.sort(key=lambda line: line[0])
        due_s, backoff = lines.pop(0)
        if due_s > 600.0:
            break
        wait_s = budget.wait_s(due_s)
        if wait_s > 0.0:
            lines.append((due_s + wait_s, backoff))
            continue
        budget.note(due_s)
        tries.append(due_s)
        lines.append((due_s + backoff.next_wait_s(random.random()), backoff))
    assert 60 < len(tries) <= 180
    assert all(after - before >= 300.0 - 1e-9 for before, after in zip(tries, tries[60:], strict=False))


def test_batches_keep_order_and_size() -> None:
    assert batches(["a", "b", "c"], 2) == [["a", "b"], ["c"]]
    assert batches([], 2) == []


@pytest.mark.parametrize(
    ("stream", "route"),
    [
        ("btcusdt@depth@100ms", "/public"),
        ("btcusdt@depth20", "/public"),
        ("btcusdt@bookTicker", "/public"),
        ("btcusdt@rpiDepth@500ms", "/public"),
        ("!bookTicker", "/public"),
        ("btcusdt@aggTrade", "/market"),
        ("btcusdt@markPrice@1s", "/market"),
        ("!markPrice@arr@1s", "/market"),
        ("!contractInfo", "/market"),
    ],
)
def test_futures_streams_have_a_route_and_spot_streams_have_none(stream: str, route: str) -> None:
    assert route_of(Market.USDM, stream) == route
    assert route_of(Market.SPOT, stream) == ""


def test_streams_are_dealt_to_connections_by_route_and_cap() -> None:
    streams = [f"s{n}@{kind}" for n in range(250) for kind in ("depth@100ms", "aggTrade")]
    dealt = shards(Market.USDM, streams + streams[:3], 200)
    assert [(shard.route, len(shard.streams)) for shard in dealt] == [
        ("/public", 200),
        ("/public", 50),
        ("/market", 200),
        ("/market", 50),
    ]
    assert sorted(name for shard in dealt for name in shard.streams) == sorted(streams)
    assert len(shards(Market.SPOT, streams, 1024)) == 1


def test_a_connection_for_no_streams_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one stream"):
        shards(Market.SPOT, ["a"], 0)
