"""The published pump detector's inputs: twelve features per chunk of buy trades, made from raw trades alone.

La Morgia et al. cut time into chunks of 5, 15 or 25 seconds, keep the chunks in which somebody bought, and describe
each by how much a rolling statistic over the last chunks moved. The windows count chunks, not seconds: on a thin coin
700 chunks are days, and a row is NaN until its window is full.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

PUMP_FEATURES = (
    "std_rush_order",
    "avg_rush_order",
    "std_trades",
    "std_volume",
    "avg_volume",
    "std_price",
    "avg_price",
    "avg_price_max",
    "hour_sin",
    "hour_cos",
    "minute_sin",
    "minute_cos",
)
WINDOW_CHUNKS = {5: 700, 15: 900, 25: 900}
"""How many non-empty chunks a rolling statistic spans, by chunk length in seconds."""
PRICE_WINDOW_CHUNKS = 10

PAGE_ROWS = 500
PAGE_MS = 3_600_000
STEP_MS = 600_000
"""How the published downloader asks: at most 500 trades within an hour; ten minutes further where nothing is new."""


class PumpChunks(NamedTuple):
    """Chunks with at least one buy trade: start_ms (n,) int64, X (n, 12) float64 in the order of PUMP_FEATURES."""

    start_ms: np.ndarray
    X: np.ndarray


def pump_chunk_features(
    timestamp_ms: np.ndarray, is_buy: np.ndarray, price: np.ndarray, amount: np.ndarray, chunk_seconds: int
) -> PumpChunks:
    """Return the twelve features of every chunk in which somebody bought.

    Parameters
    ----------
    timestamp_ms : ndarray of int64, shape (n,)
        Trade times, not decreasing.
    is_buy : ndarray of bool, shape (n,)
        The taker bought; all other trades are ignored.
    price, amount : ndarray of float64, shape (n,)
        Quote units and base units.
    chunk_seconds : int
        5, 15 or 25; its rolling window is in WINDOW_CHUNKS.

    Returns
    -------
    PumpChunks
        A row reads its own chunk and the chunks before it, so it may be used from start_ms + chunk_seconds on.
        NaN while a window is not full; inf where a statistic rose from zero.

    Raises
    ------
    ValueError
        If the trades are out of order or the chunk length is none of the published ones.

    References
    ----------
    La Morgia, Mei, Sassi & Stefa (2020), "Pump and Dumps in the Bitcoin Era: Real Time Detection of Cryptocurrency
    Market Manipulations", ICCCN; its code, SystemsLab-Sapienza/pump-and-dump-dataset, features.py.
    """
    if chunk_seconds not in WINDOW_CHUNKS:
        known = ", ".join(map(str, WINDOW_CHUNKS))
        raise ValueError(f"Chunks of {chunk_seconds} seconds were never published: use one of {known}.")
    if len(timestamp_ms) and np.any(np.diff(timestamp_ms) < 0):
        raise ValueError("The trades are out of order: sort them by time first.")
    times, prices = timestamp_ms[is_buy], price[is_buy]
    if not len(times):
        return PumpChunks(np.zeros(0, np.int64), np.zeros((0, len(PUMP_FEATURES))))
    chunk = times // (1000 * chunk_seconds)
    first = np.flatnonzero(np.r_[True, chunk[1:] != chunk[:-1]])
    trades = np.diff(np.r_[first, len(times)]).astype(np.float64)
    volume = np.add.reduceat(prices * amount[is_buy], first)
    rush = _rush_orders(times, first)
    start_ms = chunk[first] * (1000 * chunk_seconds)
    window = WINDOW_CHUNKS[chunk_seconds]
    columns = (
        relative_change(rolling_std(rush, window)),
        relative_change(rolling_mean(rush, window)),
        relative_change(rolling_std(trades, window)),
        relative_change(rolling_std(volume, window)),
        relative_change(rolling_mean(volume, window)),
        relative_change(rolling_std(np.add.reduceat(prices, first) / trades, window)),
        relative_change(rolling_mean(np.add.reduceat(prices, first) / trades, PRICE_WINDOW_CHUNKS)),
        relative_change(rolling_mean(np.maximum.reduceat(prices, first), PRICE_WINDOW_CHUNKS)),
        *_clock_columns(start_ms),
    )
    return PumpChunks(start_ms, np.column_stack(columns))


def _rush_orders(times: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Count, per chunk, the milliseconds with two buys or more: one order that ate through several makers."""
    again = np.r_[False, times[1:] == times[:-1]]
    second = again & ~np.r_[False, again[:-1]]
    return np.add.reduceat(second.astype(np.float64), first)


