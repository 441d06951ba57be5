"""Binance messages -> events: the strict parser of every message type, and the block parser that joins it to the scanner.

`MessageParser.feed(block)` takes whole capture lines. Lines that the compiled scanner does not know (snapshots,
arrays, first-seen symbols, anything odd) go through the strict parser, line by line, in order.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

from marketdata.binance import scan
from marketdata.events import PRICE_SCALE, EventBatch, EventKind, Market, event_dtype, level_dtype

DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
SYMBOL = re.compile(r"[^\W_][\w]*\Z")
IGNORED_STREAMS = re.compile(
    r"(kline_\w+|continuousKline_\w+|miniTicker|ticker(_\w+)?|avgPrice|forceOrder|depth(5|10|20)|rpiDepth|compositeIndex"
    r"|referencePrice|blockTrade|openInterest|indexPrice|contractInfo|assetIndex|tradingSession)(@\w+)*\Z"
)
ALL_MARKET = re.compile(r"!(markPrice@arr|markPrice@arr@1s|bookTicker)\Z")
IGNORED_ALL_MARKET = re.compile(
    r"!(miniTicker|ticker|ticker_\w+|forceOrder|contractInfo|assetIndex)(@arr)?(@\w+)?\Z|!serverShutdown\Z"
)
MAX_SYMBOLS = 4096
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


@dataclass
class ParserCounts:
    """What the parser saw. `messages` is the number of lines; every line is accepted or rejected."""

    messages: int = 0
    events: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class SymbolRegistry:
    """The symbols of a session in the order they became known; the index is their identity in events."""

    def __init__(self, capacity: int = MAX_SYMBOLS) -> None:
        self.names: list[str] = []
        self.table = scan.new_symbol_table(capacity)
        self.closed = False
        self._capacity = capacity
        self._index: dict[str, int] = {}

    def add(self, name: str) -> int:
        lower, upper = name.lower().encode(), name.encode()
        if len(self.names) >= self._capacity or max(len(lower), len(upper)) > scan.NAME_BYTES:
            raise Rejected("unknown symbol")
        index = len(self.names)
        self.names.append(name)
        self._index[name.lower()] = index
        scan.add_symbol(self.table, np.frombuffer(lower, np.uint8), np.frombuffer(upper, np.uint8), index)
        return index

    def close(self, names: list[str]) -> None:
        """Fix the universe: from now on only these symbols (and those already known) are accepted."""
        for name in names:
            if name.lower() not in self._index:
                self.add(name)
        self.closed = True

    def find(self, stream_name: str) -> int:
        """Return the index of a lower-case stream name, entering a new plausible symbol of an open registry."""
        index = self._index.get(stream_name)
        if index is not None:
            return index
        if self.closed or not SYMBOL.match(stream_name) or stream_name != stream_name.lower():
            raise Rejected("unknown symbol")
        return self.add(stream_name.upper())


class MessageParser:
    """Parse blocks of capture lines of one market into event batches.

    The arrays of a returned batch are reused by the next call: consume them first, or copy.
    """

    def __init__(self, market: Market, symbols: SymbolRegistry | None = None) -> None:
        self.market = market
        self.symbols = SymbolRegistry() if symbols is None else symbols
        self.counts = ParserCounts()
        self.universe: dict[str, Any] | None = None
        self._events = np.zeros(1024, event_dtype)
        self._prices = np.zeros(4096, np.int64)
        self._qtys = np.zeros(4096, np.float64)
        self._fields = scan.new_fields()

    def feed(self, block: bytes) -> "ParsedBlock":
        """Return the events of a block of whole lines; a last line without its newline is read as whole."""
        if not block.endswith(b"\n"):
            block += b"\n"
        n_lines = block.count(b"\n")
        self._reserve(n_lines, len(block) // 8)
        buffer = np.frombuffer(block, np.uint8)
        pos = n_events = n_levels = 0
        while True:
            pos, n_events, n_levels, status = scan.scan_block(
                buffer,
                pos,
                len(block),
                self.market is Market.SPOT,
                self.symbols.table,
                self._fields,
                self._events,
                n_events,
                self._prices,
                self._qtys,
                n_levels,
            )
            if status == scan.DONE:
                break
            line_end = block.index(b"\n", pos)
            n_events, n_levels = self._strict(block[pos:line_end], n_events, n_levels)
            pos = line_end + 1
        self.counts.messages += n_lines
        self.counts.events += n_events
        return ParsedBlock(self._events[:n_events], self._prices, self._qtys)

    def _strict(self, line: bytes, n_events: int, n_levels: int) -> tuple[int, int]:
        """Append the events of one unusual line, or count why it is refused."""
        try:
            recv_ns, parsed = self.parse_line(line)
        except Rejected as reason:
            self.counts.rejected[str(reason)] += 1
            return n_events, n_levels
        self._reserve(n_events + len(parsed), n_levels + sum(len(p.bids) + len(p.asks) for p in parsed))
        for event in parsed:
            levels = event.bids + event.asks
            for j, (price_e8, qty) in enumerate(levels, n_levels):
                self._prices[j] = price_e8
                self._qtys[j] = qty
            self._events[n_events] = (
                event.kind,
                event.side,
                event.symbol,
                recv_ns,
                event.event_ns,
                event.exchange_ns,
                event.first_id,
                event.last_id,
                event.prev_id,
                n_levels,
                len(event.bids),
                len(event.asks),
                event.price_e8,
                event.qty,
            )
            n_levels += len(levels)
            n_events += 1
        return n_events, n_levels

    def parse_line(self, line: bytes) -> tuple[int, list[Parsed]]:
        """Return the receive time and the events of one capture line; raise `Rejected` with the reason."""
        stamp, space, frame = line.partition(b" ")
        if not space or not stamp.isdigit() or not scan.MIN_YEAR_NS <= int(stamp) < scan.MAX_YEAR_NS:
            raise Rejected("malformed line")
        try:
            message = orjson.loads(frame)
        except orjson.JSONDecodeError as error:
            raise Rejected("malformed JSON") from error
        if not isinstance(message, dict):
            raise Rejected("malformed JSON")
        if "stream" in message:
            return int(stamp), self.parse_stream(message["stream"], message.get("data"), bool(message.get("generated")))
        return int(stamp), self.parse_raw(message)

    def parse_stream(self, stream: Any, data: Any, generated: bool = False) -> list[Parsed]:
        """Return the events of one combined-stream message."""
        if not isinstance(stream, str):
            raise Rejected("unknown stream")
        if stream.startswith("!"):
            return self._parse_all_market(stream, data, generated)
        name, _, suffix = stream.partition("@")
        kind = suffix.partition("@")[0]
        if kind == "depthSnapshot":
            return [self._snapshot(self.symbols.find(name), _object(data))]
        if kind in _PARSERS:
            body = _object(data)
            index = self.symbols.find(name)
            if body.get("s") != self.symbols.names[index]:
                raise Rejected("symbol differs from stream")
            return [_PARSERS[kind](index, body, self.market)]
        if IGNORED_STREAMS.match(suffix) and data is not None:
            self.symbols.find(name)
            return [Parsed(EventKind.IGNORED)]
        raise Rejected("unknown stream")

    def parse_raw(self, body: dict[str, Any]) -> list[Parsed]:
        """Return the events of a raw-stream message, told by its `e` (or the shape of a spot bookTicker)."""
        kind = _RAW_EVENTS.get(body.get("e", ""))
        if kind is None and {"u", "s", "b", "B", "a", "A"} <= body.keys():
            kind = "bookTicker"
        if kind is None:
            raise Rejected("unknown stream")
        symbol = body.get("s")
        if not isinstance(symbol, str):
            raise Rejected("unknown symbol")
        index = self.symbols.find(symbol.lower())
        if symbol != self.symbols.names[index]:
            raise Rejected("unknown symbol")
        return [_PARSERS[kind](index, body, self.market)]

    def _parse_all_market(self, stream: str, data: Any, generated: bool) -> list[Parsed]:
        if generated and stream == "!tick":
            return [Parsed(EventKind.TICK)]
        if generated and stream == "!session":
            return [Parsed(EventKind.IGNORED)]
        if generated and stream == "!universe":
            return self._universe(_object(data))
        if stream == "!disconnect":
            return self._disconnect(data)
        if ALL_MARKET.match(stream):
            rows = data if isinstance(data, list) else [data]
            return [event for row in rows for event in self._all_market_row(row)]
        if IGNORED_ALL_MARKET.match(stream):
            return [Parsed(EventKind.IGNORED)]
        raise Rejected("unknown stream")

    def _all_market_row(self, row: Any) -> list[Parsed]:
        """Return the event of one row of an all-market array; rows of other products or symbols are passed over."""
        body = _object(row)
        if body.get("st", 1) != 1:
            return []
        try:
            return self.parse_raw(body)
        except Rejected as reason:
            if str(reason) == "unknown symbol":
                return []
            raise

    def _universe(self, data: dict[str, Any]) -> list[Parsed]:
        rows = data.get("symbols")
        if not isinstance(rows, list) or not all(
            isinstance(r, dict) and isinstance(r.get("symbol"), str) for r in rows
        ):
            raise Rejected("malformed universe")
        self.universe = data
        self.symbols.close([row["symbol"] for row in rows])
        return [Parsed(EventKind.IGNORED)]

    def _disconnect(self, data: Any) -> list[Parsed]:
        """Return one event per symbol whose depth stream was lost; a single one without symbol means all."""
        streams = data.get("streams", []) if isinstance(data, dict) else []
        if not isinstance(streams, list) or not all(isinstance(stream, str) for stream in streams):
            raise Rejected("malformed disconnect")
        if not streams:
            return [Parsed(EventKind.DISCONNECT)]
        names = dict.fromkeys(s.partition("@")[0] for s in streams if s.partition("@")[2].startswith("depth"))
        events = []
        for name in names:
            try:
                events.append(Parsed(EventKind.DISCONNECT, self.symbols.find(name)))
            except Rejected:
                self.counts.rejected["unknown symbol"] += 1
        return events

    def _snapshot(self, index: int, body: dict[str, Any]) -> Parsed:
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

    def _reserve(self, n_events: int, n_levels: int) -> None:
        """Grow the batch arrays, keeping what this batch wrote so far."""
        if n_events > len(self._events):
            grown = np.zeros(max(n_events, 2 * len(self._events)), event_dtype)
            grown[: len(self._events)] = self._events
            self._events = grown
        if n_levels > len(self._prices):
            extra = max(n_levels, 2 * len(self._prices)) - len(self._prices)
            self._prices = np.concatenate([self._prices, np.zeros(extra, np.int64)])
            self._qtys = np.concatenate([self._qtys, np.zeros(extra, np.float64)])


class ParsedBlock(NamedTuple):
    """Events of a block and their level columns (views into the parser's buffers)."""

    events: np.ndarray
    prices_e8: np.ndarray
    qtys: np.ndarray

    def batch(self) -> EventBatch:
        """Return a copy as an `EventBatch` that outlives the next call."""
        last = int((self.events["first_level"] + self.events["n_bids"] + self.events["n_asks"]).max(initial=0))
        levels = np.empty(last, level_dtype)
        levels["price_e8"], levels["qty"] = self.prices_e8[:last], self.qtys[:last]
        return EventBatch(self.events.copy(), levels)


def _object(data: Any) -> dict[str, Any]:
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
    ns = scan.time_ns(value)
    if ns == 0:
        raise Rejected("bad time")
    return int(ns)


def price_e8(value: Any) -> int:
    """Return a price string as a count of 1e-8; raise `Rejected` unless it is a positive decimal in range."""
    if not isinstance(value, str) or not DECIMAL.fullmatch(value):
        raise Rejected("bad price")
    whole, _, decimals = value.partition(".")
    if decimals[8:].strip("0") or len(whole) > 20 or int(whole) > scan.MAX_PRICE_UNITS:
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
    if not math.isfinite(qty) or qty >= scan.MAX_QTY or (qty == 0.0 and not allow_zero):
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


_PARSERS = {
    "depth": _depth,
    "trade": _trade,
    "aggTrade": _agg_trade,
    "bookTicker": _book_ticker,
    "markPrice": _mark_price,
}
_RAW_EVENTS = {
    "depthUpdate": "depth",
    "trade": "trade",
    "aggTrade": "aggTrade",
    "bookTicker": "bookTicker",
    "markPriceUpdate": "markPrice",
}
