"""Messages exactly as Binance prints them: field order, decimals and quotes as in recorded frames of both markets."""

import numpy as np
from numba import njit

from marketdata.simulator.state import Traits

DEPTH, AGG_TRADE, BOOK_TICKER, MARK_PRICE = 0, 1, 2, 3
STREAM_SUFFIXES = ("@depth@100ms", "@aggTrade", "@bookTicker", "@markPrice@1s")

NS_PER_MS = 1_000_000


def _literal(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).copy()


_DEPTH_E = _literal('{"e":"depthUpdate","E":')
_COMMA_S = _literal(',"s":"')
_COMMA_T = _literal(',"T":')
_NAME_U = _literal('","U":')
_COMMA_U = _literal(',"u":')
_COMMA_PU = _literal(',"pu":')
_BIDS = _literal(',"b":[')
_ASKS = _literal('],"a":[')
_END_LEVELS = _literal("]}")
_LEVEL_OPEN = _literal('["')
_LEVEL_MIDDLE = _literal('","')
_LEVEL_CLOSE = _literal('"]')
_AGG_E = _literal('{"e":"aggTrade","E":')
_COMMA_A = _literal(',"a":')
_NAME_A = _literal('","a":')
_NAME_P = _literal('","p":"')
_COMMA_P = _literal(',"p":"')
_TEXT_Q = _literal('","q":"')
_TEXT_F = _literal('","f":')
_COMMA_L = _literal(',"l":')
_MAKER_TRUE = _literal(',"m":true')
_MAKER_FALSE = _literal(',"m":false')
_SPOT_TRUE = _literal(',"M":true}')
_END = _literal("}")
_TICKER_SPOT = _literal('{"u":')
_TICKER_USDM = _literal('{"e":"bookTicker","u":')
_NAME_B = _literal('","b":"')
_TEXT_BQ = _literal('","B":"')
_TEXT_A = _literal('","a":"')
_TEXT_AQ = _literal('","A":"')
_TEXT_T = _literal('","T":')
_COMMA_E = _literal(',"E":')
_TEXT_END = _literal('"}')
_MARK_E = _literal('{"e":"markPriceUpdate","E":')
_TEXT_P = _literal('","P":"')
_TEXT_I = _literal('","i":"')
_TEXT_R = _literal('","r":"')


@njit(cache=True)
def put(text: np.ndarray, at: int, literal: np.ndarray) -> int:
    for byte in literal:
        text[at] = byte
        at += 1
    return at


@njit(cache=True)
def put_name(text: np.ndarray, at: int, traits: Traits) -> int:
    for i in range(traits.name_length):
        text[at + i] = traits.name[i]
    return int(at + traits.name_length)


@njit(cache=True)
def put_integer(text: np.ndarray, at: int, value: int) -> int:
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for i in range(at + digits - 1, at - 1, -1):
        text[i] = 48 + value % 10
        value //= 10
    return at + digits


