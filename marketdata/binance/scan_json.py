"""Compiled pieces of plain JSON: strings, integers, decimals, price levels and one flat object of one-letter keys.

Each returns position -1 for whatever is unusual; nothing here decides what a message means.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from marketdata.events import PRICE_SCALE

MAX_EXACT = 1 << 53
MAX_PRICE_UNITS = 9_000_000_000  # 9e9 quote units fit int64 at 1e-8
MAX_QTY = 1e15

ABSENT, INT, TEXT, LEVELS, OTHER, TRUE, FALSE = range(7)
PU = 1
"""The slot of `pu`, the only two-letter key that is read; one-letter keys have their character code."""
SYMBOL = ord("s")
"""The only key whose text may hold more than ASCII."""


class Fields(NamedTuple):
    """Scratch of one message: what each one-letter key held."""

    kind: np.ndarray
    number: np.ndarray
    start: np.ndarray
    end: np.ndarray


def new_fields() -> Fields:
    return Fields(np.zeros(128, np.uint8), np.zeros(128, np.int64), np.zeros(128, np.int64), np.zeros(128, np.int64))


@njit(cache=True)
def matches(buffer: np.ndarray, pos: int, end: int, word: np.ndarray) -> bool:
    if pos + word.shape[0] > end:
        return False
    for j in range(word.shape[0]):  # noqa: SIM110 - compiled: a generator would not be
        if buffer[pos + j] != word[j]:
            return False
    return True


@njit(cache=True)
def text_end_of(buffer: np.ndarray, pos: int, end: int) -> int:
    """Return where the string that starts at `pos` (after its quote) ends, or -1 for anything but plain text."""
    while pos < end:
        c = buffer[pos]
        if c == 34:
            return pos
        if c == 92 or c < 32:
            return -1
        pos += 1
    return -1


@njit(cache=True)
def ascii_end_of(buffer: np.ndarray, pos: int, end: int) -> int:
    """Return the end of a string of plain ASCII, or -1."""
    while pos < end:
        c = buffer[pos]
        if c == 34:
            return pos
        if c == 92 or c < 32 or c > 126:
            return -1
        pos += 1
    return -1


@njit(cache=True)
def integer(buffer: np.ndarray, pos: int, end: int) -> tuple[int, int]:
    """Parse a JSON integer; return (value, position after it), position -1 when it is no plain integer."""
    negative = pos < end and buffer[pos] == 45
    if negative:
        pos += 1
    first = pos
    value = 0
    while pos < end and 48 <= buffer[pos] <= 57:
        value = value * 10 + (buffer[pos] - 48)
        pos += 1
    digits = pos - first
    if digits == 0 or digits > 18 or (digits > 1 and buffer[first] == 48):
        return 0, -1
    return (-value if negative else value), pos


@njit(cache=True)
def parse_price(buffer: np.ndarray, start: int, end: int) -> int:
    """Return a decimal string as a count of 1e-8, or -1 when it is no plain decimal in range."""
    whole = 0
    pos = start
    while pos < end and 48 <= buffer[pos] <= 57:
        whole = whole * 10 + (buffer[pos] - 48)
        if whole > MAX_PRICE_UNITS:
            return -1
        pos += 1
    if pos == start:
        return -1
    value = whole * PRICE_SCALE
    if pos == end:
        return value
    if buffer[pos] != 46 or pos + 1 == end:
        return -1
    scale = PRICE_SCALE
    for j in range(pos + 1, end):
        c = buffer[j]
        if c < 48 or c > 57:
            return -1
        scale //= 10
        if scale == 0 and c != 48:
            return -1
        value += (c - 48) * scale
    return value


@njit(cache=True)
def parse_qty(buffer: np.ndarray, start: int, end: int) -> float:
    """Return a decimal string as the nearest float64, -1.0 when it is no plain decimal in range, -2.0 when it has
    more digits than can be rounded here (the strict parser then does it)."""
    mantissa = 0
    decimals = 0
    point = -1
    for j in range(start, end):
        c = buffer[j]
        if c == 46 and point < 0 and j > start and j + 1 < end:
            point = j
            continue
        if c < 48 or c > 57:
            return -1.0
        if mantissa >= MAX_EXACT // 10:
            return -2.0
        mantissa = mantissa * 10 + (c - 48)
        if point >= 0:
            decimals += 1
    if end == start:
        return -1.0
    if decimals > 22:
        return -2.0
    value = mantissa / 10.0**decimals
    return value if value < MAX_QTY else -1.0


@njit(cache=True)
def levels(buffer: np.ndarray, pos: int, end: int, prices: np.ndarray, qtys: np.ndarray, n: int) -> tuple[int, int]:
    """Parse `[["price","qty"],...]` from its bracket; return levels so far and the position after it."""
    pos += 1
    if pos < end and buffer[pos] == 93:
        return n, pos + 1
    while True:
        if pos + 2 >= end or buffer[pos] != 91 or buffer[pos + 1] != 34:
            return n, -1
        price_end = ascii_end_of(buffer, pos + 2, end)
        if price_end < 0 or price_end + 3 >= end or buffer[price_end + 1] != 44 or buffer[price_end + 2] != 34:
            return n, -1
        qty_end = ascii_end_of(buffer, price_end + 3, end)
        if qty_end < 0 or qty_end + 2 >= end or buffer[qty_end + 1] != 93:
            return n, -1
        price = parse_price(buffer, pos + 2, price_end)
        qty = parse_qty(buffer, price_end + 3, qty_end)
        if price <= 0 or qty < 0.0 or n >= prices.shape[0]:
            return n, -1
        prices[n] = price
        qtys[n] = qty
        n += 1
        pos = qty_end + 2
        if buffer[pos] == 93:
            return n, pos + 1
        if buffer[pos] != 44:
            return n, -1
        pos += 1


@njit(cache=True)
def is_word(buffer: np.ndarray, pos: int, end: int, first: int, second: int, third: int, fourth: int) -> bool:
    return (
        pos + 4 <= end
        and buffer[pos] == first
        and buffer[pos + 1] == second
        and buffer[pos + 2] == third
        and buffer[pos + 3] == fourth
    )


@njit(cache=True)
def flat_object(
    buffer: np.ndarray, pos: int, end: int, fields: Fields, prices: np.ndarray, qtys: np.ndarray, n: int, deep: bool
) -> tuple[int, int, int]:
    """Scan a flat object from after its brace into `fields`; levels under b and a when `deep`.

    Return (position after the closing brace or -1 when unusual, levels of b, levels of a).
    """
    fields.kind[:] = ABSENT
    n_bids = n_asks = 0
    while True:
        if pos + 2 >= end or buffer[pos] != 34:
            return -1, 0, 0
        key_end = ascii_end_of(buffer, pos + 1, end)
        if key_end < 0 or key_end + 2 >= end or buffer[key_end + 1] != 58:
            return -1, 0, 0
        slot = 0
        if key_end - pos == 2:
            slot = np.int64(buffer[pos + 1])  # type: ignore[assignment]  # int() would stay unsigned
        elif key_end - pos == 3 and buffer[pos + 1] == 112 and buffer[pos + 2] == 117:
            slot = PU
        if slot != 0 and fields.kind[slot] != ABSENT:
            return -1, 0, 0
        pos = key_end + 2
        c = buffer[pos]
        if c == 34:
            text_end = text_end_of(buffer, pos + 1, end) if slot == SYMBOL else ascii_end_of(buffer, pos + 1, end)
            if text_end < 0:
                return -1, 0, 0
            fields.kind[slot] = TEXT
            fields.start[slot] = pos + 1
            fields.end[slot] = text_end
            pos = text_end + 1
        elif c == 45 or 48 <= c <= 57:
            number, pos = integer(buffer, pos, end)
            if pos < 0:
                return -1, 0, 0
            fields.kind[slot] = INT
            fields.number[slot] = number
        elif c == 91 and deep and (slot == 98 or slot == 97):
            if slot == 98 and n_asks > 0:
                return -1, 0, 0  # levels must lie bids first
            count, pos = levels(buffer, pos, end, prices, qtys, n + n_bids + n_asks)
            if pos < 0:
                return -1, 0, 0
            if slot == 98:
                n_bids = count - n
            else:
                n_asks = count - n - n_bids
            fields.kind[slot] = LEVELS
        elif is_word(buffer, pos, end, 116, 114, 117, 101):
            fields.kind[slot] = TRUE
            pos += 4
        elif is_word(buffer, pos, end, 102, 97, 108, 115) and pos + 4 < end and buffer[pos + 4] == 101:
            fields.kind[slot] = FALSE
            pos += 5
        elif is_word(buffer, pos, end, 110, 117, 108, 108):
            fields.kind[slot] = OTHER
            pos += 4
        else:
            return -1, 0, 0
        if pos >= end:
            return -1, 0, 0
        if buffer[pos] == 125:
            return pos + 1, n_bids, n_asks
        if buffer[pos] != 44:
            return -1, 0, 0
        pos += 1
