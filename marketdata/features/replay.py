"""Capture lines -> feature rows: the one conductor of parser, books and features, for live, replay and training.

Feed it blocks of lines of any size: the rows depend only on the lines, never on how they were cut into blocks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from marketdata.binance import book_sync
from marketdata.binance.book_sync import BookSync, BufferedDiff, Snapshot
from marketdata.binance.messages import MessageParser, ParsedBlock
from marketdata.book import OrderBook, apply_levels, clear_book, is_crossed, new_book_state
from marketdata.events import PRICE_SCALE, Market
from marketdata.features import loop
from marketdata.features.feature_set import N_FEATURES, new_feature_state, on_book_reset
from marketdata.features.feature_set import grow as grow_features
from marketdata.features.loop import Pause, context_dtype
from marketdata.frames import blocks_of

GRID_NS = 250_000_000
SIZES_QUOTE = (1_000.0, 10_000.0)
MAX_ROWS = 4096


class FeatureRows(NamedTuple):
    """Rows of completed ticks in time order, within a tick in symbol order.

    Shapes: tick_ns (n,) int64, symbol (n,) int32, X (n, N_FEATURES) float64, context (n,) context_dtype,
    slippages (n, sizes) float64 bps of mid.
    """

    tick_ns: np.ndarray
    symbol: np.ndarray
    X: np.ndarray
    context: np.ndarray
    buy_slippage_bps: np.ndarray
    sell_slippage_bps: np.ndarray

    def __len__(self) -> int:
        return len(self.tick_ns)


@dataclass(frozen=True)
class SymbolReport:
    """How one symbol's book fared; prices are None while there is no trusted book."""

    synced: bool
    gaps: int
    resyncs: int
    best_bid: float | None
    best_ask: float | None

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class FeatureReplay:
    """Turn capture lines of one market into feature rows.

    Parameters
    ----------
    market : Market
        Whose synchronisation rules hold.
    grid_ns : int
        Spacing of decision ticks in receive time.
    sizes_quote : sequence of float
        Position sizes (quote units) that slippage is walked for; one column each.
    """

    def __init__(
        self, market: Market, *, grid_ns: int = GRID_NS, sizes_quote: Sequence[float] = SIZES_QUOTE, capacity: int = 32
    ) -> None:
        self.market = market
        self.parser = MessageParser(market)
        self.sizes_quote = np.asarray(sizes_quote, np.float64)
        self.feature_rows = 0
        self._syncs: list[BookSync] = []
        self._capacity = capacity
        self._book = new_book_state(capacity)
        self._sync = book_sync.new_sync_state(capacity)
        self._quotes = loop.new_quotes(capacity)
        self._features = new_feature_state(capacity)
        self._clock = loop.new_clock(grid_ns)
        self._scratch = loop.new_scratch()
        self._rows = self._new_rows(max(MAX_ROWS, capacity))
        self._wanted: dict[int, None] = {}

    @property
    def symbols(self) -> list[str]:
        """Return the symbols in the order of their index."""
        return self.parser.symbols.names

    @property
    def now_ns(self) -> int:
        """Return the receive time of the last event."""
        return int(self._clock.now_ns[0])

    @property
    def next_tick_ns(self) -> int:
        """Return the pending tick; 0 before the first event."""
        return int(self._clock.next_tick_ns[0])

    def feed(self, block: bytes) -> FeatureRows:
        """Take whole capture lines; return the rows of the ticks they completed."""
        parsed = self.parser.feed(block)
        self._make_room()
        done: list[FeatureRows] = []
        at = n_rows = 0
        while True:
            at, n_rows, pause = loop.advance(
                self.market is Market.SPOT,
                parsed.events,
                parsed.prices_e8,
                parsed.qtys,
                at,
                self._book,
                self._sync,
                self._quotes,
                self._features,
                self._clock,
                self._scratch,
                self.sizes_quote,
                self._rows,
                n_rows,
            )
            if pause == Pause.DONE:
                break
            if pause == Pause.ROWS_FULL:
                done.append(self._take_rows(n_rows))
                n_rows = 0
                continue
            self._on_pause(Pause(pause), parsed, at)
            at += 1
        done.append(self._take_rows(n_rows))
        return self._joined(done)

    def finish(self) -> FeatureRows:
        """Return the rows of the pending tick; for the end of a recording."""
        n_rows = loop.complete_tick(
            self._book, self._sync, self._quotes, self._features, self._clock, self.sizes_quote, self._rows, 0
        )
        return self._joined([self._take_rows(n_rows)])

    def take_requests(self) -> list[str]:
        """Return the symbols that need a snapshot since the last call. A replay finds them in its capture."""
        wanted = [self.symbols[i] for i in self._wanted if not self._syncs[i].synced]
        self._wanted.clear()
        return wanted

    def is_synced(self, symbol: str) -> bool:
        index = self.symbols.index(symbol)
        return index < len(self._syncs) and self._syncs[index].synced

    def book(self, symbol: str) -> OrderBook:
        """Return a view of the book of a symbol."""
        return OrderBook(self._book, self.symbols.index(symbol))

    def last_update_id(self, symbol: str) -> int:
        return int(self._sync.last_id[self.symbols.index(symbol)])

    def report(self) -> dict[str, SymbolReport]:
        """Return how each symbol's book fared, by name."""
        self._make_room()
        return {name: self._symbol_report(i) for i, name in enumerate(self.symbols)}

    def _symbol_report(self, i: int) -> SymbolReport:
        sync = self._syncs[i]
        bid, _, ask, _ = loop.best_quote(self._book, i)
        known = sync.synced
        return SymbolReport(
            known,
            sync.gaps,
            sync.resyncs,
            bid / PRICE_SCALE if known and bid else None,
            ask / PRICE_SCALE if known and ask else None,
        )

    def _on_pause(self, pause: Pause, parsed: ParsedBlock, at: int) -> None:
        event = parsed.events[at]
        i = int(event["symbol"])
        if pause is Pause.DISCONNECT:
            for lost in range(len(self._syncs)) if i < 0 else [i]:
                if self._syncs[lost].synced:
                    self._syncs[lost].disconnects += 1
                    self._lose(lost)
            return
        if pause is Pause.SNAPSHOT:
            if not self._syncs[i].synced:
                self._join(i, parsed, at)
        elif pause is Pause.CROSSED:
            self._syncs[i].crossed += 1
            self._lose(i)
        else:
            if pause is Pause.GAP:
                self._syncs[i].gaps += 1
                self._lose(i)
            self._syncs[i].hold(_buffered(parsed, at))
            if len(self._syncs[i].buffer) == 1:
                self._wanted[i] = None
        self._quotes.dirty[i] = 1

    def _lose(self, i: int) -> None:
        self._syncs[i].lose()
        self._sync.synced[i] = 0
        on_book_reset(self._features, i, self.now_ns)
        self._wanted[i] = None
        self._quotes.dirty[i] = 1

    def _join(self, i: int, parsed: ParsedBlock, at: int) -> None:
        """Build book `i` from a snapshot and the buffered diffs, or ask for another snapshot."""
        event = parsed.events[at]
        first = int(event["first_level"])
        last = first + int(event["n_bids"]) + int(event["n_asks"])
        snapshot = Snapshot(
            int(event["last_id"]), int(event["n_bids"]), parsed.prices_e8[first:last], parsed.qtys[first:last]
        )
        diffs = self._syncs[i].join(snapshot)
        if diffs is None:
            self._wanted[i] = None
            return
        clear_book(self._book, i)
        parts: list[Snapshot | BufferedDiff] = [snapshot, *diffs]
        for part in parts:
            n_asks = len(part.qtys) - part.n_bids
            apply_levels(self._book, i, part.prices_e8, part.qtys, 0, part.n_bids, n_asks)
        self._sync.last_id[i] = diffs[-1].last_id if diffs else snapshot.last_id
        self._sync.fresh[i] = 0 if diffs else 1
        if is_crossed(self._book, i):
            self._syncs[i].crossed += 1
            self._lose(i)
            return
        self._sync.synced[i] = 1
        self._quotes.warm_from_ns[i] = self.now_ns
        on_book_reset(self._features, i, self.now_ns)
        loop.book_changed(self._book, self._quotes, self._features, self._scratch, i, self.now_ns)

    def _make_room(self) -> None:
        """Give each symbol that became known its sync machine, and double the arrays when they are full."""
        n = len(self.symbols)
        while n > self._capacity:
            self._grow(2 * self._capacity)
        while len(self._syncs) < n:
            self._syncs.append(BookSync(self.market))

    def _grow(self, capacity: int) -> None:
        book, sync, quotes = new_book_state(capacity), book_sync.new_sync_state(capacity), loop.new_quotes(capacity)
        for old, new in ((self._book, book), (self._sync, sync), (self._quotes, quotes)):
            for source, target in zip(old, new, strict=True):
                target[: self._capacity] = source
        self._book, self._sync, self._quotes = book, sync, quotes
        self._features = grow_features(self._features, capacity)
        self._rows = self._new_rows(max(MAX_ROWS, capacity))
        self._capacity = capacity

    def _new_rows(self, n: int) -> loop.RowBuffer:
        return loop.RowBuffer(
            np.zeros(n, np.int64),
            np.zeros(n, np.int32),
            np.zeros((n, N_FEATURES)),
            np.zeros(n, context_dtype),
            np.zeros((n, len(self.sizes_quote))),
            np.zeros((n, len(self.sizes_quote))),
        )

    def _take_rows(self, n: int) -> FeatureRows:
        self.feature_rows += n
        return FeatureRows(*(column[:n].copy() for column in self._rows))

    @staticmethod
    def _joined(parts: list[FeatureRows]) -> FeatureRows:
        if len(parts) == 1:
            return parts[0]
        return FeatureRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _buffered(parsed: ParsedBlock, at: int) -> BufferedDiff:
    """Copy one diff out of a parsed block."""
    event = parsed.events[at]
    first, n_bids = int(event["first_level"]), int(event["n_bids"])
    last = first + n_bids + int(event["n_asks"])
    return BufferedDiff(
        int(event["first_id"]),
        int(event["last_id"]),
        int(event["prev_id"]),
        n_bids,
        parsed.prices_e8[first:last].copy(),
        parsed.qtys[first:last].copy(),
    )


def feature_rows(lines: Iterable[bytes], market: Market, **options: Any) -> tuple[FeatureRows, FeatureReplay]:
    """Replay capture lines whole; return all rows and the replay (for its symbols and report)."""
    replay = FeatureReplay(market, **options)
    parts = [replay.feed(block) for block in blocks_of(lines)]
    parts.append(replay.finish())
    return FeatureReplay._joined(parts), replay