@njit(cache=True)
def put_decimal(text: np.ndarray, at: int, value: int, decimals: int, digits: int) -> int:
    """Print `value / 10**decimals` with `digits` decimals (>= `decimals`)."""
    scale = 1
    for _ in range(decimals):
        scale *= 10
    at = put_integer(text, at, value // scale)
    if digits == 0:
        return at
    text[at] = 46
    at += 1
    rest = value % scale
    for i in range(at + decimals - 1, at - 1, -1):
        text[i] = 48 + rest % 10
        rest //= 10
    for i in range(at + decimals, at + digits):
        text[i] = 48
    return at + digits


@njit(cache=True)
def put_price(text: np.ndarray, at: int, traits: Traits, position: int) -> int:
    value = (traits.base_tick + position) * traits.tick_mantissa
    return put_decimal(text, at, value, traits.price_decimals, traits.price_digits)


@njit(cache=True)
def put_lots(text: np.ndarray, at: int, traits: Traits, lots: int) -> int:
    return put_decimal(text, at, lots * traits.lot_mantissa, traits.lot_decimals, traits.lot_digits)


@njit(cache=True)
def put_level(text: np.ndarray, at: int, traits: Traits, position: int, lots: int) -> int:
    at = put(text, at, _LEVEL_OPEN)
    at = put_price(text, at, traits, position)
    at = put(text, at, _LEVEL_MIDDLE)
    at = put_lots(text, at, traits, lots)
    return put(text, at, _LEVEL_CLOSE)


@njit(cache=True)
def put_depth_head(
    text: np.ndarray,
    at: int,
    traits: Traits,
    event_ms: int,
    engine_ms: int,
    first_id: int,
    last_id: int,
    previous_id: int,
) -> int:
    at = put_integer(text, put(text, at, _DEPTH_E), event_ms)
    if traits.futures:
        at = put_integer(text, put(text, at, _COMMA_T), engine_ms)
    at = put_name(text, put(text, at, _COMMA_S), traits)
    at = put_integer(text, put(text, at, _NAME_U), first_id)
    at = put_integer(text, put(text, at, _COMMA_U), last_id)
    if traits.futures:
        at = put_integer(text, put(text, at, _COMMA_PU), previous_id)
    return put(text, at, _BIDS)


@njit(cache=True)
def put_asks_head(text: np.ndarray, at: int) -> int:
    return put(text, at, _ASKS)


@njit(cache=True)
def put_depth_end(text: np.ndarray, at: int) -> int:
    return put(text, at, _END_LEVELS)


@njit(cache=True)
def put_agg_trade(
    text: np.ndarray,
    at: int,
    traits: Traits,
    event_ms: int,
    trade_ms: int,
    ids: tuple[int, int, int],
    position: int,
    lots: int,
    buyer_is_maker: bool,
) -> int:
    agg_id, first_id, last_id = ids
    at = put_integer(text, put(text, at, _AGG_E), event_ms)
    if traits.futures:
        at = put_integer(text, put(text, at, _COMMA_A), agg_id)
        at = put_name(text, put(text, at, _COMMA_S), traits)
        at = put(text, at, _NAME_P)
    else:
        at = put_name(text, put(text, at, _COMMA_S), traits)
        at = put_integer(text, put(text, at, _NAME_A), agg_id)
        at = put(text, at, _COMMA_P)
    at = put_price(text, at, traits, position)
    at = put_lots(text, put(text, at, _TEXT_Q), traits, lots)
    at = put_integer(text, put(text, at, _TEXT_F), first_id)
    at = put_integer(text, put(text, at, _COMMA_L), last_id)
    at = put_integer(text, put(text, at, _COMMA_T), trade_ms)
    at = put(text, at, _MAKER_TRUE if buyer_is_maker else _MAKER_FALSE)
    return put(text, at, _END if traits.futures else _SPOT_TRUE)


@njit(cache=True)
def put_book_ticker(
    text: np.ndarray,
    at: int,
    traits: Traits,
    event_ms: int,
    engine_ms: int,
    update_id: int,
    bid: int,
    bid_lots: int,
    ask: int,
    ask_lots: int,
) -> int:
    at = put_integer(text, put(text, at, _TICKER_USDM if traits.futures else _TICKER_SPOT), update_id)
    at = put_name(text, put(text, at, _COMMA_S), traits)
    at = put_price(text, put(text, at, _NAME_B), traits, bid)
    at = put_lots(text, put(text, at, _TEXT_BQ), traits, bid_lots)
    at = put_price(text, put(text, at, _TEXT_A), traits, ask)
    at = put_lots(text, put(text, at, _TEXT_AQ), traits, ask_lots)
    if not traits.futures:
        return put(text, at, _TEXT_END)
    at = put_integer(text, put(text, at, _TEXT_T), engine_ms)
    at = put_integer(text, put(text, at, _COMMA_E), event_ms)
    return put(text, at, _END)


@njit(cache=True)
def put_mark_price(
    text: np.ndarray,
    at: int,
    traits: Traits,
    event_ms: int,
    mark_e8: int,
    settle_e8: int,
    index_e8: int,
    funding_e8: int,
    funding_ms: int,
) -> int:
    at = put_integer(text, put(text, at, _MARK_E), event_ms)
    at = put_name(text, put(text, at, _COMMA_S), traits)
    at = put_decimal(text, put(text, at, _NAME_P), mark_e8, 8, 8)
    at = put_decimal(text, put(text, at, _TEXT_P), settle_e8, 8, 8)
    at = put_decimal(text, put(text, at, _TEXT_I), index_e8, 8, 8)
    at = put_decimal(text, put(text, at, _TEXT_R), funding_e8, 8, 8)
    at = put_integer(text, put(text, at, _TEXT_T), funding_ms)
    return put(text, at, _END)
