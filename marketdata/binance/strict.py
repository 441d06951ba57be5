"""The strict reading of each Binance message: every field checked, a sentence's reason for each refusal.

What passes here is what the compiled scanner must give as well; what fails here is counted and never used.
"""

import math
import re
from typing import Any, NamedTuple

from marketdata.binance.scan import time_ns
from marketdata.binance.scan_json import MAX_PRICE_UNITS, MAX_QTY
from marketdata.events import PRICE_SCALE, EventKind, Market

DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
INT64_MAX = (1 << 63) - 1


class Rejected(Exception):
    """A line that says nothing usable; the message is the reason it is counted under."""


class Parsed(NamedTuple):
    """One event before it is written into a batch."""

    kind: EventKind
    symbol: int = -1
    side: int = 0
    event_ns: int = 0
    exchange_ns: int = 0
    first_id: int = 0
    last_id: int = 0
    prev_id: int = -1
    price_e8: int = 0
    qty: float = 0.0
    bids: tuple[tuple[int, float], ...] = ()
    asks: tuple[tuple[int, float], ...] = ()


def object_of(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Rejected("malformed message")
    return data


def _id(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= INT64_MAX:
        raise Rejected("bad id")
    return value


def _time(value: Any, *, optional: bool = False) -> int:
    if value is None and optional:
        return 0
    if type(value) is not int or not 0 < value < 10_000_000_000_000_000:
        raise Rejected("bad time")
    ns = time_ns(value)
    if ns == 0:
        raise Rejected("bad time")
    return int(ns)


def price_e8(value: Any) -> int:
    """Return a price string as a count of 1e-8; raise `Rejected` unless it is a positive decimal in range."""
    if not isinstance(value, str) or not DECIMAL.fullmatch(value):
        raise Rejected("bad price")
    whole, _, decimals = value.partition(".")
    if decimals[8:].strip("0") or len(whole) > 20 or int(whole) > MAX_PRICE_UNITS:
        raise Rejected("bad price")
    price = int(whole) * PRICE_SCALE + int(decimals[:8].ljust(8, "0"))
    if price <= 0:
        raise Rejected("bad price")
    return price


def quantity(value: Any, *, allow_zero: bool) -> float:
    """Return a quantity string as float64; raise `Rejected` unless it is a decimal in range."""
    if not isinstance(value, str) or not DECIMAL.fullmatch(value) or len(value) > 64:
        raise Rejected("bad quantity")
    qty = float(value)
    if not math.isfinite(qty) or qty >= MAX_QTY or (qty == 0.0 and not allow_zero):
        raise Rejected("bad quantity")
    return qty


def _levels(rows: Any, *, allow_zero: bool) -> tuple[tuple[int, float], ...]:
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 2 for row in rows):
        raise Rejected("malformed levels")
    return tuple((price_e8(row[0]), quantity(row[1], allow_zero=allow_zero)) for row in rows)


def _expect(body: dict[str, Any], event: str) -> None:
    if body.get("e") != event:
        raise Rejected("event differs from stream")


def _depth(index: int, body: dict[str, Any], market: Market) -> Parsed:
    _expect(body, "depthUpdate")
    first_id, last_id = _id(body.get("U")), _id(body.get("u"))
    if last_id < first_id:
        raise Rejected("bad id")
    prev_id = -1
    if market is Market.USDM:
        chained = body.get("pu")
        if type(chained) is not int or not -1 <= chained <= INT64_MAX:
            raise Rejected("bad id")
        prev_id = chained
    return Parsed(
        EventKind.DEPTH_DIFF,
        index,
        event_ns=_time(body.get("E")),
        exchange_ns=_time(body.get("T"), optional=True),
        first_id=first_id,
        last_id=last_id,
        prev_id=prev_id,
        bids=_levels(body.get("b"), allow_zero=True),
        asks=_levels(body.get("a"), allow_zero=True),
    )


def _any_trade(index: int, body: dict[str, Any], kind: EventKind, id_key: str) -> Parsed:
    trade_id = _id(body.get(id_key))
    if not isinstance(body.get("m"), bool):
        raise Rejected("malformed message")
    return Parsed(
        kind,
        index,
        side=-1 if body["m"] else 1,
        event_ns=_time(body.get("E")),
        exchange_ns=_time(body.get("T")),
        first_id=trade_id,
        last_id=trade_id,
        price_e8=price_e8(body.get("p")),
        qty=quantity(body.get("q"), allow_zero=False),
    )


def _trade(index: int, body: dict[str, Any], market: Market) -> Parsed:
    _expect(body, "trade")
    return _any_trade(index, body, EventKind.TRADE, "t")


def _agg_trade(index: int, body: dict[str, Any], market: Market) -> Parsed:
    _expect(body, "aggTrade")
    return _any_trade(index, body, EventKind.AGG_TRADE, "a")


def _book_ticker(index: int, body: dict[str, Any], market: Market) -> Parsed:
    if "e" in body:
        _expect(body, "bookTicker")
    update_id = _id(body.get("u"))
    bid = (price_e8(body.get("b")), quantity(body.get("B"), allow_zero=False))
    ask = (price_e8(body.get("a")), quantity(body.get("A"), allow_zero=False))
    if bid[0] >= ask[0]:
        raise Rejected("crossed book")
    return Parsed(
        EventKind.BOOK_TICKER,
        index,
        event_ns=_time(body.get("E"), optional=True),
        exchange_ns=_time(body.get("T"), optional=True),
        first_id=update_id,
        last_id=update_id,
        bids=(bid,),
        asks=(ask,),
    )


def depth_snapshot(index: int, body: dict[str, Any]) -> Parsed:
    """Return the snapshot of a REST depth body; its quantities are never zero."""
    last_id = _id(body.get("lastUpdateId"))
    bids, asks = _levels(body.get("bids"), allow_zero=False), _levels(body.get("asks"), allow_zero=False)
    if bids and asks and max(p for p, _ in bids) >= min(p for p, _ in asks):
        raise Rejected("crossed book")
    return Parsed(
        EventKind.DEPTH_SNAPSHOT,
        index,
        event_ns=_time(body.get("E"), optional=True),
        exchange_ns=_time(body.get("T"), optional=True),
        first_id=last_id,
        last_id=last_id,
        bids=bids,
        asks=asks,
    )


def _mark_price(index: int, body: dict[str, Any], market: Market) -> Parsed:
    """`T` is the next funding time and 0 means no funding, so it is not an exchange time here."""
    _expect(body, "markPriceUpdate")
    rate = body.get("r") or "0"
    if not isinstance(rate, str) or not DECIMAL.fullmatch(rate.removeprefix("-")):
        raise Rejected("bad funding rate")
    return Parsed(
        EventKind.MARK_PRICE,
        index,
        event_ns=_time(body.get("E")),
        price_e8=price_e8(body.get("p")),
        qty=float(rate),
    )


PARSERS = {
    "depth": _depth,
    "trade": _trade,
    "aggTrade": _agg_trade,
    "bookTicker": _book_ticker,
    "markPrice": _mark_price,
}
RAW_EVENTS = {
    "depthUpdate": "depth",
    "trade": "trade",
    "aggTrade": "aggTrade",
    "bookTicker": "bookTicker",
    "markPriceUpdate": "markPrice",
}
