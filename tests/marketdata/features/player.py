"""Plays a tape into the compiled feature set and asks for vectors on the way."""

from collections.abc import Iterable, Sequence

import numpy as np

from marketdata.features import feature_set as fs
from tests.marketdata.features.tapes import Book, Event, Quote, Reset, Trade


def side_arrays(levels: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    prices = np.zeros(fs.N_BOOK_LEVELS, np.int64)
    qtys = np.zeros(fs.N_BOOK_LEVELS)
    for at, (price_e8, qty) in enumerate(levels):
        prices[at], qtys[at] = price_e8, qty
    return prices, qtys


def play_event(state: fs.FeatureState, event: Event, symbol: int | None = None) -> None:
    i = event.symbol if symbol is None else symbol
    match event:
        case Quote(ts_ns, _, bid_e8, bid_qty, ask_e8, ask_qty):
            fs.on_quote(state, i, ts_ns, bid_e8, bid_qty, ask_e8, ask_qty)
        case Book(ts_ns, _, bids, asks):
            fs.on_book(state, i, ts_ns, *side_arrays(bids), *side_arrays(asks), len(bids), len(asks))
        case Trade(ts_ns, _, price_e8, qty, side):
            fs.on_trade(state, i, ts_ns, price_e8, qty, side)
        case Reset(ts_ns, _):
            fs.on_book_reset(state, i, ts_ns)


def play(events: Iterable[Event], capacity: int = 1) -> fs.FeatureState:
    state = fs.new_feature_state(capacity)
    for event in events:
        play_event(state, event)
    return state


def vector_of(state: fs.FeatureState, ts_ns: int, symbol: int = 0) -> np.ndarray:
    out = np.full(fs.N_FEATURES, -777.0)
    fs.write_vector(state, symbol, ts_ns, out)
    return out


def vectors(events: Sequence[Event], times_ns: Sequence[int], symbol: int = 0, capacity: int = 1) -> np.ndarray:
    """Return one row per asked time (ascending): the vector after all events up to and including that time."""
    state = fs.new_feature_state(capacity)
    rows = np.empty((len(times_ns), fs.N_FEATURES))
    at = 0
    for row, ts_ns in enumerate(times_ns):
        while at < len(events) and events[at].ts_ns <= ts_ns:
            play_event(state, events[at])
            at += 1
        rows[row] = vector_of(state, ts_ns, symbol)
    return rows
