"""The one shape of a market event: what parsers write and what books, features and backtests read.

A batch of events is two arrays. `event_dtype` has one row per exchange message; price levels (many per
depth message) lie in `level_dtype`, and a row points at its slice: the bids first, then the asks.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np

PRICE_SCALE = 100_000_000
"""Prices are int64 counts of 1e-8 quote units (`price_e8`): exact for every Binance price string."""

NS_PER_S = 1_000_000_000


class Market(StrEnum):
    SPOT = "spot"
    USDM = "usdm"


class EventKind(IntEnum):
    DEPTH_DIFF = 1
    DEPTH_SNAPSHOT = 2
    TRADE = 3
    AGG_TRADE = 4
    BOOK_TICKER = 5
    MARK_PRICE = 6
    TICK = 7  # an idle tick: time passes, nothing else
    DISCONNECT = 8
    IGNORED = 9  # a known stream that nothing here reads yet (klines, tickers ...)


class Side(IntEnum):
    SELL = -1
    NONE = 0
    BUY = 1


event_dtype = np.dtype(
    [
        ("kind", "u1"),
        ("side", "i1"),  # the taker's side for trades, else 0
        ("symbol", "i4"),  # index into the session's symbol table; -1 when the event has no symbol
        ("recv_ns", "i8"),  # local receive time
        ("event_ns", "i8"),  # exchange event time E; 0 when the message has none
        ("exchange_ns", "i8"),  # matching-engine time T; 0 when the message has none
        ("first_id", "i8"),  # U, or the first trade id
        ("last_id", "i8"),  # u, lastUpdateId, or the (aggregate) trade id
        ("prev_id", "i8"),  # pu; -1 on spot
        ("first_level", "i8"),  # where this event's levels begin
        ("n_bids", "i4"),
        ("n_asks", "i4"),
        ("price_e8", "i8"),  # trade price, or mark price
        ("qty", "f8"),  # trade quantity in base units, or the funding rate of a mark price
    ],
    align=True,
)

level_dtype = np.dtype([("price_e8", "i8"), ("qty", "f8")])


class EventBatch(NamedTuple):
    """Events in receive order together with the levels they point at."""

    events: np.ndarray
    levels: np.ndarray
