"""Pressure in the queues: who is joining and who is leaving the bids and asks."""

import numpy as np

from marketdata.features.registry import Feature
from marketdata.features.windows import (
    HALF_LIVES_S,
    LN_2,
    N_HALF_LIVES,
    S1,
    S5,
    S15,
    S60,
    Factors,
    Record,
    add_to_row,
    compiled,
    decay_sums,
    share,
)

LEVELS_5, LEVELS_10 = 0, 1
N_DEPTHS = 2
SHORT_HALF_LIVES = 5
"""A multi-level window needs all its levels: NaN until this many half-lives after an event that lacked one."""

order_flow_dtype = np.dtype([("sums", "f8", (N_HALF_LIVES,))], align=True)

_CKS = "Cont, Kukanov & Stoikov 2014"
_XU = "Xu, Gould & Howison 2018"


def _touch_feature(seconds: int) -> Feature:
    return Feature(
        f"ofi_{seconds}s", "mean touch depths", f"half-life {seconds} s",
        "decayed sum of e / time-weighted (60 s) mean of (bid_qty + ask_qty) / 2; e = CKS increment of the best quotes",
        _CKS, f"Net size that joined the best bid or left the best ask, last {seconds} s.",
        f"最近{seconds}秒在最优价位上净增加的买方力量。", "order_flow",
    )  # fmt: skip


def _depth_feature(levels: int, seconds: int) -> Feature:
    return Feature(
        f"mlofi{levels}_{seconds}s", "mean level depths", f"half-life {seconds} s",
        f"decayed sum over levels 1..{levels} of the CKS increment / {levels} / time-weighted (60 s) mean level size;"
        f" NaN within {SHORT_HALF_LIVES} half-lives of an event with fewer levels",
        _XU, f"Net size that joined the bids or left the asks in {levels} levels, last {seconds} s.",
        f"最近{seconds}秒在前{levels}档上净增加的买方力量。", "order_flow",
    )  # fmt: skip


TOUCH_FLOW_FEATURES = (
    _touch_feature(1),
    _touch_feature(5),
    _touch_feature(15),
    _touch_feature(60),
    Feature(
        "ofi_acceleration", "mean touch depths per s", "half-life 5 s minus 60 s",
        "ln2 * (ofi_5s / 5 - ofi_60s / 60)", _CKS,
        "Is the buying pressure at the best quotes getting stronger?", "最优价位的买方力量是否在加强？", "order_flow",
    ),
)  # fmt: skip
DEPTH_FLOW_FEATURES = (
    _depth_feature(5, 5),
    _depth_feature(5, 15),
    _depth_feature(5, 60),
    _depth_feature(10, 5),
    _depth_feature(10, 15),
    _depth_feature(10, 60),
)


@compiled
def order_flow_increment(
    last_bid: int,
    last_bid_qty: float,
    last_ask: int,
    last_ask_qty: float,
    bid: int,
    bid_qty: float,
    ask: int,
    ask_qty: float,
) -> float:
    """Return e_n of one level: base units, positive when buyers press.

    Parameters
    ----------
    last_bid, last_bid_qty, last_ask, last_ask_qty : the level before the event
    bid, bid_qty, ask, ask_qty : the level after it; prices int64, quantities base units

    References
    ----------
    Cont, Kukanov & Stoikov (2014), "The Price Impact of Order Book Events", J. Financial Econometrics 12(1).
    """
    e = 0.0
    if bid >= last_bid:
        e += bid_qty
    if bid <= last_bid:
        e -= last_bid_qty
    if ask <= last_ask:
        e -= ask_qty
    if ask >= last_ask:
        e += last_ask_qty
    return e


@compiled
def touch_flow_step(
    flow: Record, touch: Record, bid_e8: int, bid_qty: float, ask_e8: int, ask_qty: float, factors: Factors
) -> None:
    """Take one best quote in, before `touch_step` overwrites the quote that it is compared with."""
    decay_sums(flow.sums, factors)
    if touch.has_previous:
        e = order_flow_increment(
            touch.bid_e8, touch.bid_qty, touch.ask_e8, touch.ask_qty, bid_e8, bid_qty, ask_e8, ask_qty
        )
        for k in range(N_HALF_LIVES):
            flow.sums[k] += e


@compiled
def depth_flow_step(
    book: Record, bids_e8: np.ndarray, bid_qtys: np.ndarray, asks_e8: np.ndarray, ask_qtys: np.ndarray, n_levels: int
) -> None:
    """Take one book in, before `book_step` overwrites the levels that it is compared with."""
    e = 0.0
    for level in range(n_levels):
        e += order_flow_increment(
            book.bids_e8[level], book.bid_qtys[level], book.asks_e8[level], book.ask_qtys[level],
            bids_e8[level], bid_qtys[level], asks_e8[level], ask_qtys[level],
        )  # fmt: skip
        if level == 4:
            add_to_row(book.flow, LEVELS_5, e)
    if n_levels >= 10:
        add_to_row(book.flow, LEVELS_10, e)


@compiled
def write_touch_flow(flow: Record, average_depth: float, factors: Factors, out: np.ndarray, at: int) -> None:
    ofi_5 = share(flow.sums[S5] * factors[S5], average_depth)
    ofi_60 = share(flow.sums[S60] * factors[S60], average_depth)
    out[at] = share(flow.sums[S1] * factors[S1], average_depth)
    out[at + 1] = ofi_5
    out[at + 2] = share(flow.sums[S15] * factors[S15], average_depth)
    out[at + 3] = ofi_60
    out[at + 4] = LN_2 * (ofi_5 / 5.0 - ofi_60 / 60.0)


@compiled
def write_depth_flow(
    book: Record, ts_ns: int, factors: Factors, seen_factors: Factors, out: np.ndarray, at: int
) -> None:
    for depth in range(N_DEPTHS):
        levels = 5.0 if depth == LEVELS_5 else 10.0
        size = (book.average_size[depth] * factors[S60] + book.size[depth] * (1.0 - factors[S60])) / (
            1.0 - seen_factors[S60]
        )
        for j, k in enumerate((S5, S15, S60)):
            if book.was_short[depth] and ts_ns - book.short_ns[depth] < SHORT_HALF_LIVES * HALF_LIVES_S[k] * 10**9:
                continue
            out[at + 3 * depth + j] = share(book.flow[depth, k] * factors[k], levels * size)
