"""The compiled loop that live and replay share: events -> books, quotes, features -> one row per dirty symbol and tick.

Time is the receive time inside the events. Ticks lie on a fixed grid; a tick is completed by the first event at or
after it and sees everything received before it. The loop hands control back (`Pause`) for the rare things that the
slow side decides: snapshots, diffs without a book, gaps, crossed books, disconnects.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from marketdata.binance.book_sync import APPLY, OLD, SyncState, judge
from marketdata.book import (
    BPS,
    BookState,
    apply_levels,
    best_price,
    best_qty,
    depth_within_bps,
    is_crossed,
    top_levels,
    walk_slippage_bps,
)
from marketdata.events import EventKind
from marketdata.features.feature_set import (
    N_BOOK_LEVELS,
    WARMUP_NS,
    FeatureState,
    on_book,
    on_quote,
    on_trade,
    write_vector,
)

DIFF, SNAPSHOT, TRADE, AGG_TRADE, TICKER, GONE = (
    int(EventKind.DEPTH_DIFF),
    int(EventKind.DEPTH_SNAPSHOT),
    int(EventKind.TRADE),
    int(EventKind.AGG_TRADE),
    int(EventKind.BOOK_TICKER),
    int(EventKind.DISCONNECT),
)

TICKER_SILENCE_NS = 5_000_000_000
"""After this long without a book ticker the touch of the depth book is the best quote again."""

NEVER = -1

context_dtype = np.dtype(
    [
        ("bid_e8", "i8"),
        ("ask_e8", "i8"),
        ("bid_qty", "f8"),
        ("ask_qty", "f8"),
        ("spread_bps", "f8"),
        ("depth_bid_10bps", "f8"),  # quote units within 10 bps of the best bid
        ("depth_ask_10bps", "f8"),
        ("book_age_ns", "i8"),  # ages at the tick; -1: never seen
        ("quote_age_ns", "i8"),
        ("trade_age_ns", "i8"),
        ("last_price_e8", "i8"),
        ("synced", "u1"),
        ("warm", "u1"),
    ]
)


class Pause(IntEnum):
    """Why the loop handed control back."""

    DONE = 0
    ROWS_FULL = 1  # flush the rows, then go on with the same event
    HOLD = 2  # a diff without a book
    GAP = 3
    CROSSED = 4
    SNAPSHOT = 5
    DISCONNECT = 6


_DONE, _ROWS_FULL, _HOLD, _GAP, _CROSSED, _SNAPSHOT, _DISCONNECT = (int(p) for p in Pause)


class Quotes(NamedTuple):
    """The latest of each symbol, arrays of shape (n,); times are receive times, NEVER when unseen."""

    bid_e8: np.ndarray
    bid_qty: np.ndarray
    ask_e8: np.ndarray
    ask_qty: np.ndarray
    quote_ns: np.ndarray
    ticker_ns: np.ndarray
    book_ns: np.ndarray
    trade_ns: np.ndarray
    last_price_e8: np.ndarray
    warm_from_ns: np.ndarray
    trade_kind: np.ndarray  # the kind of trade stream that counts: the first one seen, so that none counts twice
    dirty: np.ndarray


class Clock(NamedTuple):
    """now_ns, next_tick_ns and grid_ns as one-element arrays, so that the loop can move them."""

    now_ns: np.ndarray
    next_tick_ns: np.ndarray
    grid_ns: np.ndarray


class RowBuffer(NamedTuple):
    """Room for rows of completed ticks. Slippages have one column per position size; NaN: the book is too thin."""

    tick_ns: np.ndarray
    symbol: np.ndarray
    X: np.ndarray
    context: np.ndarray
    buy_slippage_bps: np.ndarray
    sell_slippage_bps: np.ndarray


class Scratch(NamedTuple):
    bids_e8: np.ndarray
    bid_qtys: np.ndarray
    asks_e8: np.ndarray
    ask_qtys: np.ndarray


def new_quotes(n_symbols: int) -> Quotes:
    def whole(value: int = 0) -> np.ndarray:
        return np.full(n_symbols, value, np.int64)

    return Quotes(
        bid_e8=whole(),
        bid_qty=np.zeros(n_symbols),
        ask_e8=whole(),
        ask_qty=np.zeros(n_symbols),
        quote_ns=whole(NEVER),
        ticker_ns=whole(NEVER),
        book_ns=whole(NEVER),
        trade_ns=whole(NEVER),
        last_price_e8=whole(),
        warm_from_ns=whole(NEVER),
        trade_kind=np.zeros(n_symbols, np.uint8),
        dirty=np.zeros(n_symbols, np.uint8),
    )


def new_clock(grid_ns: int) -> Clock:
    return Clock(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, grid_ns, np.int64))


def new_scratch() -> Scratch:
    return Scratch(
        np.zeros(N_BOOK_LEVELS, np.int64),
        np.zeros(N_BOOK_LEVELS),
        np.zeros(N_BOOK_LEVELS, np.int64),
        np.zeros(N_BOOK_LEVELS),
    )


@njit(cache=True)
def take_quote(
    quotes: Quotes,
    features: FeatureState,
    i: int,
    now_ns: int,
    bid_e8: int,
    bid_qty: float,
    ask_e8: int,
    ask_qty: float,
) -> None:
    """Make this the best quote of symbol `i`."""
    quotes.bid_e8[i] = bid_e8
    quotes.bid_qty[i] = bid_qty
    quotes.ask_e8[i] = ask_e8
    quotes.ask_qty[i] = ask_qty
    quotes.quote_ns[i] = now_ns
    on_quote(features, i, now_ns, bid_e8, bid_qty, ask_e8, ask_qty)


@njit(cache=True)
def book_changed(
    book: BookState, quotes: Quotes, features: FeatureState, scratch: Scratch, i: int, now_ns: int
) -> None:
    """Tell the features about the new top of book `i`, and the quote too where no book ticker speaks."""
    quotes.book_ns[i] = now_ns
    quotes.dirty[i] = 1
    n_bid = top_levels(book, i, 0, scratch.bids_e8, scratch.bid_qtys)
    n_ask = top_levels(book, i, 1, scratch.asks_e8, scratch.ask_qtys)
    on_book(features, i, now_ns, scratch.bids_e8, scratch.bid_qtys, scratch.asks_e8, scratch.ask_qtys, n_bid, n_ask)
    ticker_ns = quotes.ticker_ns[i]
    if n_bid > 0 and n_ask > 0 and (ticker_ns == NEVER or now_ns - ticker_ns > TICKER_SILENCE_NS):
        take_quote(
            quotes,
            features,
            i,
            now_ns,
            scratch.bids_e8[0],
            scratch.bid_qtys[0],
            scratch.asks_e8[0],
            scratch.ask_qtys[0],
        )


@njit(cache=True)
def _age(now_ns: int, then_ns: int) -> int:
    return now_ns - then_ns if then_ns != NEVER else NEVER


@njit(cache=True)
def _write_row(
    book: BookState,
    sync: SyncState,
    quotes: Quotes,
    features: FeatureState,
    sizes_quote: np.ndarray,
    rows: RowBuffer,
    n: int,
    i: int,
    tick_ns: int,
) -> None:
    rows.tick_ns[n] = tick_ns
    rows.symbol[n] = i
    write_vector(features, i, tick_ns, rows.X[n])
    row = rows.context[n]
    bid, ask = quotes.bid_e8[i], quotes.ask_e8[i]
    row["bid_e8"] = bid
    row["ask_e8"] = ask
    row["bid_qty"] = quotes.bid_qty[i]
    row["ask_qty"] = quotes.ask_qty[i]
    row["spread_bps"] = (ask - bid) / (0.5 * (ask + bid)) * BPS if bid > 0 and ask > 0 else np.nan
    row["book_age_ns"] = _age(tick_ns, quotes.book_ns[i])
    row["quote_age_ns"] = _age(tick_ns, quotes.quote_ns[i])
    row["trade_age_ns"] = _age(tick_ns, quotes.trade_ns[i])
    row["last_price_e8"] = quotes.last_price_e8[i]
    synced = sync.synced[i] == 1
    row["synced"] = 1 if synced else 0
    warm_from = quotes.warm_from_ns[i]
    row["warm"] = 1 if synced and warm_from != NEVER and tick_ns - warm_from >= WARMUP_NS else 0
    row["depth_bid_10bps"] = depth_within_bps(book, i, 0, 10.0) if synced else np.nan
    row["depth_ask_10bps"] = depth_within_bps(book, i, 1, 10.0) if synced else np.nan
    for k in range(sizes_quote.shape[0]):
        rows.buy_slippage_bps[n, k] = walk_slippage_bps(book, i, 1, sizes_quote[k]) if synced else np.nan
        rows.sell_slippage_bps[n, k] = walk_slippage_bps(book, i, 0, sizes_quote[k]) if synced else np.nan


@njit(cache=True)
def complete_tick(
    book: BookState,
    sync: SyncState,
    quotes: Quotes,
    features: FeatureState,
    clock: Clock,
    sizes_quote: np.ndarray,
    rows: RowBuffer,
    n_rows: int,
) -> int:
    """Write a row for each dirty symbol at the pending tick, in symbol order; return the number of rows, or -1 when
    they do not fit (nothing is written then)."""
    n_dirty = 0
    for i in range(quotes.dirty.shape[0]):
        n_dirty += quotes.dirty[i]
    if n_rows + n_dirty > rows.tick_ns.shape[0]:
        return -1
    tick_ns = clock.next_tick_ns[0]
    if n_dirty > 0:
        for i in range(quotes.dirty.shape[0]):
            if quotes.dirty[i] == 1:
                _write_row(book, sync, quotes, features, sizes_quote, rows, n_rows, i, tick_ns)
                quotes.dirty[i] = 0
                n_rows += 1
    return n_rows


@njit(cache=True)
def advance(
    spot: bool,
    events: np.ndarray,
    prices_e8: np.ndarray,
    qtys: np.ndarray,
    at: int,
    book: BookState,
    sync: SyncState,
    quotes: Quotes,
    features: FeatureState,
    clock: Clock,
    scratch: Scratch,
    sizes_quote: np.ndarray,
    rows: RowBuffer,
    n_rows: int,
) -> tuple[int, int, int]:
    """Run events from `at` on.

    Returns
    -------
    (at, n_rows, pause)
        The event that stopped the loop (or the end), rows written so far, and a `Pause`.
    """
    grid_ns = clock.grid_ns[0]
    while at < events.shape[0]:
        event = events[at]
        now_ns = max(event["recv_ns"], clock.now_ns[0])
        if now_ns >= clock.next_tick_ns[0]:
            if clock.next_tick_ns[0] > 0:
                written = complete_tick(book, sync, quotes, features, clock, sizes_quote, rows, n_rows)
                if written < 0:
                    return at, n_rows, _ROWS_FULL
                n_rows = written
            clock.next_tick_ns[0] = (now_ns // grid_ns + 1) * grid_ns
        clock.now_ns[0] = now_ns
        kind = event["kind"]
        i = event["symbol"]
        if kind == TICKER:
            j = event["first_level"]
            quotes.ticker_ns[i] = now_ns
            quotes.dirty[i] = 1
            take_quote(quotes, features, i, now_ns, prices_e8[j], qtys[j], prices_e8[j + 1], qtys[j + 1])
        elif kind in (TRADE, AGG_TRADE):
            if quotes.trade_kind[i] == 0:
                quotes.trade_kind[i] = kind
            if quotes.trade_kind[i] == kind:
                quotes.trade_ns[i] = now_ns
                quotes.last_price_e8[i] = event["price_e8"]
                quotes.dirty[i] = 1
                on_trade(features, i, now_ns, event["price_e8"], event["qty"], event["side"])
        elif kind == DIFF:
            if sync.synced[i] == 0:
                return at, n_rows, _HOLD
            verdict = judge(
                spot, sync.fresh[i] == 1, sync.last_id[i], event["first_id"], event["last_id"], event["prev_id"]
            )
            if verdict == APPLY:
                apply_levels(book, i, prices_e8, qtys, event["first_level"], event["n_bids"], event["n_asks"])
                sync.last_id[i] = event["last_id"]
                sync.fresh[i] = 0
                if is_crossed(book, i):
                    return at, n_rows, _CROSSED
                book_changed(book, quotes, features, scratch, i, now_ns)
            elif verdict != OLD:
                return at, n_rows, _GAP
        elif kind == SNAPSHOT:
            return at, n_rows, _SNAPSHOT
        elif kind == GONE:
            return at, n_rows, _DISCONNECT
        at += 1
    return at, n_rows, _DONE


@njit(cache=True)
def best_quote(book: BookState, i: int) -> tuple[int, float, int, float]:
    """Return best bid, its quantity, best ask, its quantity of book `i`; zeros where a side is empty."""
    return best_price(book, i, 0), best_qty(book, i, 0), best_price(book, i, 1), best_qty(book, i, 1)
