"""Capture lines of Binance messages -> events: the block parser that joins the compiled scanner and the strict reader.

`MessageParser.feed(block)` takes whole capture lines. Lines that the compiled scanner does not know (snapshots,
arrays, first-seen symbols, anything odd) go through the strict reader, line by line, in order.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

from marketdata.binance import scan
from marketdata.binance.scan_json import new_fields
from marketdata.binance.strict import PARSERS, RAW_EVENTS, Parsed, Rejected, depth_snapshot, object_of
from marketdata.binance.symbol_table import NAME_BYTES, add_symbol, new_symbol_table
from marketdata.events import EventBatch, EventKind, Market, event_dtype, level_dtype

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
        self.table = new_symbol_table(capacity)
        self.closed = False
        self._capacity = capacity
        self._index: dict[str, int] = {}

    def add(self, name: str) -> int:
        lower, upper = name.lower().encode(), name.encode()
        if len(self.names) >= self._capacity or max(len(lower), len(upper)) > NAME_BYTES:
            raise Rejected("unknown symbol")
        index = len(self.names)
        self.names.append(name)
        self._index[name.lower()] = index
        add_symbol(self.table, np.frombuffer(lower, np.uint8), np.frombuffer(upper, np.uint8), index)
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
        self._fields = new_fields()

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
            return [depth_snapshot(self.symbols.find(name), object_of(data))]
        if kind in PARSERS:
            body = object_of(data)
            index = self.symbols.find(name)
            if body.get("s") != self.symbols.names[index]:
                raise Rejected("symbol differs from stream")
            return [PARSERS[kind](index, body, self.market)]
        if IGNORED_STREAMS.match(suffix) and data is not None:
            self.symbols.find(name)
            return [Parsed(EventKind.IGNORED)]
        raise Rejected("unknown stream")

    def parse_raw(self, body: dict[str, Any]) -> list[Parsed]:
        """Return the events of a raw-stream message, told by its `e` (or the shape of a spot bookTicker)."""
        kind = RAW_EVENTS.get(body.get("e", ""))
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
        return [PARSERS[kind](index, body, self.market)]

    def _parse_all_market(self, stream: str, data: Any, generated: bool) -> list[Parsed]:
        if generated and stream == "!tick":
            return [Parsed(EventKind.TICK)]
        if generated and stream == "!session":
            return [Parsed(EventKind.IGNORED)]
        if generated and stream == "!universe":
            return self._universe(object_of(data))
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
        body = object_of(row)
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
