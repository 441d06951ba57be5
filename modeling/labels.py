"""Triple-barrier labels: what would have become of an entry. They look ahead, so no feature may import this room."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from marketdata.events import NS_PER_S


class Outcome(IntEnum):
    NONE = 0  # never entered, or not resolved before the data ended or broke: not a training row
    TAKE_PROFIT = 1
    STOP_LOSS = 2
    TIME_OUT = 3


@dataclass(frozen=True)
class Barriers:
    """The bet a label describes: buy, then leave at the gain, at the loss, or when the time is over."""

    take_profit_bps: float = 60.0
    stop_loss_bps: float = 40.0
    horizon_ns: int = 60 * NS_PER_S
    entry_latency_ns: int = 100_000_000

    def __post_init__(self) -> None:
        if not (self.take_profit_bps > 0 and self.stop_loss_bps > 0 and self.horizon_ns > 0):
            raise ValueError("Barriers need a take profit, a stop loss and a horizon above zero.")
        if self.entry_latency_ns < 0:
            raise ValueError("The entry latency of the barriers must not be negative.")


class BarrierLabels(NamedTuple):
    """One entry per decision; fields are NaN, and times -1, where the outcome is NONE."""

    outcome: np.ndarray  # int8, see Outcome
    entry_ns: np.ndarray  # int64, when the ask was bought
    touch_ns: np.ndarray  # int64, when the position ended
    ret_bps: np.ndarray  # float64, bought at the ask and sold at the bid
    mfe_bps: np.ndarray  # float64, best return on the way
    mae_bps: np.ndarray  # float64, worst return on the way


_NONE, _TAKE_PROFIT, _STOP_LOSS, _TIME_OUT = 0, 1, 2, 3


@njit(cache=True)
def _entry_row(ts_ns: np.ndarray, bid: np.ndarray, ask: np.ndarray, earliest_ns: int, latest_ns: int) -> int:
    row = int(np.searchsorted(ts_ns, earliest_ns))
    while row < len(ts_ns) and ts_ns[row] <= latest_ns:
        if bid[row] > 0 and ask[row] > 0 and ask[row] >= bid[row]:
            return row
        row += 1
    return -1


@njit(cache=True)
def _follow(
    ts_ns: np.ndarray,
    bid: np.ndarray,
    row: int,
    entry_price: float,
    take_profit_bps: float,
    stop_loss_bps: float,
    deadline_ns: int,
) -> tuple[int, int, float, float, float]:
    # Touches compare gain * 10000 with bps * price: exact for integer prices, so a touch "on the dot" counts.
    best = -np.inf
    worst = np.inf
    ret_bps = np.nan
    while row < len(ts_ns) and ts_ns[row] <= deadline_ns:
        if not bid[row] > 0:
            return _NONE, -1, np.nan, np.nan, np.nan
        gain = (bid[row] - entry_price) * 10_000
        ret_bps = gain / entry_price
        best = max(best, ret_bps)
        worst = min(worst, ret_bps)
        if gain <= -stop_loss_bps * entry_price:
            return _STOP_LOSS, ts_ns[row], ret_bps, best, worst
        if gain >= take_profit_bps * entry_price:
            return _TAKE_PROFIT, ts_ns[row], ret_bps, best, worst
        row += 1
    if row == len(ts_ns) and ts_ns[row - 1] < deadline_ns:
        return _NONE, -1, np.nan, np.nan, np.nan
    return _TIME_OUT, deadline_ns, ret_bps, best, worst


@njit(cache=True)
def _triple_barrier(
    ts_ns: np.ndarray,
    bid: np.ndarray,
    ask: np.ndarray,
    decision_ns: np.ndarray,
    take_profit_bps: np.ndarray,
    stop_loss_bps: np.ndarray,
    horizon_ns: int,
    entry_latency_ns: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(decision_ns)
    outcome = np.zeros(n, np.int8)
    times = np.full((2, n), -1, np.int64)
    returns = np.full((3, n), np.nan)
    for i in range(n):
        earliest = decision_ns[i] + max(entry_latency_ns, 1)
        row = _entry_row(ts_ns, bid, ask, earliest, earliest + horizon_ns)
        if row < 0:
            continue
        found, touch, ret, best, worst = _follow(
            ts_ns, bid, row, ask[row], take_profit_bps[i], stop_loss_bps[i], ts_ns[row] + horizon_ns
        )
        outcome[i] = found
        if found != _NONE:
            times[0, i], times[1, i] = ts_ns[row], touch
            returns[0, i], returns[1, i], returns[2, i] = ret, best, worst
    return outcome, times, returns


def triple_barrier(
    ts_ns: np.ndarray,
    bid: np.ndarray,
    ask: np.ndarray,
    decision_ns: np.ndarray,
    *,
    take_profit_bps: float | np.ndarray,
    stop_loss_bps: float | np.ndarray,
    horizon_ns: int,
    entry_latency_ns: int,
) -> BarrierLabels:
    """Label each decision by the barrier that its long entry touches first.

    The entry buys the first ask strictly after the decision and not before decision + latency. The position
    is marked at the bid. A touch is >= or <=; when one row touches both, the stop wins. The vertical barrier
    is wall-clock time: entry + horizon, at the bid in force then. A row without a bid before the end, or data
    that end earlier, leave the outcome NONE: unknown is not "no surge".

    Parameters
    ----------
    ts_ns : ndarray of int64, shape (n,)
        Quote times of one symbol, non-decreasing.
    bid, ask : ndarray, shape (n,)
        Executable prices; int64 `price_e8` makes touches exact. Zero, negative or NaN = no quote.
    decision_ns : ndarray of int64, shape (m,)
        When each decision was made; any order.
    take_profit_bps, stop_loss_bps : float or ndarray of shape (m,)
        Distances from the entry price, both positive; per row for volatility-scaled barriers.
    horizon_ns, entry_latency_ns : int
        Length of life after entry; delay between decision and entry.

    Returns
    -------
    BarrierLabels

    Raises
    ------
    ValueError
        If times run backwards, lengths differ, or a barrier is not positive.

    Examples
    --------
    >>> ts = np.array([0, 1, 2, 3])
    >>> bid = np.array([9990, 10000, 10030, 10070])
    >>> labels = triple_barrier(ts, bid, bid + 10, np.array([0]), take_profit_bps=50, stop_loss_bps=50,
    ...                         horizon_ns=10, entry_latency_ns=0)
    >>> labels.outcome.tolist(), labels.entry_ns.tolist(), labels.touch_ns.tolist()
    ([1], [1], [3])

    References
    ----------
    Lopez de Prado (2018), "Advances in Financial Machine Learning", chapter 3.
    """
    ts_ns = np.ascontiguousarray(ts_ns, np.int64)
    decision_ns = np.ascontiguousarray(decision_ns, np.int64)
    bid, ask = np.ascontiguousarray(bid), np.ascontiguousarray(ask)
    take_profit = np.array(np.broadcast_to(np.asarray(take_profit_bps, np.float64), decision_ns.shape))
    stop_loss = np.array(np.broadcast_to(np.asarray(stop_loss_bps, np.float64), decision_ns.shape))
    _check_quotes(ts_ns, bid, ask)
    if not (np.all(take_profit > 0) and np.all(stop_loss > 0) and horizon_ns > 0 and entry_latency_ns >= 0):
        raise ValueError("Barriers and horizon must be above zero, and the latency must not be negative.")
    outcome, times, returns = _triple_barrier(
        ts_ns, bid, ask, decision_ns, take_profit, stop_loss, horizon_ns, entry_latency_ns
    )
    return BarrierLabels(outcome, times[0], times[1], returns[0], returns[1], returns[2])


def _check_quotes(ts_ns: np.ndarray, bid: np.ndarray, ask: np.ndarray) -> None:
    if not len(ts_ns) == len(bid) == len(ask):
        raise ValueError(f"Quote arrays differ in length: {len(ts_ns)} times, {len(bid)} bids, {len(ask)} asks.")
    if np.any(ts_ns[1:] < ts_ns[:-1]):
        raise ValueError("Quote times run backwards: sort the rows of each symbol by time before labelling.")
