"""Compiled fixed-schema scanner: capture lines of known streams -> event rows, no Python object per level.

It accepts plain JSON as Binance writes it, keys in any order, unknown keys skipped. Whatever is unusual (escapes,
white space, exponents, a first-seen symbol, a rare stream) is left to the strict parser in `strict.py`, which is
also its judge: both give the same rows or the same refusal.
"""

import numpy as np
from numba import njit

from marketdata.binance.scan_json import (
    ABSENT,
    FALSE,
    INT,
    LEVELS,
    PU,
    SYMBOL,
    TEXT,
    TRUE,
    Fields,
    ascii_end_of,
    flat_object,
    integer,
    matches,
    parse_price,
    parse_qty,
    text_end_of,
)
from marketdata.binance.symbol_table import SymbolTable, find_symbol
from marketdata.events import EventKind

DONE, UNUSUAL = 0, 1
MIN_YEAR_NS = 1_262_304_000_000_000_000  # 2010-01-01
MAX_YEAR_NS = 4_102_444_800_000_000_000  # 2100-01-01

DIFF, TRADE, AGG_TRADE, TICKER, MARK = (
    int(EventKind.DEPTH_DIFF),
    int(EventKind.TRADE),
    int(EventKind.AGG_TRADE),
    int(EventKind.BOOK_TICKER),
    int(EventKind.MARK_PRICE),
)

_HEAD = np.frombuffer(b'{"stream":"', np.uint8)
_DATA = np.frombuffer(b'","data":{', np.uint8)
_SUFFIX_NAMES = (b"depth", b"trade", b"aggTrade", b"bookTicker", b"markPrice")
_SUFFIX_KINDS = np.array([DIFF, TRADE, AGG_TRADE, TICKER, MARK], np.int64)
_SUFFIX_LENGTHS = np.array([len(name) for name in _SUFFIX_NAMES], np.int64)
_SUFFIXES = np.zeros((len(_SUFFIX_NAMES), 12), np.uint8)
for _row, _name in enumerate(_SUFFIX_NAMES):
    _SUFFIXES[_row, : len(_name)] = np.frombuffer(_name, np.uint8)


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
        fields.kind[slot] == TEXT
        and fields.end[slot] - fields.start[slot] == word.shape[0]
        and matches(buffer, fields.start[slot], fields.end[slot], word)
    )


_E_DEPTH = np.frombuffer(b"depthUpdate", np.uint8)
_E_TRADE = np.frombuffer(b"trade", np.uint8)
_E_AGG = np.frombuffer(b"aggTrade", np.uint8)
_E_TICKER = np.frombuffer(b"bookTicker", np.uint8)
_E_MARK = np.frombuffer(b"markPriceUpdate", np.uint8)

_E, _ET, _U, _LU, _A, _B, _LA, _LB, _P, _Q, _M, _T = (ord(letter) for letter in "eEUuABabpqmT")  # fmt: skip


@njit(cache=True)
def _times(fields: Fields, event: np.ndarray, needed: bool) -> bool:
    """Fill event_ns and exchange_ns from E and T; False when one is wrong, or E is needed and missing."""
    event["event_ns"] = 0
    event["exchange_ns"] = 0
    if fields.kind[_ET] == INT:
        event["event_ns"] = time_ns(fields.number[_ET])
        if event["event_ns"] == 0:
            return False
    elif needed or fields.kind[_ET] != ABSENT:
        return False
    if fields.kind[_T] == INT:
        event["exchange_ns"] = time_ns(fields.number[_T])
        return bool(event["exchange_ns"] != 0)
    return bool(fields.kind[_T] == ABSENT)


@njit(cache=True)
def _fill_trade(fields: Fields, buffer: np.ndarray, event: np.ndarray, kind: int) -> bool:
    id_slot = _LA if kind == AGG_TRADE else ord("t")
    if not _is_text(fields, buffer, _E, _E_AGG if kind == AGG_TRADE else _E_TRADE):
        return False
    if fields.kind[id_slot] != INT or fields.kind[_P] != TEXT or fields.kind[_Q] != TEXT:
        return False
    if fields.kind[_M] != TRUE and fields.kind[_M] != FALSE:
        return False
    if not _times(fields, event, True) or event["exchange_ns"] == 0:
        return False
    event["price_e8"] = parse_price(buffer, fields.start[_P], fields.end[_P])
    event["qty"] = parse_qty(buffer, fields.start[_Q], fields.end[_Q])
    event["side"] = -1 if fields.kind[_M] == TRUE else 1
    event["last_id"] = fields.number[id_slot]
    event["first_id"] = fields.number[id_slot]
    return bool(event["price_e8"] > 0 and event["qty"] > 0.0 and event["last_id"] >= 0)


@njit(cache=True)
def _fill_ticker(
    fields: Fields, buffer: np.ndarray, event: np.ndarray, prices: np.ndarray, qtys: np.ndarray, n: int
) -> bool:
    if fields.kind[_E] != ABSENT and not _is_text(fields, buffer, _E, _E_TICKER):
        return False
    if fields.kind[_LU] != INT or n + 2 > prices.shape[0] or not _times(fields, event, False):
        return False
    for slot in (_LB, _B, _LA, _A):
        if fields.kind[slot] != TEXT:
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
    if fields.kind[_U] != INT or fields.kind[_LU] != INT:
        return False
    if fields.kind[_LB] != LEVELS or fields.kind[_LA] != LEVELS:
        return False
    event["first_id"] = fields.number[_U]
    event["last_id"] = fields.number[_LU]
    if not spot:
        if fields.kind[PU] != INT:
            return False
        event["prev_id"] = fields.number[PU]
    return bool(event["first_id"] >= 0 and event["last_id"] >= event["first_id"])


@njit(cache=True)
def _same_symbol(table: SymbolTable, i: int, fields: Fields, buffer: np.ndarray) -> bool:
    if fields.kind[SYMBOL] != TEXT or fields.end[SYMBOL] - fields.start[SYMBOL] != table.upper_size[i]:
        return False
    for j in range(table.upper_size[i]):  # noqa: SIM110 - compiled: a generator would not be
        if table.upper[i, j] != buffer[fields.start[SYMBOL] + j]:
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
        recv_ns, pos = integer(buffer, pos, end)
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
        if not matches(buffer, pos, end, _HEAD):
            return line_start, n_events, n_levels, UNUSUAL
        pos += _HEAD.shape[0]
        name_end = text_end_of(buffer, pos, end)
        if name_end < 0:
            return line_start, n_events, n_levels, UNUSUAL
        at = pos
        while at < name_end and buffer[at] != 64:
            at += 1
        is_plain = at < name_end and ascii_end_of(buffer, at, end) == name_end
        kind = _stream_kind(buffer, at + 1, name_end) if is_plain else 0
        symbol = find_symbol(table, buffer, pos, at) if kind != 0 else -1
        if symbol < 0 or not matches(buffer, name_end, end, _DATA) or n_events >= events.shape[0]:
            return line_start, n_events, n_levels, UNUSUAL
        pos, n_bids, n_asks = flat_object(
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
