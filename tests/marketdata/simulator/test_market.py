import hashlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.market import Message, SimulatedMarket
from marketdata.simulator.surges import SurgePlan
from tests.marketdata.simulator.plain_client import PlainBook

START_NS = 1_700_000_000_000_000_000
BOTH = pytest.mark.parametrize("market", list(Market))

_KEYS = re.compile(rb'"(\w+)":')


def simulate(
    market: Market, seconds: float, *, seed: int = 5, symbols: int = 20
) -> tuple[SimulatedMarket, list[Message]]:
    simulated = SimulatedMarket(seed, market, symbols, START_NS)
    return simulated, simulated.advance(START_NS + int(seconds * NS_PER_S))


def of_kind(messages: list[Message], suffix: str) -> dict[str, list[dict]]:
    found = defaultdict(list)
    for _, stream, data in messages:
        symbol, _, kind = stream.partition("@")
        if kind == suffix:
            found[symbol].append(json.loads(data))
    return found


@BOTH
def test_messages_leave_in_order_of_time(market: Market) -> None:
    _, messages = simulate(market, 5)
    times = [message[0] for message in messages]
    assert times == sorted(times)
    assert len(times) > 20 * 5 * 10


@BOTH
def test_the_same_seed_gives_the_same_bytes_however_time_is_cut(market: Market) -> None:
    _, whole = simulate(market, 4, symbols=6)
    pieces = SimulatedMarket(5, market, 6, START_NS)
    cut = []
    for step_ms in (1, 7, 320, 333, 1001, 1002, 1003, 2500, 4000):
        cut += pieces.advance(START_NS + step_ms * 1_000_000)
    assert cut == whole
    assert simulate(market, 4, seed=6, symbols=6)[1] != whole


def test_the_hash_seed_of_python_changes_nothing() -> None:
    code = (
        "import hashlib\nfrom marketdata.events import Market\n"
        "from marketdata.simulator.market import SimulatedMarket\n"
        "m = SimulatedMarket(3, Market.USDM, 20, 0); h = hashlib.sha256(repr(m.advance(3 * 10**9)).encode())\n"
        "print(h.hexdigest())"
    )
    project = str(Path(__file__).parents[3])
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": project},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    market = SimulatedMarket(3, Market.USDM, 20, 0)
    assert digests == {hashlib.sha256(repr(market.advance(3 * 10**9)).encode()).hexdigest() + "\n"}


def test_spot_diffs_follow_each_other_without_a_missing_id() -> None:
    _, messages = simulate(Market.SPOT, 10)
    for diffs in of_kind(messages, "depth@100ms").values():
        assert len(diffs) > 20
        assert all(after["U"] == before["u"] + 1 for before, after in zip(diffs, diffs[1:], strict=False))
        assert all(diff["U"] <= diff["u"] and (diff["b"] or diff["a"]) for diff in diffs)


def test_futures_diffs_name_the_last_id_before_them_and_skip_ids_of_other_symbols() -> None:
    _, messages = simulate(Market.USDM, 10)
    gaps = 0
    for diffs in of_kind(messages, "depth@100ms").values():
        assert all(after["pu"] == before["u"] for before, after in zip(diffs, diffs[1:], strict=False))
        assert all(diff["pu"] < diff["U"] <= diff["u"] and diff["T"] <= diff["E"] for diff in diffs)
        gaps += sum(diff["U"] > diff["pu"] + 1 for diff in diffs)
    assert gaps > 100


@BOTH
def test_trades_are_numbered_without_a_hole(market: Market) -> None:
    _, messages = simulate(market, 20)
    for trades in of_kind(messages, "aggTrade").values():
        for before, after in zip(trades, trades[1:], strict=False):
            assert after["a"] == before["a"] + 1
            assert after["f"] == before["l"] + 1
        assert all(trade["f"] <= trade["l"] and Decimal(trade["q"]) > 0 for trade in trades)


@BOTH
def test_diffs_after_a_snapshot_rebuild_the_oracle_book_at_every_instant(market: Market) -> None:
    simulated = SimulatedMarket(11, market, 5, START_NS)
    books = {symbol: PlainBook(market is Market.USDM) for symbol in simulated.symbols}
    compared = 0
    for step in range(1, 120):
        for _, stream, data in simulated.advance(START_NS + step * 83_000_000):
            if "@depth" in stream:
                books[stream.partition("@")[0].upper()].diff(json.loads(data))
        for row, symbol in enumerate(simulated.symbols):
            if step == 10 + 3 * row:
                books[symbol].snapshot(json.loads(simulated.snapshot(symbol, 5000)))
            if step % 6 != row:
                continue
            oracle = simulated.oracle_book(symbol)
            if books[symbol].last_id == oracle.last_update_id:
                compared += 1
                assert books[symbol].top() == (oracle.bids, oracle.asks)
    assert compared > 80
    assert all(book.synced and book.breaks == 0 for book in books.values())
    assert {symbol: book.last_id for symbol, book in books.items()} == {
        symbol: simulated.oracle_book(symbol).last_update_id for symbol in simulated.symbols
    }


