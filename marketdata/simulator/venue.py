"""What the server asks of whatever it serves: a living simulated market, or the tape of a recorded one."""

from collections.abc import Sequence
from typing import Protocol

from marketdata.events import Market
from marketdata.simulator.damage import shift_ids
from marketdata.simulator.market import Message, OracleBook, SimulatedMarket
from marketdata.simulator.surges import PlantedSurge
from marketdata.simulator.tape import TapeBooks, TapeSurvey
from marketdata.simulator.wire import NS_PER_MS

TRADING = "TRADING"


class Venue(Protocol):
    market: Market

    @property
    def now_ns(self) -> int: ...

    @property
    def symbols(self) -> tuple[str, ...]: ...

    @property
    def surges(self) -> list[PlantedSurge]: ...

    def exchange_info(self) -> dict[str, object]: ...

    def depth(self, symbol: str, limit: int) -> bytes | dict[str, object] | None:
        """The body of REST depth; None while the symbol has no book."""

    def premium_index(self, symbol: str) -> dict[str, object] | None: ...

    def oracle_book(self, symbol: str) -> OracleBook | None: ...


class LivingVenue:
    """A simulated market, and what its operator does to it: listings, delistings, renamings, jumps of the ids.

    The first name of a coin is its identity inside; `unlisted` coins live and trade, but nobody is told.
    """

    def __init__(self, simulated: SimulatedMarket, unlisted: Sequence[str] = ()) -> None:
        self.simulated = simulated
        self.market = simulated.market
        self.statuses: dict[str, str] = {}
        self._unlisted = set(unlisted)
        self._names: dict[str, str] = {}
        self._id_shifts: dict[str, int] = {}

    @property
    def now_ns(self) -> int:
        return self.simulated.now_ns

    @property
    def symbols(self) -> tuple[str, ...]:
        """The listed symbols by their present names."""
        listed = (symbol for symbol in self.simulated.symbols if symbol not in self._unlisted)
        return tuple(self._names.get(symbol, symbol) for symbol in listed)

    @property
    def surges(self) -> list[PlantedSurge]:
        return self.simulated.surges

    def advance(self, until_ns: int) -> list[Message]:
        """Live until `until_ns`; return what the public hears."""
        messages = self.simulated.advance(until_ns)
        if self._unlisted or self.statuses or self._names or self._id_shifts:
            return [told for message in messages if (told := self._told(message)) is not None]
        return messages

    def _told(self, message: Message) -> Message | None:
        ts_ns, stream, data = message
        coin, _, kind = stream.partition("@")
        symbol = coin.upper()
        name = self._names.get(symbol, symbol)
        if symbol in self._unlisted or self.status(name) != TRADING:
            return None
        if symbol in self._id_shifts and kind != "aggTrade":
            data = shift_ids(data, self._id_shifts[symbol])
        if name != symbol:
            data = data.replace(f'"s":"{symbol}"'.encode(), f'"s":"{name}"'.encode())
        return ts_ns, f"{name.lower()}@{kind}", data

    def _identity(self, name: str) -> str:
        return next((symbol for symbol, given in self._names.items() if given == name), name)

    # What the operator does

    def status(self, name: str) -> str:
        return self.statuses.get(name, TRADING)

    def set_status(self, name: str, status: str) -> None:
        """TRADING, HALT, BREAK, CANCEL_ONLY or any word; only TRADING symbols say anything."""
        if name not in self.symbols:
            raise ValueError(f"no symbol {name!r}")
        self.statuses[name] = status
        if status == TRADING:
            del self.statuses[name]

    def enlist(self, name: str = "") -> str:
        """List an unlisted coin, the first one without a name."""
        waiting = [symbol for symbol in self.simulated.symbols if symbol in self._unlisted]
        symbol = self._identity(name) if name else (waiting or [""])[0]
        if symbol not in self._unlisted:
            raise ValueError(f"nothing to list: {name or 'no coin'} is not waiting")
        self._unlisted.discard(symbol)
        return self._names.get(symbol, symbol)

    def delist(self, name: str) -> None:
        if name not in self.symbols:
            raise ValueError(f"no symbol {name!r}")
        self._unlisted.add(self._identity(name))

    def rename(self, name: str, new: str) -> None:
        if name not in self.symbols or new in self.symbols:
            raise ValueError(f"{name!r} cannot become {new!r}")
        self._names[self._identity(name)] = new

    def skip_ids(self, name: str, ids: int) -> None:
        """From now on this coin's update ids are `ids` further on; a negative number is what a restart does."""
        if name not in self.symbols:
            raise ValueError(f"no symbol {name!r}")
        symbol = self._identity(name)
        self._id_shifts[symbol] = self._id_shifts.get(symbol, 0) + ids

    # What the public may ask

    def exchange_info(self) -> dict[str, object]:
        info = self.simulated.exchange_info()
        rows = []
        for row in info["symbols"]:  # type: ignore[attr-defined]
            if row["symbol"] in self._unlisted:
                continue
            name = self._names.get(row["symbol"], row["symbol"])
            rows.append(row | {"symbol": name, "status": self.status(name)})
        return info | {"symbols": rows}

    def depth(self, symbol: str, limit: int) -> bytes | dict[str, object] | None:
        identity = self._identity(symbol)
        body = self.simulated.snapshot(identity, limit)
        shift = self._id_shifts.get(identity, 0)
        if shift:
            head, _, rest = body.partition(b",")
            body = b'{"lastUpdateId":%d,%b' % (int(head.rpartition(b":")[2]) + shift, rest)
        return body

    def premium_index(self, symbol: str) -> dict[str, object] | None:
        return self.simulated.premium_index(self._identity(symbol)) | {"symbol": symbol}

    def oracle_book(self, symbol: str) -> OracleBook | None:
        identity = self._identity(symbol)
        book = self.simulated.oracle_book(identity)
        return book._replace(last_update_id=book.last_update_id + self._id_shifts.get(identity, 0))


class TapeVenue:
    """A capture; its time is that of the line reached."""

    def __init__(self, found: TapeSurvey) -> None:
        self.survey = found
        self.market = found.market
        self.books = TapeBooks(found.market)
        self.now_ns = found.first_ns

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.survey.symbols)

    @property
    def surges(self) -> list[PlantedSurge]:
        return []

    def exchange_info(self) -> dict[str, object]:
        return self.survey.exchange_info(self.now_ns // NS_PER_MS)

    def depth(self, symbol: str, limit: int) -> bytes | dict[str, object] | None:
        return self.books.body(symbol, limit)

    def premium_index(self, symbol: str) -> dict[str, object] | None:
        mark = self.books.mark_prices.get(symbol)
        if mark is None:
            return None
        return {
            "symbol": symbol,
            "markPrice": mark["p"],
            "indexPrice": mark.get("i", mark["p"]),
            "estimatedSettlePrice": mark.get("P", mark["p"]),
            "lastFundingRate": mark.get("r", "0"),
            "nextFundingTime": mark.get("T", 0),
            "time": mark["E"],
        }

    def oracle_book(self, symbol: str) -> OracleBook | None:
        body = self.books.body(symbol, 1 << 30)
        if body is None:
            return None
        sides = [[(level[0], level[1]) for level in body[side]] for side in ("bids", "asks")]  # type: ignore[attr-defined]
        return OracleBook(int(body["lastUpdateId"]), sides[0], sides[1])  # type: ignore[call-overload]
