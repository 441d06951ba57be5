"""Order flow explains price moves on real books as measured before: our parser, books and increments reproduce R2."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from marketdata.binance.messages import MessageParser
from marketdata.capture import read_blocks, read_lines
from marketdata.events import NS_PER_S, EventKind, Market
from marketdata.features.order_flow import order_flow_increment
from marketdata.features.replay import FeatureReplay

pytestmark = pytest.mark.realdata

CAPTURES = {
    Market.SPOT: "spot_btcusdt_2024-08-08_650s.txt.gz",
    Market.USDM: "usdm_btcusdt_2024-08-08_345s.txt.gz",
}
LEVELS = 10


class Tape(NamedTuple):
    """Times in ns of receipt; quotes are (bid_e8, bid_qty, ask_e8, ask_qty), flows signed base units."""

    quote_ns: np.ndarray
    quotes: np.ndarray
    quote_flow: np.ndarray
    trade_ns: np.ndarray
    trade_flow: np.ndarray
    depth_ns: np.ndarray
    depth_flow: np.ndarray  # (n, 10)


@cache
def tape_of(path: Path, market: Market) -> Tape:
    quote_ns, quotes, trade_ns, trade_flow = (
        np.concatenate(parts) for parts in zip(*touches(path, market), strict=True)
    )
    states = list(zip(*(column.tolist() for column in quotes.T), strict=True))
    states = [(int(bid), bid_qty, int(ask), ask_qty) for bid, bid_qty, ask, ask_qty in states]
    flow = [0.0] + [order_flow_increment(*before, *after) for before, after in pairwise(states)]
    return Tape(quote_ns, quotes, np.array(flow), trade_ns, trade_flow, *depth_increments(path, market))


def touches(path: Path, market: Market) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield block by block the times and best quotes, and the times and signed sizes of trades."""
    parser = MessageParser(market)
    for block in read_blocks(path):
        parsed = parser.feed(block)
        tickers = parsed.events[parsed.events["kind"] == EventKind.BOOK_TICKER]
        trades = parsed.events[parsed.events["kind"] == EventKind.TRADE]
        at = np.column_stack([tickers["first_level"], tickers["first_level"] + 1])
        prices, qtys = parsed.prices_e8[at], parsed.qtys[at]
        yield (
            tickers["recv_ns"].copy(),
            np.column_stack([prices[:, 0], qtys[:, 0], prices[:, 1], qtys[:, 1]]),
            trades["recv_ns"].copy(),
            trades["side"] * trades["qty"],
        )


def depth_increments(path: Path, market: Market) -> tuple[np.ndarray, np.ndarray]:
    """The increment of each of ten levels at every diff that changed the rebuilt book."""
    replay = FeatureReplay(market)
    book_lines = (line for line in read_lines(path) if b"@depth" in line[:60])
    before: list[tuple] | None = None
    times: list[int] = []
    rows: list[list[float]] = []
    for line in book_lines:
        replay.feed(line)
        if not replay.is_synced("BTCUSDT"):
            continue
        book = replay.book("BTCUSDT")
        sides = (book.levels("bid", LEVELS).tolist(), book.levels("ask", LEVELS).tolist())
        levels = [(*bid, *ask) for bid, ask in zip(*sides, strict=True)]
        assert len(levels) == LEVELS and levels[0][0] < levels[0][2], "a crossed or shallow book"
        if before is not None:
            times.append(replay.now_ns)
            rows.append([order_flow_increment(*old, *new) for old, new in zip(before, levels, strict=True)])
        before = levels
    assert replay.report()["BTCUSDT"].gaps == 0
    return np.array(times, np.int64), np.array(rows)


class Windows(NamedTuple):
    """One row per window of equal length: the move of the mid, and the flows within it."""

    move: np.ndarray
    order_flow: np.ndarray
    trade_flow: np.ndarray
    depth_flow: np.ndarray
    end_imbalance: np.ndarray


def windows_of(tape: Tape, seconds: int) -> Windows:
    """Cut the time from one second after the first quote; a window includes its end and not its start."""
    edges = np.arange(tape.quote_ns[0] + NS_PER_S, tape.quote_ns[-1], seconds * NS_PER_S)
    at = np.maximum(np.searchsorted(tape.quote_ns, edges, side="right") - 1, 0)
    mid = (tape.quotes[:, 0] + tape.quotes[:, 2]) / 2
    imbalance = tape.quotes[:, 1] / (tape.quotes[:, 1] + tape.quotes[:, 3])

    def summed(times: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(edges, times), values, len(edges) + 1)[1:-1]

    return Windows(
        np.diff(mid[at]),
        summed(tape.quote_ns, tape.quote_flow),
        summed(tape.trade_ns, tape.trade_flow),
        np.column_stack([summed(tape.depth_ns, level) for level in tape.depth_flow.T]),
        imbalance[at][1:],
    )


def explained(y: np.ndarray, *columns: np.ndarray) -> float:
    """R2 of an ordinary regression with intercept."""
    x = np.column_stack([np.ones(len(y)), *columns])
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1.0 - rest.var() / y.var())


PUBLISHED = [
    # market, seconds, windows, OFI, trade imbalance, both, ten levels
    (Market.SPOT, 1, 649, 0.511, 0.187, None, 0.481),
    (Market.SPOT, 10, 64, 0.677, 0.200, 0.727, 0.712),
    (Market.USDM, 1, 343, 0.380, 0.522, None, None),
    (Market.USDM, 10, 34, 0.487, 0.450, 0.632, 0.832),
]


@pytest.mark.parametrize(("market", "seconds", "n", "ofi", "trades", "both", "ten_levels"), PUBLISHED)
def test_flow_explains_the_move_of_its_own_window_as_published(
    shared_data: Path, market: Market, seconds: int, n: int, ofi: float, trades: float, both: float, ten_levels: float
) -> None:
    """methods.md 1.5."""
    rows = windows_of(tape_of(shared_data / "captures" / CAPTURES[market], market), seconds)
    assert len(rows.move) == n
    got = {
        "ofi": (explained(rows.move, rows.order_flow), ofi),
        "trades": (explained(rows.move, rows.trade_flow), trades),
        "both": (explained(rows.move, rows.order_flow, rows.trade_flow), both),
        "ten levels": (explained(rows.move, rows.depth_flow), ten_levels),
    }
    for name, (value, published) in got.items():
        assert published is None or value == pytest.approx(published, abs=0.002), name


@pytest.mark.parametrize(
    ("market", "ofi", "imbalance"), [(Market.SPOT, 0.034, 0.083), (Market.USDM, 0.003, 0.033)], ids=str
)
def test_the_next_window_is_foretold_by_queues_more_than_by_flow(
    shared_data: Path, market: Market, ofi: float, imbalance: float
) -> None:
    rows = windows_of(tape_of(shared_data / "captures" / CAPTURES[market], market), 1)
    by_flow = explained(rows.move[1:], rows.order_flow[:-1])
    by_queue = explained(rows.move[1:], rows.end_imbalance[:-1])
    assert by_flow == pytest.approx(ofi, abs=0.002)
    assert by_queue == pytest.approx(imbalance, abs=0.002)
    assert by_queue > 2 * by_flow