@BOTH
def test_a_snapshot_taken_inside_a_diff_is_straddled_by_it(market: Market) -> None:
    simulated = SimulatedMarket(2, market, 3, START_NS)
    now_ns, snapshot = START_NS, {"lastUpdateId": 0}
    while snapshot["lastUpdateId"] <= simulated.oracle_book("SOLUSDT").last_update_id:
        now_ns += 9_000_000
        simulated.advance(now_ns)
        snapshot = json.loads(simulated.snapshot("SOLUSDT", 5))
    messages = simulated.advance(now_ns + 200_000_000)
    first = next(json.loads(data) for _, stream, data in messages if stream == "solusdt@depth@100ms")
    assert first["U"] <= snapshot["lastUpdateId"] <= first["u"]


@BOTH
def test_a_book_ticker_says_the_touch_of_the_book(market: Market) -> None:
    """After the diff that ends with a ticker's id, the book's best levels are the ticker's."""
    simulated = SimulatedMarket(4, market, 3, START_NS)
    books = {symbol: PlainBook(market is Market.USDM) for symbol in simulated.symbols}
    for symbol, book in books.items():
        book.snapshot(json.loads(simulated.snapshot(symbol, 5000)))
    shown: dict[str, dict] = {}
    compared = 0
    for _, stream, data in simulated.advance(START_NS + 20 * NS_PER_S):
        symbol = stream.partition("@")[0].upper()
        if stream.endswith("@bookTicker"):
            shown[symbol] = json.loads(data)
        elif "@depth" in stream:
            books[symbol].diff(json.loads(data))
            if shown[symbol]["u"] == books[symbol].last_id:
                bids, asks = books[symbol].top(1)
                ticker = shown[symbol]
                assert [(ticker["b"], ticker["B"])] == bids
                assert [(ticker["a"], ticker["A"])] == asks
                compared += 1
    assert compared > 50


@BOTH
def test_the_book_is_never_crossed_and_never_thin(market: Market) -> None:
    simulated = SimulatedMarket(8, market, 20, START_NS)
    for minute in range(1, 5):
        simulated.advance(START_NS + minute * 60 * NS_PER_S)
        for symbol in simulated.symbols:
            book = simulated.oracle_book(symbol)
            assert Decimal(book.bids[0][0]) < Decimal(book.asks[0][0])
            assert len(book.bids) > 50 and len(book.asks) > 50


def test_a_trade_happens_at_the_touch_it_was_aimed_at() -> None:
    """On spot the ticker before a taker's first fill shows the price of that fill."""
    _, messages = simulate(Market.SPOT, 20, symbols=4)
    shown: dict[str, dict] = {}
    last_taker: dict[str, int] = {}
    for ts_ns, stream, data in messages:
        symbol, _, kind = stream.partition("@")
        if kind == "bookTicker":
            shown[symbol] = json.loads(data)
        elif kind == "aggTrade" and symbol in shown and last_taker.get(symbol) != ts_ns:
            trade = json.loads(data)
            assert trade["p"] == (shown[symbol]["b"] if trade["m"] else shown[symbol]["a"])
            last_taker[symbol] = ts_ns
    assert len(last_taker) == 4


def test_mark_prices_come_once_a_second_on_futures_only() -> None:
    _, futures = simulate(Market.USDM, 5)
    assert {len(marks) for marks in of_kind(futures, "markPrice@1s").values()} <= {4, 5}
    _, spot = simulate(Market.SPOT, 5)
    assert not of_kind(spot, "markPrice@1s")


@BOTH
@pytest.mark.realdata
def test_messages_have_the_fields_of_recorded_ones_in_the_same_order(market: Market, shared_data: Path) -> None:
    captures = {
        Market.SPOT: ["spot_3symbols_2021-04-04_91s.txt.gz", "spot_btcusdt_2024-08-08_650s.txt.gz"],
        Market.USDM: ["usdm_5symbols_2021-04-05_119s.txt.gz"],
    }
    recorded = {}
    for name in captures[market]:
        recorded |= _shapes(_head_of_capture(shared_data / "captures" / name))
    if market is Market.USDM:
        messages = (shared_data / "protocol" / "binance_raw_messages.jsonl").read_text().splitlines()
        mark = next(m for m in map(json.loads, messages) if m["msg"].get("stream") == "btcusdt@markPrice")
        recorded["markPrice@1s"] = tuple(mark["msg"]["data"])
    _, simulated = simulate(market, 2)
    ours = _shapes((stream, data) for _, stream, data in simulated)
    assert ours == {kind: recorded[kind] for kind in ours}
    assert set(ours) >= {"depth@100ms", "aggTrade", "bookTicker"}


