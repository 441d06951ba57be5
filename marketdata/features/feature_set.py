"""The feature set: the state of every symbol, one compiled step per kind of event, and the vector a model reads.

Live and replay call these very functions. All windows run in receive time (`ts_ns`, non-decreasing per symbol).
A reset forgets the chain of order-flow increments; a reset followed by silence longer than `STALE_NS` forgets
the symbol altogether, so that an outage never looks like a move.
"""

from typing import NamedTuple

import numpy as np

from marketdata.features.book_shape import BOOK_FEATURES, N_BOOK_LEVELS, book_dtype, book_step, write_book_shape
from marketdata.features.liquidity import (
    IMPACT_FEATURES,
    TURNOVER_FEATURES,
    impact_dtype,
    impact_on_mid,
    impact_on_trade,
    write_impact,
    write_turnover,
)
from marketdata.features.order_flow import (
    DEPTH_FLOW_FEATURES,
    TOUCH_FLOW_FEATURES,
    order_flow_dtype,
    touch_flow_step,
    write_depth_flow,
    write_touch_flow,
)
from marketdata.features.registry import Feature, feature_set_hash
from marketdata.features.touch import (
    PRICE_UNIT,
    TOUCH_FEATURES,
    average_touch_depth,
    touch_dtype,
    touch_step,
    write_touch,
)
from marketdata.features.trade_flow import (
    TRADE_FEATURES,
    VWAP_FEATURES,
    trade_flow_dtype,
    trade_flow_step,
    write_trade_flow,
    write_vwap,
)
from marketdata.features.volatility import PRICE_FEATURES, price_step, prices_dtype, write_prices
from marketdata.features.windows import S60, blank, compiled, decay_factors, window_seconds

__all__ = [
    "FEATURES",
    "FEATURE_NAMES",
    "FEATURE_SET_HASH",
    "N_BOOK_LEVELS",
    "N_FEATURES",
    "STALE_NS",
    "WARMUP_NS",
    "FeatureState",
    "grow",
    "new_feature_state",
    "on_book",
    "on_book_reset",
    "on_quote",
    "on_trade",
    "write_vector",
]

WARMUP_NS = 20_000_000_000
STALE_NS = 5_000_000_000
MIN_SEEN_NS = 5_000_000_000
"""Rates of the first seconds are taken over at least this long."""

_GROUPS = (
    TOUCH_FEATURES,
    TOUCH_FLOW_FEATURES,
    PRICE_FEATURES,
    BOOK_FEATURES,
    DEPTH_FLOW_FEATURES,
    TRADE_FEATURES,
    VWAP_FEATURES,
    IMPACT_FEATURES,
    TURNOVER_FEATURES,
)
_ENDS = tuple(int(n) for n in np.cumsum([len(group) for group in _GROUPS]))
AT_TOUCH = 0
AT_TOUCH_FLOW, AT_PRICES, AT_BOOK, AT_DEPTH_FLOW, AT_TRADES, AT_VWAP, AT_IMPACT, AT_TURNOVER = _ENDS[:-1]

FEATURES: tuple[Feature, ...] = tuple(feature for group in _GROUPS for feature in group)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
N_FEATURES: int = len(FEATURES)
FEATURE_SET_HASH: str = feature_set_hash(FEATURES)

clock_dtype = np.dtype(
    [
        ("started", "i8"),
        ("start_ns", "i8"),  # first event of any kind
        ("last_ns", "i8"),  # latest event of any kind
        ("interrupted", "i8"),  # a reset came and no event since
        ("has_quote", "i8"),
        ("quote_start_ns", "i8"),
        ("quote_ns", "i8"),
        ("has_book", "i8"),
        ("book_start_ns", "i8"),  # first book after the latest reset
        ("book_ns", "i8"),
        ("has_trade", "i8"),
        ("trade_ns", "i8"),
    ],
    align=True,
)


