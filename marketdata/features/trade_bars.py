"""Features of sources that know trades only (input level "trades"): bursts, flow and moves at given moments.

All columns are free of scale: volumes and counts are read against the coin's own last six hours, so one model fits
coins of any price and turnover. There are no clock columns: pumps are announced on the hour, and a model that learns
the hour has learnt the announcement.
"""

import hashlib
import math

import numpy as np
from numba import njit

INPUT_LEVEL = "trades"
WINDOWS_S = (5, 15, 60, 300, 1800)
HALF_LIVES_S = (5.0, 30.0, 300.0)
BASE_S = 6 * 3600
"""What is normal for a coin is what it did in these seconds."""
FLOOR = 1e-3
"""Ratios to the normal rate get this much added before the logarithm, so silence is a number."""

_PER_WINDOW = (
    "volume", "buy_volume", "trades", "rush_orders", "imbalance", "return", "volatility", "impact", "illiquidity",
    "new_high",
)  # fmt: skip
TRADE_FEATURES = (
    *(f"{name}_{window}s" for window in WINDOWS_S for name in _PER_WINDOW),
    *(f"{name}_decay_{half:g}s" for half in HALF_LIVES_S for name in ("buys", "sells", "buy_volume")),
    "silence_s",
    "tick_bps",
    "base_trades_per_min",
    "base_volatility",
    "base_return",
)
TRADE_FEATURES_HASH = hashlib.sha256(repr(("trade bars 1", TRADE_FEATURES, BASE_S, FLOOR)).encode()).hexdigest()


def busy_bar_ends(timestamp_ms: np.ndarray, bar_ms: int) -> np.ndarray:
    """Return the end of each bar in which somebody traded: when a decision could be made on it."""
    return (np.unique(timestamp_ms // bar_ms) + 1) * bar_ms


def trade_features(
    timestamp_ms: np.ndarray, is_buy: np.ndarray, price: np.ndarray, volume: np.ndarray, at_ms: np.ndarray
) -> np.ndarray:
    """Return the columns of TRADE_FEATURES at each moment, from the trades strictly before it.

    Parameters
    ----------
    timestamp_ms : ndarray of int64, shape (n,)
        Trade times of one coin, not decreasing.
    is_buy : ndarray of bool, shape (n,)
        The taker bought.
    price, volume : ndarray of float64, shape (n,)
        Volume in quote units.
    at_ms : ndarray of int64, shape (m,)
        Decision times.

    Returns
    -------
    ndarray of float64, shape (m, len(TRADE_FEATURES))
        NaN until six hours of trades are known; volume ratios are NaN where the coin did not trade in them.
    """
    if np.any(np.diff(timestamp_ms) < 0):
        raise ValueError("The trades are out of order: sort them by time first.")
    if not len(timestamp_ms):
        return np.full((len(at_ms), len(TRADE_FEATURES)), np.nan)
    tape = _Tape(timestamp_ms, is_buy, price, volume, at_ms)
    columns = [column for window in WINDOWS_S for column in tape.window(window)]
    columns += [column for half in HALF_LIVES_S for column in tape.decayed(half)]
    X = np.column_stack(columns + tape.slow())
    X[~tape.warm] = np.nan
    return X


class _Tape:
    """Running sums of one tape; a window is the difference of two of them, so a row costs the same in any window."""

    def __init__(
        self, ts: np.ndarray, is_buy: np.ndarray, price: np.ndarray, volume: np.ndarray, at_ms: np.ndarray
    ) -> None:
        self._ts, self._at = np.ascontiguousarray(ts, np.int64), np.ascontiguousarray(at_ms, np.int64)
        self._buy, self._price, self._volume = is_buy.astype(np.float64), price, volume
        self._end = np.searchsorted(self._ts, self._at)  # trades strictly before the decision
        self.warm = self._at - self._ts[0] >= BASE_S * 1000
        self._last = np.maximum(self._end - 1, 0)
        rush = np.r_[False, (np.diff(self._ts) == 0) & is_buy[1:] & is_buy[:-1]].astype(np.float64)
        step = np.r_[0.0, np.diff(np.log(price))]
        self._sums = {
            "volume": _running(volume),
            "buy_volume": _running(volume * self._buy),
            "trades": np.arange(len(ts) + 1, dtype=np.float64),
            "rush_orders": _running(rush),
        }
        self._squares = _running(step * step)
        start = self._start(BASE_S)
        self._base = {name: self._over(sums, start) / BASE_S for name, sums in self._sums.items()}

    def _start(self, seconds: float) -> np.ndarray:
        return np.searchsorted(self._ts, self._at - round(seconds * 1000))

    def _over(self, sums: np.ndarray, start: np.ndarray) -> np.ndarray:
        return np.maximum(sums[self._end] - sums[start], 0.0)

    def _log_return(self, start: np.ndarray) -> np.ndarray:
        return np.log(self._price[self._last] / self._price[np.maximum(start - 1, 0)])

    def window(self, seconds: int) -> list[np.ndarray]:
        start = self._start(seconds)
        seen = {name: self._over(sums, start) for name, sums in self._sums.items()}
        usual = {name: np.where(base > 0, base * seconds, np.nan) for name, base in self._base.items()}
        moved = self._log_return(start)
        net = 2.0 * seen["buy_volume"] - seen["volume"]
        with np.errstate(divide="ignore", invalid="ignore"):
            flow = np.where(seen["volume"] > 0, net / seen["volume"], 0.0)
        highest = _highest(self._price, start, self._end)
        return [
            *(np.log(seen[name] / usual[name] + FLOOR) for name in ("volume", "buy_volume", "trades")),
            np.log((seen["rush_orders"] + 0.1) / (self._base["rush_orders"] * seconds + 0.1)),
            np.clip(flow, -1.0, 1.0),
            moved,
            np.sqrt(self._over(self._squares, start)),
            moved / (np.abs(net) / usual["volume"] + 0.1),
            np.abs(moved) / (seen["volume"] / usual["volume"] + 0.1),
            np.log(self._price[self._last] / highest),
        ]

    def decayed(self, half_life_s: float) -> list[np.ndarray]:
        sums = (
            _decayed_sum(self._ts, x, self._at, half_life_s)
            for x in (self._buy, 1.0 - self._buy, self._volume * self._buy)
        )
        buys, sells, bought = sums
        usual = self._base["buy_volume"] * half_life_s / math.log(2.0)
        return [np.log1p(buys), np.log1p(sells), np.log(bought / np.where(usual > 0, usual, np.nan) + FLOOR)]

    def slow(self) -> list[np.ndarray]:
        start = self._start(BASE_S)
        return [
            (self._at - self._ts[self._last]) / 1000.0,
            1e4 * _smallest_step(self._price)[self._last] / self._price[self._last],
            np.log(60.0 * self._base["trades"] + FLOOR),
            np.sqrt(self._over(self._squares, start)),
            self._log_return(start),
        ]


def _running(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values)])