def _head_of_capture(path: Path) -> list[tuple[str, bytes]]:
    import gzip

    found = []
    with gzip.open(path) as lines:
        for _, line in zip(range(4000), lines, strict=False):
            stream = re.search(rb'"stream":"([^"]+)"', line)
            if stream and b'"generated"' not in line:
                found.append((stream.group(1).decode(), line[line.index(b'"data":') + 7 : line.rindex(b"}")]))
    return found


def _shapes(messages) -> dict[str, tuple[str, ...]]:
    return {stream.partition("@")[2]: tuple(key.decode() for key in _KEYS.findall(data)) for stream, data in messages}


def test_numbers_are_printed_as_each_market_prints_them() -> None:
    _, spot = simulate(Market.SPOT, 2, symbols=20)
    _, futures = simulate(Market.USDM, 2, symbols=20)
    spot_ticker = of_kind(spot, "bookTicker")["币安人生usdt"][0]
    assert re.fullmatch(r"0\.\d{8}", spot_ticker["b"]) and re.fullmatch(r"\d+\.0{8}", spot_ticker["B"])
    futures_ticker = of_kind(futures, "bookTicker")["币安人生usdt"][0]
    assert re.fullmatch(r"0\.\d{5}", futures_ticker["b"]) and re.fullmatch(r"\d+", futures_ticker["B"])
    assert re.fullmatch(r"\d+\.\d", of_kind(futures, "bookTicker")["btcusdt"][0]["b"])


def test_prices_and_quantities_are_whole_ticks_and_steps() -> None:
    simulated, messages = simulate(Market.SPOT, 3)
    steps = {listing.symbol.lower(): listing for listing in simulated.listings}
    for symbol, diffs in of_kind(messages, "depth@100ms").items():
        listing = steps[symbol]
        for diff in diffs:
            for price, qty in diff["b"] + diff["a"]:
                assert Decimal(price) % Decimal(listing.tick_size) == 0
                assert Decimal(qty) % Decimal(listing.step_size) == 0


def test_planted_surges_lift_the_price_by_what_they_say() -> None:
    simulated = SimulatedMarket(21, Market.SPOT, 8, START_NS)
    mids: dict[str, list[float]] = defaultdict(list)
    for second in range(1, 900):
        simulated.advance(START_NS + second * NS_PER_S)
        for symbol in simulated.symbols:
            book = simulated._book(simulated._row[symbol], simulated._books.levels, 1)
            mids[symbol].append((float(book[0][0][0]) + float(book[1][0][0])) / 2)
    told, moved = [], []
    for surge in simulated.surges:
        peak, ramp = (surge.peak_ns - START_NS) // NS_PER_S, (surge.ramp_ns - START_NS) // NS_PER_S
        if surge.kind == "surge" and peak < 898:
            told.append(surge.gain_bps)
            moved.append((mids[surge.symbol][peak] / mids[surge.symbol][ramp] - 1) * 1e4)
    assert len(told) > 10
    assert all(move > 0.5 * gain for gain, move in zip(told, moved, strict=True))
    assert 0.85 < sum(moved) / sum(told) < 1.15


def test_episodes_follow_the_plan_and_do_not_overlap() -> None:
    plan = SurgePlan(surge_every_s=120.0, decoy_every_s=1e12, gain_bps=(50.0, 60.0))
    simulated = SimulatedMarket(1, Market.SPOT, 4, START_NS, plan)
    simulated.advance(START_NS + 1800 * NS_PER_S)
    surges = simulated.surges
    assert {surge.kind for surge in surges} == {"surge"}
    assert 35 < len(surges) < 80
    assert all(50.0 <= surge.gain_bps <= 60.0 for surge in surges)
    for symbol in simulated.symbols:
        own = [surge for surge in surges if surge.symbol == symbol]
        assert all(before.end_ns <= after.start_ns for before, after in zip(own, own[1:], strict=False))


def test_a_market_without_symbols_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one symbol"):
        SimulatedMarket(1, Market.SPOT, 0, START_NS)


def test_more_symbols_than_the_named_ones_can_be_listed() -> None:
    simulated, messages = simulate(Market.SPOT, 1, symbols=60)
    assert len(set(simulated.symbols)) == 60
    assert {stream.partition("@")[0] for _, stream, _ in messages} == {symbol.lower() for symbol in simulated.symbols}
