"""What the fake exchange has to tell: one simulated market, its true books after every diff, its REST bodies."""

import heapq
import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache

from marketdata.events import NS_PER_S, PRICE_SCALE, Market
from marketdata.simulator.market import OracleBook, SimulatedMarket

START_NS = 1_700_000_000 * NS_PER_S
SECONDS = 48
SNAPSHOT_NS = NS_PER_S // 2
SNAPSHOT_LEVELS = 500
SHOWN = 10
SYMBOLS = 2
TAPES = 4

Side = tuple[tuple[int, float], ...]
Book = tuple[Side, Side]
_LAST = re.compile(rb'"u":(\d+)')
_TRADE = re.compile(rb'"a":(\d+)')


@dataclass
class Tape:
    """Times are seconds since the start."""

    market: Market
    symbols: tuple[str, ...]
    times_s: list[float] = field(default_factory=list)
    frames: list[tuple[str, bytes, int]] = field(default_factory=list)  # stream, combined frame, own id
    books: dict[str, dict[int, Book]] = field(default_factory=dict)  # symbol -> update id -> the true top
    diff_times: dict[str, list[float]] = field(default_factory=dict)
    diff_ids: dict[str, list[int]] = field(default_factory=dict)
    snapshots: dict[str, list[tuple[float, bytes]]] = field(default_factory=dict)
    _ids: dict[str, list[int]] = field(default_factory=dict)

    @property
    def streams(self) -> list[str]:
        return sorted({stream for stream, _, _ in self.frames})

    def ids(self, stream: str) -> list[int]:
        """The ids of a stream in the order they were told."""
        if stream not in self._ids:
            self._ids[stream] = [own for name, _, own in self.frames if name == stream]
        return self._ids[stream]

    def own_id(self, frame: bytes) -> int:
        return own_id(frame)

    def between(self, begin_s: float, end_s: float) -> range:
        return range(bisect_right(self.times_s, begin_s), bisect_right(self.times_s, end_s))

    def snapshot(self, symbol: str, at_s: float) -> bytes:
        """REST depth as of `at_s`."""
        known = self.snapshots[symbol]
        return known[max(0, bisect_right(known, at_s, key=lambda entry: entry[0]) - 1)][1]

    def surpassed_s(self, symbol: str, book_id: int) -> float | None:
        """When the first diff after `book_id` left the exchange."""
        later = bisect_right(self.diff_ids[symbol], book_id)
        return self.diff_times[symbol][later] if later < len(self.diff_times[symbol]) else None


@cache
def tape(market: Market, number: int) -> Tape:
    simulated = SimulatedMarket(1000 + number, market, SYMBOLS, START_NS)
    made = Tape(market, simulated.symbols)
    for symbol in simulated.symbols:
        made.books[symbol], made.diff_times[symbol], made.diff_ids[symbol] = {}, [], []
        made.snapshots[symbol] = []
    plain = {symbol: PlainTop(simulated.oracle_book(symbol)) for symbol in simulated.symbols}
    moment_ns = START_NS
    while moment_ns < START_NS + SECONDS * NS_PER_S:
        moment_ns += SNAPSHOT_NS
        _live(simulated, moment_ns, made, plain)
        for symbol in simulated.symbols:
            made.snapshots[symbol].append(
                ((moment_ns - START_NS) / NS_PER_S, simulated.snapshot(symbol, SNAPSHOT_LEVELS))
            )
    return made


def own_id(message: bytes) -> int:
    """The update or trade id of a message; 0 when it has none."""
    found = _LAST.search(message) or _TRADE.search(message)
    return int(found[1]) if found else 0


def _live(simulated: SimulatedMarket, until_ns: int, made: Tape, plain: "dict[str, PlainTop]") -> None:
    for sent_ns, stream, data in simulated.advance(until_ns):
        sent_s = (sent_ns - START_NS) / NS_PER_S
        name, _, kind = stream.partition("@")
        own = own_id(data)
        made.times_s.append(sent_s)
        made.frames.append((stream, b'{"stream":"%b","data":%b}' % (stream.encode(), data), own))
        if kind == "depth@100ms":
            symbol = name.upper()
            made.books[symbol][own] = plain[symbol].after(json.loads(data))
            made.diff_times[symbol].append(sent_s)
            made.diff_ids[symbol].append(own)


class PlainTop:
    """A book in two dicts, by nobody else's code; it shows its best levels."""

    def __init__(self, book: OracleBook) -> None:
        self._bids = {_e8(price): float(qty) for price, qty in book.bids}
        self._asks = {_e8(price): float(qty) for price, qty in book.asks}

    def after(self, diff: dict[str, list[list[str]]]) -> Book:
        for side, levels in ((self._bids, diff["b"]), (self._asks, diff["a"])):
            for price, qty in levels:
                side[_e8(price)] = float(qty)
                if side[_e8(price)] == 0.0:
                    del side[_e8(price)]
        bids = tuple((price, self._bids[price]) for price in heapq.nlargest(SHOWN, self._bids))
        return bids, tuple((price, self._asks[price]) for price in heapq.nsmallest(SHOWN, self._asks))


def _e8(price: str) -> int:
    return round(float(price) * PRICE_SCALE)