@njit(cache=True)
def _decayed_sum(ts: np.ndarray, x: np.ndarray, at: np.ndarray, half_life_s: float) -> np.ndarray:
    """Return at each moment the sum of earlier values, each halved once per half-life since."""
    out = np.zeros(len(at))
    rate = math.log(2.0) / (half_life_s * 1000.0)
    value, k = 0.0, 0
    for i in range(len(at)):
        while k < len(ts) and ts[k] < at[i]:
            value = x[k] + (value * math.exp(-rate * (ts[k] - ts[k - 1])) if k > 0 else 0.0)
            k += 1
        if k > 0:
            out[i] = value * math.exp(-rate * (at[i] - ts[k - 1]))
    return out


@njit(cache=True)
def _highest(price: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the highest price of each window and of the trade before it; windows only move forward."""
    out = np.full(len(end), np.nan)
    queue = np.empty(len(price), np.int64)  # trades with falling prices; the first is the highest
    head = tail = added = 0
    for i in range(len(end)):
        while added < end[i]:
            while tail > head and price[queue[tail - 1]] <= price[added]:
                tail -= 1
            queue[tail] = added
            tail += 1
            added += 1
        while head < tail and queue[head] < start[i] - 1:
            head += 1
        if tail > head:
            out[i] = price[queue[head]]
    return out


@njit(cache=True)
def _smallest_step(price: np.ndarray) -> np.ndarray:
    """Return the smallest price change seen so far at each trade: the tick, as far as the past tells it."""
    out = np.full(len(price), np.nan)
    least = np.inf
    for i in range(1, len(price)):
        step = abs(price[i] - price[i - 1])
        if 0.0 < step < least:
            least = step
        out[i] = least if least < np.inf else np.nan
    return out
