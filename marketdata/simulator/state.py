"""Everything the simulated exchange knows about one symbol, as flat rows that compiled code can walk.

`traits_dtype` never changes after the start; `state_dtype` is the whole memory of a symbol, random generator included.
Prices inside are positions in the symbol's window of ticks; `base_tick` turns a position into ticks.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

STEP_NS = 100_000_000
"""Depth diffs leave, and fair values move, ten times a second."""

MAX_DIRTY = 1024
"""Levels that one diff can carry."""

MAX_NAME = 64

Traits: TypeAlias = Any
State: TypeAlias = Any
"""One row of the arrays below: compiled code uses its fields as attributes, which numpy's types do not know."""

traits_dtype = np.dtype(
    [
        ("futures", "u1"),
        ("offset", "i8"),  # where this symbol's window begins in the shared level arrays
        ("width", "i8"),
        ("base_tick", "i8"),
        ("tick_mantissa", "i8"),  # price = ticks * mantissa / 10**price_decimals
        ("price_decimals", "i8"),
        ("price_digits", "i8"),  # decimals printed: 8 on spot
        ("lot_mantissa", "i8"),
        ("lot_decimals", "i8"),
        ("lot_digits", "i8"),
        ("anchor", "f8"),  # position of the long-run price
        ("tick_bps", "f8"),
        ("pitch", "i8"),
        ("level_lots", "f8"),  # a typical level at the touch
        ("half_ticks", "f8"),
        ("quote_rate", "f8"),
        ("taker_rate", "f8"),
        ("volatility", "f8"),
        ("beta", "f8"),
        ("start_ns", "i8"),  # when step 0 ends; differs between symbols so that their diffs do not leave together
        ("id_stride", "i8"),  # futures number all symbols' updates together, so one symbol sees gaps
        ("name_length", "i8"),
        ("name", "u1", (MAX_NAME,)),
    ],
    align=True,
)

state_dtype = np.dtype(
    [
        ("rng", "u8"),
        ("now_ns", "i8"),
        ("next_ns", "i8"),  # the next agent's turn
        ("step", "i8"),
        ("best_bid", "i8"),
        ("best_ask", "i8"),
        ("shown_bid", "i8"),  # what the last bookTicker said
        ("shown_ask", "i8"),
        ("shown_bid_lots", "i8"),
        ("shown_ask_lots", "i8"),
        ("update_id", "i8"),
        ("first_id", "i8"),  # first change since the last diff; 0 when there is none
        ("sent_id", "i8"),  # u of the last diff
        ("change_ns", "i8"),
        ("n_dirty", "i8"),
        ("trade_id", "i8"),
        ("agg_id", "i8"),
        ("agg_side", "i8"),  # a futures aggTrade still open; 0 = none
        ("agg_price", "i8"),
        ("agg_lots", "i8"),
        ("agg_first", "i8"),
        ("agg_ns", "i8"),
        ("fair", "f8"),  # position in ticks, with a fraction
        ("fast_bps", "f8"),  # noise that returns within a minute or so
        ("slow_bps", "f8"),  # noise that returns within the hour
        ("activity", "f8"),  # log of how busy this symbol is
        ("lean", "f8"),  # which side the takers lean to
        ("quote_rate", "f8"),
        ("buy_rate", "f8"),
        ("sell_rate", "f8"),
        ("bid_depth", "f8"),  # multiples of the usual depth
        ("ask_depth", "f8"),
        ("episode", "i8"),  # the planted episode that is running or comes next
        ("funding", "f8"),
    ],
    align=True,
)


class Books(NamedTuple):
    """Level arrays of all symbols, one window behind the other. Lots: > 0 a bid, < 0 an ask."""

    levels: np.ndarray
    sent: np.ndarray
    """The levels as the diffs so far have told them: the oracle a client is compared with."""
    marks: np.ndarray
    dirty: np.ndarray


class Outbox(NamedTuple):
    """Messages written by compiled code: their bytes in `text`, and one row for each."""

    text: np.ndarray
    ts_ns: np.ndarray
    symbol: np.ndarray
    kind: np.ndarray
    start: np.ndarray
    used: np.ndarray
    """(messages, bytes)"""


def new_books(total_width: int, symbols: int) -> Books:
    return Books(
        levels=np.zeros(total_width, np.int64),
        sent=np.zeros(total_width, np.int64),
        marks=np.zeros(total_width, np.uint8),
        dirty=np.zeros((symbols, MAX_DIRTY), np.int64),
    )


def new_outbox(messages: int, text_bytes: int) -> Outbox:
    return Outbox(
        text=np.zeros(text_bytes, np.uint8),
        ts_ns=np.zeros(messages, np.int64),
        symbol=np.zeros(messages, np.int32),
        kind=np.zeros(messages, np.int32),
        start=np.zeros(messages, np.int64),
        used=np.zeros(2, np.int64),
    )