class FeatureState(NamedTuple):
    """What is remembered of every symbol; row = symbol index."""

    clock: np.ndarray
    touch: np.ndarray
    touch_flow: np.ndarray
    prices: np.ndarray
    book: np.ndarray
    trades: np.ndarray
    impact: np.ndarray


_DTYPES = (clock_dtype, touch_dtype, order_flow_dtype, prices_dtype, book_dtype, trade_flow_dtype, impact_dtype)
_CLOCK, _TOUCH, _TOUCH_FLOW, _PRICES, _BOOK, _TRADES, _IMPACT = (blank(dtype) for dtype in _DTYPES)


def new_feature_state(capacity: int) -> FeatureState:
    """Return empty memory for `capacity` symbols."""
    if capacity < 1:
        raise ValueError(f"a feature state needs room for at least one symbol, not {capacity}")
    return FeatureState(*(np.zeros(capacity, dtype) for dtype in _DTYPES))


def grow(state: FeatureState, capacity: int) -> FeatureState:
    """Return a copy with room for `capacity` symbols; the old rows keep their memory."""
    size = len(state.clock)
    if capacity < size:
        raise ValueError(f"a feature state of {size} symbols cannot shrink to {capacity}")
    larger = new_feature_state(capacity)
    for old, new in zip(state, larger, strict=True):
        new[:size] = old
    return larger


@compiled
def forget(state: FeatureState, i: int) -> None:
    """Empty all memory of one symbol."""
    state.clock[i] = _CLOCK[0]
    state.touch[i] = _TOUCH[0]
    state.touch_flow[i] = _TOUCH_FLOW[0]
    state.prices[i] = _PRICES[0]
    state.book[i] = _BOOK[0]
    state.trades[i] = _TRADES[0]
    state.impact[i] = _IMPACT[0]


@compiled
def wake(state: FeatureState, i: int, ts_ns: int) -> None:
    """Note that an event came; forget the symbol first if a reset was followed by a long silence."""
    clock = state.clock[i]
    if clock.interrupted and ts_ns - clock.last_ns > STALE_NS:
        forget(state, i)
    if not clock.started:
        clock.started = 1
        clock.start_ns = ts_ns
    clock.interrupted = 0
    clock.last_ns = ts_ns


@compiled
def on_quote(state: FeatureState, i: int, ts_ns: int, bid_e8: int, bid_qty: float, ask_e8: int, ask_qty: float) -> None:
    """Take in a best quote that changed or was confirmed."""
    wake(state, i, ts_ns)
    clock = state.clock[i]
    touch = state.touch[i]
    if not clock.has_quote:
        clock.has_quote = 1
        clock.quote_start_ns = ts_ns
        clock.quote_ns = ts_ns
    factors = decay_factors(ts_ns - clock.quote_ns)
    clock.quote_ns = ts_ns
    touch_flow_step(state.touch_flow[i], touch, bid_e8, bid_qty, ask_e8, ask_qty, factors)
    touch_step(touch, bid_e8, bid_qty, ask_e8, ask_qty, factors)
    price_step(state.prices[i], ts_ns, touch.mid)
    impact_on_mid(state.impact[i], ts_ns, touch.mid)


@compiled
def on_book(
    state: FeatureState,
    i: int,
    ts_ns: int,
    bids_e8: np.ndarray,
    bid_qtys: np.ndarray,
    asks_e8: np.ndarray,
    ask_qtys: np.ndarray,
    n_bid: int,
    n_ask: int,
) -> None:
    """Take in the ten best levels a side after a depth update, best first."""
    wake(state, i, ts_ns)
    clock = state.clock[i]
    if not clock.has_book:
        clock.has_book = 1
        clock.book_start_ns = ts_ns
        clock.book_ns = ts_ns
        state.book[i] = _BOOK[0]
    factors = decay_factors(ts_ns - clock.book_ns)
    clock.book_ns = ts_ns
    book_step(state.book[i], ts_ns, bids_e8, bid_qtys, asks_e8, ask_qtys, n_bid, n_ask, factors)


