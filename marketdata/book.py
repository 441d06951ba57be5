"""Limit order books of many symbols in flat arrays, kept by compiled steps; best price at the end.

Bids are stored by price and asks by minus price, so both sides are ascending, the best level is the last one,
and one code path serves both: most changes happen near the touch, hence near the end, where they are cheap.
"""

from typing import NamedTuple, Self

import numpy as np
from numba import njit

from marketdata.events import PRICE_SCALE, level_dtype

BID, ASK = 0, 1
BPS = 10_000.0


class BookState(NamedTuple):
    """Books of `n` symbols. Arrays: key (n, 2, cap) int64, qty (n, 2, cap) float64 base units, size (n, 2) int64,
    dropped (n, 2) int64 far levels given up because a side was full."""

    key: np.ndarray
    qty: np.ndarray
    size: np.ndarray
    dropped: np.ndarray


def new_book_state(n_symbols: int, max_levels: int = 8192) -> BookState:
    """Return empty books. Pages of memory are only taken for levels that are really used."""
    return BookState(
        key=np.zeros((n_symbols, 2, max_levels), np.int64),
        qty=np.zeros((n_symbols, 2, max_levels), np.float64),
        size=np.zeros((n_symbols, 2), np.int64),
        dropped=np.zeros((n_symbols, 2), np.int64),
    )


@njit(cache=True)
def clear_book(book: BookState, i: int) -> None:
    """Empty both sides of book `i`."""
    book.size[i, 0] = 0
    book.size[i, 1] = 0
    book.dropped[i, 0] = 0
    book.dropped[i, 1] = 0


@njit(cache=True)
def set_level(book: BookState, i: int, side: int, price_e8: int, qty: float) -> None:
    """Set the absolute quantity at a price; 0 removes the level, and removing an unknown level is normal."""
    keys = book.key[i, side]
    qtys = book.qty[i, side]
    n = book.size[i, side]
    key = price_e8 if side == 0 else -price_e8
    at = n
    steps = 0
    while at > 0 and keys[at - 1] > key and steps < 16:
        at -= 1
        steps += 1
    if at > 0 and keys[at - 1] > key:  # far from the touch: search by halves
        low = 0
        while low < at:
            middle = (low + at) >> 1
            if keys[middle] > key:
                at = middle
            else:
                low = middle + 1
    if at > 0 and keys[at - 1] == key:
        if qty > 0.0:
            qtys[at - 1] = qty
            return
        for j in range(at, n):
            keys[j - 1] = keys[j]
            qtys[j - 1] = qtys[j]
        book.size[i, side] = n - 1
        return
    if qty <= 0.0:
        return
    if n == keys.shape[0]:
        cut = n // 4
        book.dropped[i, side] += cut
        for j in range(cut, n):
            keys[j - cut] = keys[j]
            qtys[j - cut] = qtys[j]
        n -= cut
        at -= cut
        if at < 0:  # farther away than all that was kept
            book.size[i, side] = n
            return
    for j in range(n, at, -1):
        keys[j] = keys[j - 1]
        qtys[j] = qtys[j - 1]
    keys[at] = key
    qtys[at] = qty
    book.size[i, side] = n + 1


@njit(cache=True)
def apply_levels(
    book: BookState, i: int, prices_e8: np.ndarray, qtys: np.ndarray, first: int, n_bids: int, n_asks: int
) -> None:
    """Apply one depth message: `n_bids` bid levels from `first`, then `n_asks` ask levels."""
    for j in range(first, first + n_bids):
        set_level(book, i, 0, prices_e8[j], qtys[j])
    for j in range(first + n_bids, first + n_bids + n_asks):
        set_level(book, i, 1, prices_e8[j], qtys[j])


@njit(cache=True)
def best_price(book: BookState, i: int, side: int) -> int:
    """Return the best price in 1e-8 quote units, or 0 when the side is empty."""
    n = book.size[i, side]
    if n == 0:
        return 0
    key = int(book.key[i, side, n - 1])
    return key if side == 0 else -key


@njit(cache=True)
def best_qty(book: BookState, i: int, side: int) -> float:
    """Return the quantity at the best price in base units, or 0.0 when the side is empty."""
    n = book.size[i, side]
    return float(book.qty[i, side, n - 1]) if n > 0 else 0.0


@njit(cache=True)
def is_crossed(book: BookState, i: int) -> bool:
    """Tell whether both sides have a level and the best bid is not below the best ask."""
    bid, ask = best_price(book, i, 0), best_price(book, i, 1)
    return bid > 0 and ask > 0 and bid >= ask


