"""What the exchange tells the world after each change of a book: trades, best quotes, diffs, mark prices."""

import numpy as np
from numba import njit

from marketdata.events import NS_PER_S
from marketdata.simulator.order_book import MARK_ASK, MARK_BID
from marketdata.simulator.state import Books, Outbox, State, Traits
from marketdata.simulator.wire import (
    AGG_TRADE,
    BOOK_TICKER,
    DEPTH,
    MARK_PRICE,
    NS_PER_MS,
    put_agg_trade,
    put_asks_head,
    put_book_ticker,
    put_depth_end,
    put_depth_head,
    put_level,
    put_mark_price,
)

FUNDING_NS = 8 * 3600 * NS_PER_S


@njit(cache=True)
def post(box: Outbox, row: int, kind: int, ts_ns: int, end: int) -> None:
    """Close the message that has just been written up to `end`."""
    message = box.used[0]
    box.ts_ns[message] = ts_ns
    box.symbol[message] = row
    box.kind[message] = kind
    box.start[message] = box.used[1]
    box.used[0] = message + 1
    box.used[1] = end


@njit(cache=True)
def has_room(box: Outbox) -> bool:
    return bool(box.used[0] + 256 < len(box.ts_ns) and box.used[1] + 160_000 < len(box.text))


@njit(cache=True)
def _engine_ms(state: State, ts_ns: int) -> int:
    """Futures stamp the matching engine's time a little before the event's."""
    return int(ts_ns // NS_PER_MS - state.update_id % 4)


@njit(cache=True)
def note_trade(
    traits: Traits, state: State, box: Outbox, row: int, position: int, lots: int, fills: int, side: int, ts_ns: int
) -> None:
    """One taker order's fill at one price joins the open aggTrade, or closes it and opens the next."""
    if state.agg_side != 0 and (state.agg_side != side or state.agg_price != position):
        close_trade(traits, state, box, row, ts_ns)
    if state.agg_side == 0:
        state.agg_side, state.agg_price, state.agg_lots, state.agg_ns = side, position, 0, ts_ns
        state.agg_first = state.trade_id + 1
    state.trade_id += fills
    state.agg_lots += lots


@njit(cache=True)
def close_trade(traits: Traits, state: State, box: Outbox, row: int, ts_ns: int) -> None:
    """Spot does this after each taker order; futures wait up to a tenth of a second for more at the same price."""
    state.agg_id += 1
    event_ms, trade_ms = ts_ns // NS_PER_MS, state.agg_ns // NS_PER_MS
    ids = (state.agg_id, state.agg_first, state.trade_id)
    at = box.used[1]
    end = put_agg_trade(
        box.text, at, traits, event_ms, trade_ms, ids, state.agg_price, state.agg_lots, state.agg_side < 0
    )
    post(box, row, AGG_TRADE, ts_ns, end)
    state.agg_side = 0


@njit(cache=True)
def report_touch(traits: Traits, state: State, books: Books, box: Outbox, row: int, ts_ns: int) -> None:
    """One bookTicker when the best price or quantity of either side is not what the last one said."""
    bid, ask = state.best_bid, state.best_ask
    bid_lots, ask_lots = books.levels[traits.offset + bid], -books.levels[traits.offset + ask]
    same_bid = bid == state.shown_bid and bid_lots == state.shown_bid_lots
    if same_bid and ask == state.shown_ask and ask_lots == state.shown_ask_lots:
        return
    state.shown_bid, state.shown_bid_lots, state.shown_ask, state.shown_ask_lots = bid, bid_lots, ask, ask_lots
    event_ms, engine_ms = ts_ns // NS_PER_MS, _engine_ms(state, ts_ns)
    at = box.used[1]
    end = put_book_ticker(box.text, at, traits, event_ms, engine_ms, state.update_id, bid, bid_lots, ask, ask_lots)
    post(box, row, BOOK_TICKER, ts_ns, end)


@njit(cache=True)
def report_depth(traits: Traits, state: State, books: Books, box: Outbox, row: int, ts_ns: int) -> None:
    """One diff with every level touched since the last one; nothing when nothing was touched."""
    if state.first_id == 0:
        return
    dirty = books.dirty[row]
    _sort(dirty, state.n_dirty)
    event_ms, engine_ms = ts_ns // NS_PER_MS, min(state.change_ns, ts_ns) // NS_PER_MS
    first_id = state.first_id if traits.futures else state.sent_id + 1
    text = box.text
    at = put_depth_head(text, box.used[1], traits, event_ms, engine_ms, first_id, state.update_id, state.sent_id)
    for mark in (MARK_BID, MARK_ASK):
        if mark == MARK_ASK:
            at = put_asks_head(text, at)
        at = _put_side(traits, state, books, text, at, dirty, mark)
    post(box, row, DEPTH, ts_ns, put_depth_end(text, at))
    _remember_sent(traits, state, books, dirty)


@njit(cache=True)
def _sort(positions: np.ndarray, count: int) -> None:
    """Insertion: a diff rarely has more than ten levels."""
    for i in range(1, count):
        position, j = positions[i], i
        while j > 0 and positions[j - 1] > position:
            positions[j] = positions[j - 1]
            j -= 1
        positions[j] = position


@njit(cache=True)
def _put_side(
    traits: Traits, state: State, books: Books, text: np.ndarray, at: int, dirty: np.ndarray, mark: int
) -> int:
    """Upwards, but spot bids downwards, as recorded."""
    begin, downwards = at, mark == MARK_BID and not traits.futures
    for i in range(state.n_dirty):
        position = dirty[state.n_dirty - 1 - i if downwards else i]
        where = traits.offset + position
        if books.marks[where] & mark:
            if at > begin:
                text[at] = 44  # a comma
                at += 1
            lots = books.levels[where] if mark == MARK_BID else -books.levels[where]
            at = put_level(text, at, traits, position, max(0, lots))
    return at


@njit(cache=True)
def _remember_sent(traits: Traits, state: State, books: Books, dirty: np.ndarray) -> None:
    for i in range(state.n_dirty):
        where = traits.offset + dirty[i]
        books.sent[where] = books.levels[where]
        books.marks[where] = 0
    state.n_dirty = 0
    state.first_id = 0
    state.sent_id = state.update_id


@njit(cache=True)
def report_mark_price(traits: Traits, state: State, box: Outbox, row: int, ts_ns: int) -> None:
    e8 = traits.tick_mantissa
    for _ in range(8 - traits.price_decimals):
        e8 *= 10
    index_e8 = int((traits.base_tick + state.fair) * e8)
    mark_e8 = index_e8 + int(state.lean * 0.2 * e8)
    next_funding_ms = (ts_ns // FUNDING_NS + 1) * FUNDING_NS // NS_PER_MS
    funding_e8 = int(state.funding * 1e8)
    at = put_mark_price(
        box.text, box.used[1], traits, ts_ns // NS_PER_MS, mark_e8, index_e8, index_e8, funding_e8, next_funding_ms
    )
    post(box, row, MARK_PRICE, ts_ns, at)