@compiled
def on_trade(state: FeatureState, i: int, ts_ns: int, price_e8: int, qty: float, side: int) -> None:
    """Take in a trade; side +1 when the taker bought, -1 when the taker sold."""
    wake(state, i, ts_ns)
    clock = state.clock[i]
    if not clock.has_trade:
        clock.has_trade = 1
        clock.trade_ns = ts_ns
    factors = decay_factors(ts_ns - clock.trade_ns)
    seconds = window_seconds(max(ts_ns - clock.start_ns, MIN_SEEN_NS))
    clock.trade_ns = ts_ns
    price = PRICE_UNIT * price_e8
    trade_flow_step(state.trades[i], ts_ns, price, qty, side, factors, seconds)
    impact_on_trade(state.impact[i], ts_ns, price * qty, side)


@compiled
def on_book_reset(state: FeatureState, i: int, ts_ns: int) -> None:
    """The book became stale or was rebuilt: increments must not span this moment, the book warms up anew."""
    state.clock[i].interrupted = 1
    state.clock[i].has_book = 0
    state.touch[i].has_previous = 0


@compiled
def write_vector(state: FeatureState, i: int, ts_ns: int, out: np.ndarray) -> None:
    """Write the features of symbol `i` as of `ts_ns` into out[0:N_FEATURES]; NaN where cold or stale. Reads only."""
    for column in range(N_FEATURES):
        out[column] = np.nan
    clock = state.clock[i]
    has_quote = clock.has_quote and ts_ns - clock.quote_start_ns >= WARMUP_NS and ts_ns - clock.quote_ns <= STALE_NS
    has_book = clock.has_book and ts_ns - clock.book_start_ns >= WARMUP_NS and ts_ns - clock.book_ns <= STALE_NS
    has_trade = clock.has_trade and ts_ns - clock.start_ns >= WARMUP_NS
    trade_factors = decay_factors(ts_ns - clock.trade_ns)
    seconds = window_seconds(max(ts_ns - clock.start_ns, MIN_SEEN_NS))
    if has_quote:
        write_quote_features(state, i, ts_ns, out)
    if has_book:
        write_book_features(state, i, ts_ns, out)
    if has_trade:
        write_trade_flow(state.trades[i], ts_ns - clock.trade_ns, trade_factors, seconds, out, AT_TRADES)
    if has_trade and has_quote:
        write_vwap(state.trades[i], state.touch[i].mid, out, AT_VWAP)
        write_impact(state.impact[i], out, AT_IMPACT)
    if has_trade and has_book:
        write_turnover(state.trades[i], state.book[i], trade_factors, seconds, out, AT_TURNOVER)


@compiled
def write_quote_features(state: FeatureState, i: int, ts_ns: int, out: np.ndarray) -> None:
    clock = state.clock[i]
    touch = state.touch[i]
    factors = decay_factors(ts_ns - clock.quote_ns)
    seen_factors = decay_factors(ts_ns - clock.quote_start_ns)
    depth = average_touch_depth(touch, factors, 1.0 - seen_factors[S60])
    write_touch(touch, factors, seen_factors, out, AT_TOUCH)
    write_touch_flow(state.touch_flow[i], depth, factors, out, AT_TOUCH_FLOW)
    write_prices(state.prices[i], ts_ns, out, AT_PRICES)


@compiled
def write_book_features(state: FeatureState, i: int, ts_ns: int, out: np.ndarray) -> None:
    clock = state.clock[i]
    book = state.book[i]
    factors = decay_factors(ts_ns - clock.book_ns)
    seen_factors = decay_factors(ts_ns - clock.book_start_ns)
    write_book_shape(book, factors, seen_factors, out, AT_BOOK)
    write_depth_flow(book, ts_ns, factors, seen_factors, out, AT_DEPTH_FLOW)