@njit(cache=True)
def top_levels(book: BookState, i: int, side: int, prices_e8: np.ndarray, qtys: np.ndarray) -> int:
    """Write the best levels, best first, into the given arrays; return how many were written."""
    n = book.size[i, side]
    count = int(min(n, prices_e8.shape[0]))
    for k in range(count):
        key = book.key[i, side, n - 1 - k]
        prices_e8[k] = key if side == 0 else -key
        qtys[k] = book.qty[i, side, n - 1 - k]
    return count


@njit(cache=True)
def depth_within_bps(book: BookState, i: int, side: int, bps: float) -> float:
    """Return the quote value resting within `bps` of the side's best price (inclusive)."""
    n = book.size[i, side]
    if n == 0:
        return 0.0
    best = best_price(book, i, side)
    reach = best * (bps / BPS)
    total = 0.0
    for j in range(n - 1, -1, -1):
        price = abs(book.key[i, side, j])
        if abs(price - best) > reach:
            break
        total += price * book.qty[i, side, j]
    return float(total / PRICE_SCALE)


@njit(cache=True)
def walk_slippage_bps(book: BookState, i: int, side: int, notional_quote: float) -> float:
    """Return how much worse than the best price an order of this size fills on average.

    Parameters
    ----------
    side : int
        The side that is consumed: 1 (asks) for a buy, 0 (bids) for a sell.
    notional_quote : float
        Order size in quote units.

    Returns
    -------
    float
        Basis points of the mid price, >= 0; NaN when the book holds less than the size or a side is empty.
    """
    n = book.size[i, side]
    if n == 0 or book.size[i, 1 - side] == 0:
        return np.nan
    best = best_price(book, i, side) / PRICE_SCALE
    mid = 0.5 * (best + best_price(book, i, 1 - side) / PRICE_SCALE)
    left = notional_quote
    base = 0.0
    lost = 0.0  # quote units paid beyond the best price
    for j in range(n - 1, -1, -1):
        price = abs(book.key[i, side, j]) / PRICE_SCALE
        qty = book.qty[i, side, j]
        taken = left / price if price * qty >= left else qty
        base += taken
        lost += taken * abs(price - best)
        left -= taken * price
        if taken < qty or left <= 0.0:
            return float(lost / base / mid * BPS)
    return np.nan


class OrderBook:
    """One book behind a small readable face; the live loop calls the compiled steps directly.

    Examples
    --------
    >>> book = OrderBook()
    >>> _ = book.set("bid", 100.0, 2.0).set("ask", 101.0, 3.0)
    >>> book.best_bid, book.best_ask
    (100.0, 101.0)
    """

    def __init__(self, state: BookState | None = None, index: int = 0, *, max_levels: int = 8192) -> None:
        self._state = new_book_state(1, max_levels) if state is None else state
        self._index = index

    def set(self, side: str, price: float, qty: float) -> Self:
        set_level(self._state, self._index, BID if side == "bid" else ASK, round(price * PRICE_SCALE), qty)
        return self

    def apply(self, event: np.void, levels: np.ndarray) -> None:
        """Apply the levels of one depth event (no sequence check: that is book_sync's work)."""
        first, n_bids, n_asks = int(event["first_level"]), int(event["n_bids"]), int(event["n_asks"])
        apply_levels(self._state, self._index, levels["price_e8"], levels["qty"], first, n_bids, n_asks)

    def clear(self) -> None:
        clear_book(self._state, self._index)

    @property
    def best_bid(self) -> float | None:
        return best_price(self._state, self._index, BID) / PRICE_SCALE or None

    @property
    def best_ask(self) -> float | None:
        return best_price(self._state, self._index, ASK) / PRICE_SCALE or None

    def levels(self, side: str, limit: int | None = None) -> np.ndarray:
        """Return the levels of one side, best first, as `level_dtype`."""
        which = BID if side == "bid" else ASK
        size = int(self._state.size[self._index, which])
        out = np.empty(size if limit is None else min(limit, size), level_dtype)
        prices = np.empty(len(out), np.int64)
        qtys = np.empty(len(out), np.float64)
        top_levels(self._state, self._index, which, prices, qtys)
        out["price_e8"], out["qty"] = prices, qtys
        return out

    def buy_slippage_bps(self, notional_quote: float) -> float:
        return float(walk_slippage_bps(self._state, self._index, ASK, notional_quote))
