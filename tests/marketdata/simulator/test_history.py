import json

import pytest

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from tests.marketdata.simulator.plain_client import PlainBook, frame

START_NS = 1_700_000_000_000_000_000
BOTH = pytest.mark.parametrize("market", list(Market))


def history(market: Market, seconds: float = 8.0, *, seed: int = 1, symbols: int = 4) -> list[bytes]:
    return list(capture_lines(SimulatedMarket(seed, market, symbols, START_NS), seconds, seed=seed))


@BOTH
def test_receive_times_never_go_back(market: Market) -> None:
    times = [frame(line)[0] for line in history(market)]
    assert times == sorted(times)
    assert times[0] == START_NS
    assert START_NS + 7 * NS_PER_S < times[-1] < START_NS + 9 * NS_PER_S


@BOTH
def test_nothing_is_received_before_it_was_sent(market: Market) -> None:
    events = [(recv, data["E"]) for recv, _, data in map(frame, history(market)) if "E" in data]
    assert len(events) > 100
    assert all(recv // 1_000_000 >= event_ms for recv, event_ms in events)


@BOTH
def test_the_universe_comes_first_and_names_every_symbol(market: Market) -> None:
    _, stream, universe = frame(history(market)[0])
    assert stream == "!universe"
    assert universe["market"] == market
    assert [symbol["symbol"] for symbol in universe["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]


@BOTH
def test_every_symbol_has_diffs_before_its_snapshot_and_then_syncs(market: Market) -> None:
    simulated = SimulatedMarket(9, market, 20, START_NS)
    books: dict[str, PlainBook] = {}
    for line in capture_lines(simulated, 6.0, seed=9):
        _, stream, data = frame(line)
        symbol, _, kind = stream.partition("@")
        book = books.setdefault(symbol, PlainBook(market is Market.USDM))
        if kind == "depthSnapshot":
            assert book.last_id == -1
            assert book._waiting
            book.snapshot(data)
        elif kind == "depth@100ms":
            book.diff(data)
    del books["!universe"]
    assert len(books) == 20
    assert all(book.synced and book.breaks == 0 for book in books.values())
    for symbol, book in books.items():
        oracle = simulated.oracle_book(symbol.upper())
        assert (book.last_id, *book.top(20)) == (oracle.last_update_id, oracle.bids[:20], oracle.asks[:20])


def test_the_same_seeds_give_the_same_lines() -> None:
    assert history(Market.SPOT) == history(Market.SPOT)
    assert history(Market.SPOT, seed=2) != history(Market.SPOT, seed=1)


def test_every_line_is_one_frame_of_the_capture_format() -> None:
    for line in history(Market.USDM, 3.0):
        assert line.endswith(b"}\n") and line.count(b"\n") == 1
        message = json.loads(line.partition(b" ")[2])
        assert list(message)[0] == "stream" and list(message)[-1] == "data"
        assert message.get("generated", True) is True


def test_a_market_that_already_runs_can_be_recorded_from_now_on() -> None:
    market = SimulatedMarket(1, Market.SPOT, 2, START_NS)
    market.advance(START_NS + 5 * NS_PER_S)
    times = [frame(line)[0] for line in capture_lines(market, 2.0)]
    assert times[0] == START_NS + 5 * NS_PER_S
    assert market.now_ns == START_NS + 7 * NS_PER_S
