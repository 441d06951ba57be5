"""Compiled fixed-schema scanner: capture lines of known streams -> event rows, no Python object per level.

It accepts plain JSON as Binance writes it, keys in any order, unknown keys skipped. Whatever is unusual (escapes,
white space, exponents, a first-seen symbol, a rare stream) is left to the strict parser in `messages.py`, which is
also its judge: both give the same rows or the same refusal.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from marketdata.events import PRICE_SCALE, EventKind

DONE, UNUSUAL = 0, 1
NAME_BYTES = 64
TABLE_SIZE = 1 << 13
MAX_EXACT = 1 << 53
MIN_YEAR_NS = 1_262_304_000_000_000_000  # 2010-01-01
MAX_YEAR_NS = 4_102_444_800_000_000_000  # 2100-01-01
MAX_PRICE_UNITS = 9_000_000_000  # 9e9 quote units fit int64 at 1e-8
MAX_QTY = 1e15

DIFF, TRADE, AGG_TRADE, TICKER, MARK = (
    int(EventKind.DEPTH_DIFF),
    int(EventKind.TRADE),
    int(EventKind.AGG_TRADE),
    int(EventKind.BOOK_TICKER),
    int(EventKind.MARK_PRICE),
)

_ABSENT, _INT, _TEXT, _LEVELS, _OTHER, _TRUE, _FALSE = 0, 1, 2, 3, 4, 5, 6
_PU = 1  # the slot of the only two-letter key that is read

_HEAD = np.frombuffer(b'{"stream":"', np.uint8)
_DATA = np.frombuffer(b'","data":{', np.uint8)
_SUFFIX_NAMES = (b"depth", b"trade", b"aggTrade", b"bookTicker", b"markPrice")
_SUFFIX_KINDS = np.array([DIFF, TRADE, AGG_TRADE, TICKER, MARK], np.int64)
_SUFFIX_LENGTHS = np.array([len(name) for name in _SUFFIX_NAMES], np.int64)
_SUFFIXES = np.zeros((len(_SUFFIX_NAMES), 12), np.uint8)
for _row, _name in enumerate(_SUFFIX_NAMES):
    _SUFFIXES[_row, : len(_name)] = np.frombuffer(_name, np.uint8)


class SymbolTable(NamedTuple):
    """Known symbols by stream name. slots (TABLE_SIZE,) int32: index + 1, 0 = free; names are UTF-8 bytes."""

    slots: np.ndarray
    lower: np.ndarray
    lower_size: np.ndarray
    upper: np.ndarray
    upper_size: np.ndarray


class Fields(NamedTuple):
    """Scratch of one message: what each one-letter key held."""

    kind: np.ndarray
    number: np.ndarray
    start: np.ndarray
    end: np.ndarray


def new_symbol_table(capacity: int) -> SymbolTable:
    return SymbolTable(
        np.zeros(TABLE_SIZE, np.int32),
        np.zeros((capacity, NAME_BYTES), np.uint8),
        np.zeros(capacity, np.int64),
        np.zeros((capacity, NAME_BYTES), np.uint8),
        np.zeros(capacity, np.int64),
    )


def new_fields() -> Fields:
    return Fields(np.zeros(128, np.uint8), np.zeros(128, np.int64), np.zeros(128, np.int64), np.zeros(128, np.int64))


@njit(cache=True)
def name_hash(buffer: np.ndarray, start: int, end: int) -> int:
    """Return the FNV-1a hash of a name, folded to a slot of the table."""
    value = np.uint64(14695981039346656037)
    for j in range(start, end):
        value = (value ^ np.uint64(buffer[j])) * np.uint64(1099511628211)
    slot: int = np.int64(value & np.uint64(TABLE_SIZE - 1))  # type: ignore[assignment]  # int() would stay unsigned
    return slot


@njit(cache=True)
def find_symbol(table: SymbolTable, buffer: np.ndarray, start: int, end: int) -> int:
    """Return the index of the symbol whose stream name is buffer[start:end], or -1."""
    size = end - start
    slot = name_hash(buffer, start, end)
    while table.slots[slot] != 0:
        i = table.slots[slot] - 1
        if table.lower_size[i] == size:
            same = True
            for j in range(size):
                if table.lower[i, j] != buffer[start + j]:
                    same = False
                    break
            if same:
                return int(i)
        slot = (slot + 1) & (TABLE_SIZE - 1)
    return -1


@njit(cache=True)
def add_symbol(table: SymbolTable, lower: np.ndarray, upper: np.ndarray, index: int) -> None:
    """Enter symbol `index` under its stream name; the names must fit NAME_BYTES."""
    for j in range(lower.shape[0]):
        table.lower[index, j] = lower[j]
    for j in range(upper.shape[0]):
        table.upper[index, j] = upper[j]
    table.lower_size[index] = lower.shape[0]
    table.upper_size[index] = upper.shape[0]
    slot = name_hash(lower, 0, lower.shape[0])
    while table.slots[slot] != 0:
        slot = (slot + 1) & (TABLE_SIZE - 1)
    table.slots[slot] = index + 1


@njit(cache=True)
def _matches(buffer: np.ndarray, pos: int, end: int, word: np.ndarray) -> bool:
    if pos + word.shape[0] > end:
        return False
    for j in range(word.shape[0]):
        if buffer[pos + j] != word[j]:
            return False
    return True


@njit(cache=True)
def _text_end(buffer: np.ndarray, pos: int, end: int) -> int:
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
def _ascii_end(buffer: np.ndarray, pos: int, end: int) -> int:
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
def _integer(buffer: np.ndarray, pos: int, end: int) -> tuple[int, int]:
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
def _levels(buffer: np.ndarray, pos: int, end: int, prices: np.ndarray, qtys: np.ndarray, n: int) -> tuple[int, int]:
    """Parse `[["price","qty"],...]` from its bracket; return (levels so far, position after), position -1 if unusual."""
    pos += 1
    if pos < end and buffer[pos] == 93:
        return n, pos + 1
    while True:
        if pos + 2 >= end or buffer[pos] != 91 or buffer[pos + 1] != 34:
            return n, -1
        price_end = _ascii_end(buffer, pos + 2, end)
        if price_end < 0 or price_end + 3 >= end or buffer[price_end + 1] != 44 or buffer[price_end + 2] != 34:
            return n, -1
        qty_end = _ascii_end(buffer, price_end + 3, end)
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
def _is_word(buffer: np.ndarray, pos: int, end: int, first: int, second: int, third: int, fourth: int) -> bool:
    return (
        pos + 4 <= end
        and buffer[pos] == first
        and buffer[pos + 1] == second
        and buffer[pos + 2] == third
        and buffer[pos + 3] == fourth
    )


@njit(cache=True)
def _object(
    buffer: np.ndarray, pos: int, end: int, fields: Fields, prices: np.ndarray, qtys: np.ndarray, n: int, deep: bool
) -> tuple[int, int, int]:
    """Scan a flat object from after its brace into `fields`; levels under b and a when `deep`.

    Return (position after the closing brace or -1 when unusual, levels of b, levels of a).
    """
    fields.kind[:] = _ABSENT
    n_bids = n_asks = 0
    while True:
        if pos + 2 >= end or buffer[pos] != 34:
            return -1, 0, 0
        key_end = _ascii_end(buffer, pos + 1, end)
        if key_end < 0 or key_end + 2 >= end or buffer[key_end + 1] != 58:
            return -1, 0, 0
        slot = 0
        if key_end - pos == 2:
            slot = np.int64(buffer[pos + 1])  # type: ignore[assignment]  # int() would stay unsigned
        elif key_end - pos == 3 and buffer[pos + 1] == 112 and buffer[pos + 2] == 117:
            slot = _PU
        if slot != 0 and fields.kind[slot] != _ABSENT:
            return -1, 0, 0
        pos = key_end + 2
        c = buffer[pos]
        if c == 34:
            text_end = _text_end(buffer, pos + 1, end) if slot == _S else _ascii_end(buffer, pos + 1, end)
            if text_end < 0:
                return -1, 0, 0
            fields.kind[slot] = _TEXT
            fields.start[slot] = pos + 1
            fields.end[slot] = text_end
            pos = text_end + 1
        elif c == 45 or 48 <= c <= 57:
            number, pos = _integer(buffer, pos, end)
            if pos < 0:
                return -1, 0, 0
            fields.kind[slot] = _INT
            fields.number[slot] = number
        elif c == 91 and deep and (slot == 98 or slot == 97):
            if slot == 98 and n_asks > 0:
                return -1, 0, 0  # levels must lie bids first
            count, pos = _levels(buffer, pos, end, prices, qtys, n + n_bids + n_asks)
            if pos < 0:
                return -1, 0, 0
            if slot == 98:
                n_bids = count - n
            else:
                n_asks = count - n - n_bids
            fields.kind[slot] = _LEVELS
        elif _is_word(buffer, pos, end, 116, 114, 117, 101):
            fields.kind[slot] = _TRUE
            pos += 4
        elif _is_word(buffer, pos, end, 102, 97, 108, 115) and pos + 4 < end and buffer[pos + 4] == 101:
            fields.kind[slot] = _FALSE
            pos += 5
        elif _is_word(buffer, pos, end, 110, 117, 108, 108):
            fields.kind[slot] = _OTHER
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


@njit(cache=True)
def _stream_kind(buffer: np.ndarray, at: int, end: int) -> int:
    """Return the event kind of the stream suffix buffer[at:end] (after the @), or 0 for a rare one."""
    for k in range(_SUFFIX_KINDS.shape[0]):
        size = _SUFFIX_LENGTHS[k]
        if end - at < size or (end - at > size and buffer[at + size] != 64):
            continue
        same = True
        for j in range(size):
            if buffer[at + j] != _SUFFIXES[k, j]:
                same = False
                break
        if same:
            return int(_SUFFIX_KINDS[k])
    return 0


@njit(cache=True)
def time_ns(value: int) -> int:
    """Return an exchange time given in ms or us as ns, 0 when it lies outside 2010-2100."""
    ns = value * 1_000 if value >= 100_000_000_000_000 else value * 1_000_000
    return ns if MIN_YEAR_NS <= ns < MAX_YEAR_NS and value < 10_000_000_000_000_000 else 0


@njit(cache=True)
def _is_text(fields: Fields, buffer: np.ndarray, slot: int, word: np.ndarray) -> bool:
    return (
        fields.kind[slot] == _TEXT
        and fields.end[slot] - fields.start[slot] == word.shape[0]
        and _matches(buffer, fields.start[slot], fields.end[slot], word)
    )


_E_DEPTH = np.frombuffer(b"depthUpdate", np.uint8)
_E_TRADE = np.frombuffer(b"trade", np.uint8)
_E_AGG = np.frombuffer(b"aggTrade", np.uint8)
_E_TICKER = np.frombuffer(b"bookTicker", np.uint8)
_E_MARK = np.frombuffer(b"markPriceUpdate", np.uint8)

_E, _ET, _S, _U, _LU, _A, _B, _LA, _LB, _P, _Q, _M, _T, _R, _F, _L = (
    ord(letter) for letter in "eEsUuABabpqmTrfl"
)  # fmt: skip


@njit(cache=True)
def _times(fields: Fields, event: np.ndarray, needed: bool) -> bool:
    """Fill event_ns and exchange_ns from E and T; False when one is wrong, or E is needed and missing."""
    event["event_ns"] = 0
    event["exchange_ns"] = 0
    if fields.kind[_ET] == _INT:
        event["event_ns"] = time_ns(fields.number[_ET])
        if event["event_ns"] == 0:
            return False
    elif needed or fields.kind[_ET] != _ABSENT:
        return False
    if fields.kind[_T] == _INT:
        event["exchange_ns"] = time_ns(fields.number[_T])
        return bool(event["exchange_ns"] != 0)
    return bool(fields.kind[_T] == _ABSENT)


@njit(cache=True)
def _fill_trade(fields: Fields, buffer: np.ndarray, event: np.ndarray, kind: int) -> bool:
    id_slot = _LA if kind == AGG_TRADE else ord("t")
    if not _is_text(fields, buffer, _E, _E_AGG if kind == AGG_TRADE else _E_TRADE):
        return False
    if fields.kind[id_slot] != _INT or fields.kind[_P] != _TEXT or fields.kind[_Q] != _TEXT:
        return False
    if fields.kind[_M] != _TRUE and fields.kind[_M] != _FALSE:
        return False
    if not _times(fields, event, True) or event["exchange_ns"] == 0:
        return False
    event["price_e8"] = parse_price(buffer, fields.start[_P], fields.end[_P])
    event["qty"] = parse_qty(buffer, fields.start[_Q], fields.end[_Q])
    event["side"] = -1 if fields.kind[_M] == _TRUE else 1
    event["last_id"] = fields.number[id_slot]
    event["first_id"] = fields.number[id_slot]
    return bool(event["price_e8"] > 0 and event["qty"] > 0.0 and event["last_id"] >= 0)


@njit(cache=True)
def _fill_ticker(
    fields: Fields, buffer: np.ndarray, event: np.ndarray, prices: np.ndarray, qtys: np.ndarray, n: int
) -> bool:
    if fields.kind[_E] != _ABSENT and not _is_text(fields, buffer, _E, _E_TICKER):
        return False
    if fields.kind[_LU] != _INT or n + 2 > prices.shape[0] or not _times(fields, event, False):
        return False
    for slot in (_LB, _B, _LA, _A):
        if fields.kind[slot] != _TEXT:
            return False
    prices[n] = parse_price(buffer, fields.start[_LB], fields.end[_LB])
    qtys[n] = parse_qty(buffer, fields.start[_B], fields.end[_B])
    prices[n + 1] = parse_price(buffer, fields.start[_LA], fields.end[_LA])
    qtys[n + 1] = parse_qty(buffer, fields.start[_A], fields.end[_A])
    event["last_id"] = fields.number[_LU]
    event["first_id"] = fields.number[_LU]
    event["n_bids"] = 1
    event["n_asks"] = 1
    return bool(0 < prices[n] < prices[n + 1] and qtys[n] > 0.0 and qtys[n + 1] > 0.0 and event["last_id"] >= 0)


@njit(cache=True)
def _fill_diff(fields: Fields, buffer: np.ndarray, event: np.ndarray, spot: bool) -> bool:
    if not _is_text(fields, buffer, _E, _E_DEPTH) or not _times(fields, event, True):
        return False
    if fields.kind[_U] != _INT or fields.kind[_LU] != _INT:
        return False
    if fields.kind[_LB] != _LEVELS or fields.kind[_LA] != _LEVELS:
        return False
    event["first_id"] = fields.number[_U]
    event["last_id"] = fields.number[_LU]
    if not spot:
        if fields.kind[_PU] != _INT:
            return False
        event["prev_id"] = fields.number[_PU]
    return bool(event["first_id"] >= 0 and event["last_id"] >= event["first_id"])


@njit(cache=True)
def _same_symbol(table: SymbolTable, i: int, fields: Fields, buffer: np.ndarray) -> bool:
    if fields.kind[_S] != _TEXT or fields.end[_S] - fields.start[_S] != table.upper_size[i]:
        return False
    for j in range(table.upper_size[i]):
        if table.upper[i, j] != buffer[fields.start[_S] + j]:
            return False
    return True


@njit(cache=True)
def scan_block(
    buffer: np.ndarray,
    pos: int,
    end: int,
    spot: bool,
    table: SymbolTable,
    fields: Fields,
    events: np.ndarray,
    n_events: int,
    prices: np.ndarray,
    qtys: np.ndarray,
    n_levels: int,
) -> tuple[int, int, int, int]:
    """Scan whole lines until the block ends or a line is unusual.

    Returns
    -------
    (position, n_events, n_levels, status)
        status DONE: position == end. UNUSUAL: the line at position is for the strict parser.
    """
    while pos < end:
        line_start = pos
        recv_ns, pos = _integer(buffer, pos, end)
        if pos < 0:
            # receive times have 19 digits: parse the long way
            pos = line_start
            recv_ns = 0
            while pos < end and 48 <= buffer[pos] <= 57 and pos - line_start < 19:
                recv_ns = recv_ns * 10 + (buffer[pos] - 48)
                pos += 1
            if pos - line_start != 19:
                return line_start, n_events, n_levels, UNUSUAL
        if recv_ns < MIN_YEAR_NS or recv_ns >= MAX_YEAR_NS or pos >= end or buffer[pos] != 32:
            return line_start, n_events, n_levels, UNUSUAL
        pos += 1
        if not _matches(buffer, pos, end, _HEAD):
            return line_start, n_events, n_levels, UNUSUAL
        pos += _HEAD.shape[0]
        name_end = _text_end(buffer, pos, end)
        if name_end < 0:
            return line_start, n_events, n_levels, UNUSUAL
        at = pos
        while at < name_end and buffer[at] != 64:
            at += 1
        kind = _stream_kind(buffer, at + 1, name_end) if at < name_end else 0
        symbol = find_symbol(table, buffer, pos, at) if kind != 0 else -1
        if symbol < 0 or not _matches(buffer, name_end, end, _DATA) or n_events >= events.shape[0]:
            return line_start, n_events, n_levels, UNUSUAL
        pos, n_bids, n_asks = _object(
            buffer, name_end + _DATA.shape[0], end, fields, prices, qtys, n_levels, kind == DIFF
        )
        if pos < 0 or pos + 1 >= end or buffer[pos] != 125 or buffer[pos + 1] != 10:
            return line_start, n_events, n_levels, UNUSUAL
        pos += 2
        event = events[n_events]
        event["kind"] = kind
        event["side"] = 0
        event["symbol"] = symbol
        event["recv_ns"] = recv_ns
        event["prev_id"] = -1
        event["first_level"] = n_levels
        event["n_bids"] = n_bids
        event["n_asks"] = n_asks
        event["price_e8"] = 0
        event["qty"] = 0.0
        good = _same_symbol(table, symbol, fields, buffer)
        if good:
            if kind == DIFF:
                good = _fill_diff(fields, buffer, event, spot)
            elif kind == TICKER:
                good = _fill_ticker(fields, buffer, event, prices, qtys, n_levels)
            elif kind == MARK:
                good = False  # once a second per symbol: the strict parser is fast enough
            else:
                good = _fill_trade(fields, buffer, event, kind)
        if not good:
            return line_start, n_events, n_levels, UNUSUAL
        n_levels += event["n_bids"] + event["n_asks"]
        n_events += 1
    return pos, n_events, n_levels, DONE
