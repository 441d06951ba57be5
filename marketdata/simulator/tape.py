"""A recorded capture as an exchange: what it lists, its frames in order, and the books that they build."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marketdata.events import Market
from marketdata.simulator.plain_book import PlainBook

_LINE = re.compile(rb'(\d{1,19}) (\{"stream":"([^"]+)",(?:"generated":true,)?"data":(.*)\})\s*', re.DOTALL)
_GENERATED = b'"generated":true'
_PRICES = re.compile(rb'"p":"(\d+\.?\d*)"')
_QUANTITIES = re.compile(rb'"q":"(\d+\.?\d*)"')
_LEVELS = re.compile(rb'\["(\d+\.?\d*)","(\d+\.?\d*)"')
_SYMBOL = re.compile(rb'"s":"([^"]+)"')
_QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "BTC", "ETH", "BNB", "TRY", "EUR", "USD")


class TapeError(Exception):
    """The capture cannot be played; the message says why in one sentence."""


class TapeFrame(NamedTuple):
    """One recorded line. `frame` is the combined payload and `data` its inside, byte for byte."""

    recv_ns: int
    stream: str
    frame: bytes
    data: bytes
    generated: bool

    @property
    def symbol(self) -> str:
        return self.stream.partition("@")[0].upper()


def tape_frames(lines: Iterable[bytes]) -> Iterator[TapeFrame]:
    """Yield the frames of a capture; a line that is none ends the play with `TapeError`."""
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise TapeError(f"line {number} is no capture line: {line[:60]!r}")
        recv, frame, stream, data = match.groups()
        head = frame[: len(stream) + 40]
        yield TapeFrame(int(recv), stream.decode(), frame, data, _GENERATED in head)


@dataclass
class _Decimals:
    price: int = 0
    quantity: int = 0


@dataclass
class TapeSurvey:
    """What a whole capture contains: found in one reading before the play."""

    market: Market
    symbols: dict[str, _Decimals] = field(default_factory=dict)
    streams: Counter[str] = field(default_factory=Counter)
    first_ns: int = 0
    last_ns: int = 0

    @property
    def frames(self) -> int:
        """Frames that go over the sockets."""
        return self.streams.total()

    def exchange_info(self, server_time_ms: int) -> dict[str, object]:
        describe = _spot_symbol if self.market is Market.SPOT else _usdm_symbol
        return {
            "timezone": "UTC",
            "serverTime": server_time_ms,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [describe(symbol, decimals) for symbol, decimals in self.symbols.items()],
        }


def survey(lines: Iterable[bytes], market: Market) -> TapeSurvey:
    """Read a capture once: its symbols, their decimals, its streams. `TapeError` when it is not one of `market`."""
    found = TapeSurvey(market)
    for frame in tape_frames(lines):
        found.first_ns = found.first_ns or frame.recv_ns
        found.last_ns = max(found.last_ns, frame.recv_ns)
        if not frame.generated:
            found.streams[frame.stream] += 1
            _check_market(frame, market)
        if "@" in frame.stream and not frame.stream.startswith("!"):
            _note_decimals(found, frame)
    if not found.symbols:
        raise TapeError("it has no market data in it")
    return found


def _check_market(frame: TapeFrame, market: Market) -> None:
    if "@depth" not in frame.stream or not frame.data.startswith(b'{"e":"depthUpdate"'):
        return
    recorded = Market.USDM if b'"pu":' in frame.data[:300] else Market.SPOT
    if recorded is not market:
        raise TapeError(f"it was recorded on {recorded}, not on {market}: start with --market {recorded}")


def _note_decimals(found: TapeSurvey, frame: TapeFrame) -> None:
    symbol = _SYMBOL.search(frame.data)
    name = symbol.group(1).decode() if symbol else frame.symbol
    decimals = found.symbols.setdefault(name, _Decimals())
    levels = _LEVELS.findall(frame.data)
    prices = [price for price, _ in levels] + _PRICES.findall(frame.data)
    quantities = [quantity for _, quantity in levels] + _QUANTITIES.findall(frame.data)
    decimals.price = max(decimals.price, _most_decimals(prices))
    decimals.quantity = max(decimals.quantity, _most_decimals(quantities))


def _most_decimals(numbers: list[bytes]) -> int:
    return max((len(number.partition(b".")[2].rstrip(b"0")) for number in numbers), default=0)


def _step(decimals: int) -> str:
    return f"0.{'0' * (decimals - 1)}1" if decimals else "1"


def split_symbol(symbol: str) -> tuple[str, str]:
    """(base, quote) by the quotes that Binance uses; the last four letters where none fits."""
    pair = symbol.partition("_")[0]
    quote = next((quote for quote in _QUOTES if pair.endswith(quote) and len(pair) > len(quote)), pair[-4:])
    return pair.removesuffix(quote), quote


def _filters(decimals: _Decimals) -> list[dict[str, object]]:
    tick, step = _step(decimals.price), _step(decimals.quantity)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000000000", "stepSize": step},
    ]


def _spot_symbol(symbol: str, decimals: _Decimals) -> dict[str, object]:
    base, quote = split_symbol(symbol)
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "isSpotTradingAllowed": True,
        "filters": [*_filters(decimals), {"filterType": "NOTIONAL", "minNotional": "5"}],
    }


def _usdm_symbol(symbol: str, decimals: _Decimals) -> dict[str, object]:
    base, quote = split_symbol(symbol)
    return {
        "symbol": symbol,
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": quote,
        "underlyingType": "COIN",
        "filters": [*_filters(decimals), {"filterType": "MIN_NOTIONAL", "notional": "5"}],
    }


class TapeBooks:
    """The books of all symbols at the place the play has reached."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._books: dict[str, PlainBook] = {}
        self.mark_prices: dict[str, dict[str, Any]] = {}

    def follow(self, frame: TapeFrame) -> bool:
        """Take one frame in; True when it is a snapshot that gave its symbol a book which had none."""
        kind = frame.stream.partition("@")[2]
        if kind == "depthSnapshot":
            book = self._book(frame.symbol)
            had_one = book.stands
            book.snapshot(json.loads(frame.data))
            return not had_one
        if kind == "depth" or kind.startswith("depth@"):
            self._book(frame.symbol).diff(json.loads(frame.data))
        elif kind.startswith("markPrice"):
            self.mark_prices[frame.symbol] = json.loads(frame.data)
        return False

    def _book(self, symbol: str) -> PlainBook:
        return self._books.setdefault(symbol, PlainBook(self._market))

    def body(self, symbol: str, limit: int) -> dict[str, object] | None:
        """The body of REST depth, or None while the symbol has no book."""
        book = self._books.get(symbol)
        return book.body(limit) if book is not None and book.stands else None
