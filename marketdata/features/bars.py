"""Features of sources that know bars only (input level "bars"): moves, volume bursts and the market around a coin.

All columns are free of scale and read closed bars only: a row belongs to the moment its bar closed. There are no clock
columns.
"""

import hashlib

import numpy as np
from numba import njit

INPUT_LEVEL = "bars"
BAR_MS = 60_000
MOVES_MIN = (1, 3, 5, 15, 60, 240)
BASE_MIN = 1440
MARKET_MIN = (5, 15, 60)
"""The whole market's mean move and breadth over so many minutes."""

_PER_WINDOW = ("return", "volume", "volatility", "flow", "new_high", "new_low")
_OWN = tuple(f"{name}_{minutes}m" for minutes in MOVES_MIN for name in _PER_WINDOW)
_SLOW = ("body", "upper_wick", "lower_wick", "base_volatility", "base_return", "zero_volume_share_60m")
_MARKET = tuple(f"{name}_{minutes}m" for minutes in MARKET_MIN for name in ("market_return", "market_breadth"))
BAR_FEATURES = (*_OWN, *_SLOW, *_MARKET)
BAR_FEATURES_HASH = hashlib.sha256(repr(("bars 1", BAR_FEATURES, BASE_MIN)).encode()).hexdigest()
N_OWN = len(_OWN) + len(_SLOW)


def bar_features(
    open_: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, volume: np.ndarray
) -> np.ndarray:
    """Return the columns of one coin that need no other coin, one row per bar.

    Parameters
    ----------
    open_, high, low, close, volume : ndarray of float64, shape (n,)
        Bars in time order; windows count bars, so a gap in the data is bridged by its neighbours.

    Returns
    -------
    ndarray of float64, shape (n, N_OWN)
        Row i reads bars up to and including i; NaN until a day of bars is known.
    """
    n = len(close)
    step = np.r_[0.0, np.diff(np.log(close))]
    turnover = close * volume
    flow = turnover * np.divide(2 * close - high - low, high - low, out=np.zeros(n), where=high > low)
    sums = [_running(values) for values in (turnover, flow, step * step, (volume == 0).astype(np.float64))]
    base = _over(sums[0], BASE_MIN) / BASE_MIN
    columns = []
    for minutes in MOVES_MIN:
        turned = _over(sums[0], minutes)
        net = _over(sums[1], minutes, signed=True)
        columns += [
            _move(close, minutes),
            np.log(np.divide(turned, base * minutes, out=np.zeros(n), where=base > 0) + 1e-3),
            np.sqrt(_over(sums[2], minutes)),
            np.clip(np.divide(net, turned, out=np.zeros(n), where=turned > 0), -1.0, 1.0),
            np.log(close / _extreme(high, minutes, 1.0)),
            np.log(close / _extreme(low, minutes, -1.0)),
        ]
    columns += [
        np.log(close / open_),
        np.log(high / np.maximum(open_, close)),
        np.log(np.minimum(open_, close) / low),
        np.sqrt(_over(sums[2], BASE_MIN)),
        _move(close, BASE_MIN),
        _over(sums[3], 60) / 60.0,
    ]
    X = np.column_stack(columns)
    X[: min(n, BASE_MIN)] = np.nan
    return X


def market_features(closes: np.ndarray) -> np.ndarray:
    """Return the market's columns, one row per minute.

    Parameters
    ----------
    closes : ndarray of float64, shape (minutes, coins)
        Closing prices on one grid of minutes; NaN where a coin has no bar.
    """
    columns = []
    for minutes in MARKET_MIN:
        moved = np.full_like(closes, np.nan)
        moved[minutes:] = np.log(closes[minutes:] / closes[:-minutes])
        known = np.isfinite(moved)
        count = known.sum(axis=1)
        total = np.where(known, moved, 0.0).sum(axis=1)
        rising = (np.where(known, moved, 0.0) > 0).sum(axis=1)
        columns += [np.divide(x, count, out=np.full(len(count), np.nan), where=count > 0) for x in (total, rising)]
    return np.column_stack(columns)


def _running(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values)])


def _over(sums: np.ndarray, bars: int, *, signed: bool = False) -> np.ndarray:
    """Return the sum of the last `bars` bars, or of as many as there are."""
    end = np.arange(1, len(sums))
    seen = sums[end] - sums[np.maximum(end - bars, 0)]
    return seen if signed else np.maximum(seen, 0.0)


def _move(close: np.ndarray, bars: int) -> np.ndarray:
    return np.log(close / close[np.maximum(np.arange(len(close)) - bars, 0)])


@njit(cache=True)
def _extreme(values: np.ndarray, bars: int, sign: float) -> np.ndarray:
    """Return the highest (sign 1) or lowest (sign -1) of the last `bars` values."""
    out = np.empty(len(values))
    queue = np.empty(len(values), np.int64)
    head = tail = 0
    for i in range(len(values)):
        while tail > head and sign * values[queue[tail - 1]] <= sign * values[i]:
            tail -= 1
        queue[tail] = i
        tail += 1
        while queue[head] <= i - bars:
            head += 1
        out[i] = values[queue[head]]
    return out