def _clock_columns(start_ms: np.ndarray) -> tuple[np.ndarray, ...]:
    """Hours turn in 23 and minutes in 59, as published: hour 23 and hour 0 fall together."""
    hour = 2.0 * np.pi * (start_ms // 3_600_000 % 24) / 23.0
    minute = 2.0 * np.pi * (start_ms // 60_000 % 60) / 59.0
    return np.sin(hour), np.cos(hour), np.sin(minute), np.cos(minute)


def relative_change(values: np.ndarray) -> np.ndarray:
    """Return values[i] / values[i-1] - 1; NaN first."""
    change = np.full(len(values), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        change[1:] = values[1:] / values[:-1] - 1.0
    return change


def rolling_mean(values: np.ndarray, window: int) -> np.ndarray:
    return _rolling(values, window)[0]


def rolling_std(values: np.ndarray, window: int) -> np.ndarray:
    """Return the standard deviation (n - 1) of the last `window` values; NaN until there are so many."""
    return np.sqrt(_rolling(values, window)[1] / (window - 1))


@njit(cache=True)
def _rolling(values: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and sum of squared deviations of each full window.

    Slides by adding and removing, and starts afresh once per window so that rounding cannot pile up. A window of
    equal values is told by counting them: it must read exactly 0, as a ratio is taken of it.
    """
    means = np.full(len(values), np.nan)
    squares = np.full(len(values), np.nan)
    mean = square = 0.0
    equal = 0
    for i in range(len(values)):
        equal = equal + 1 if i > 0 and values[i] == values[i - 1] else 1
        if i < window - 1:
            continue
        if i % window == window - 1:
            mean = square = 0.0
            for k in range(i - window + 1, i + 1):
                step = values[k] - mean
                mean += step / (k - i + window)
                square += step * (values[k] - mean)
        else:
            old, new = values[i - window], values[i]
            moved = mean + (new - old) / window
            square += (new - old) * (new - moved + old - mean)
            mean = moved
        means[i] = values[i] if equal >= window else mean
        squares[i] = 0.0 if equal >= window else max(square, 0.0)
    return means, squares


def page_repeats(
    timestamp_ms: np.ndarray,
    is_buy: np.ndarray,
    price: np.ndarray,
    amount: np.ndarray,
    *,
    start_ms: int,
    page_rows: int = PAGE_ROWS,
) -> np.ndarray:
    """Return which trades were recorded twice because a page of the download began where the one before ended.

    The published downloader asks for the trades since the newest one it has, and so gets that one again. Which rows
    these are follows from the page rules; dropping every trade that looks like another would also drop real fills of
    equal size within one millisecond, which are what a pump is made of.

    Parameters
    ----------
    timestamp_ms, is_buy, price, amount : ndarrays of shape (n,)
        The recording in its own order.
    start_ms : int
        The moment from which it was asked for.

    Returns
    -------
    ndarray of bool, shape (n,)
        The second recording of each trade; the page that ends the recording is taken to be the last one asked for.
    """
    rows = np.column_stack([timestamp_ms.astype(np.float64), is_buy, price, amount])
    repeated = np.zeros(len(rows), bool)
    begin, since = 0, start_ms
    while begin < len(rows):
        inside = int(np.searchsorted(timestamp_ms, since + PAGE_MS, side="right"))
        if inside <= begin:
            since += STEP_MS
            continue
        end, count = _page_end(rows, begin, inside, since, page_rows)
        repeated[end : end + count] = True
        newest = int(timestamp_ms[end - 1])
        since = newest if newest != since else since + STEP_MS
        begin = end
    return repeated


def _page_end(rows: np.ndarray, begin: int, inside: int, since: int, page_rows: int) -> tuple[int, int]:
    """Return where the page that starts at `begin` ends, and how many rows the next page repeats.

    A page is full, or it holds all trades of its hour: then the rows of the hour end with the newest millisecond
    twice, once from each page. A page of a single millisecond that was asked for before repeats nothing.
    """
    full = begin + page_rows
    if full <= inside and (count := _repeats_at(rows, begin, full)):
        return full, count
    newest = rows[inside - 1, 0]
    if newest == since or inside == len(rows):
        return min(inside, full), 0
    run = int(np.searchsorted(rows[:, 0], newest, side="left"))
    end = max(run, begin) + (inside - max(run, begin)) // 2
    return (end, count) if end > begin and (count := _repeats_at(rows, begin, end)) else (min(inside, full), 0)


def _repeats_at(rows: np.ndarray, begin: int, end: int) -> int:
    """Return how many rows before `end` share the newest millisecond of the page, if the next page starts with them."""
    if end >= len(rows):
        return 0
    run = max(begin, int(np.searchsorted(rows[:, 0], rows[end - 1, 0], side="left")))
    count = end - run
    return count if np.array_equal(rows[end : end + count], rows[run:end]) else 0
