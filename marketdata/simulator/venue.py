"""What the server asks of whatever it serves: a living simulated market, or the tape of a recorded one."""

from typing import Protocol

from marketdata.events import Market
from marketdata.simulator.market import OracleBook, SimulatedMarket
from marketdata.simulator.surges import PlantedSurge
from marketdata.simulator.tape import TapeBooks, TapeSurvey
from marketdata.simulator.wire import NS_PER_MS


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
    """A simulated market."""

    def __init__(self, simulated: SimulatedMarket) -> None:
        self.simulated = simulated
        self.market = simulated.market

    @property
    def now_ns(self) -> int:
        return self.simulated.now_ns

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.simulated.symbols

    @property
    def surges(self) -> list[PlantedSurge]:
        return self.simulated.surges

    def exchange_info(self) -> dict[str, object]:
        return self.simulated.exchange_info()

    def depth(self, symbol: str, limit: int) -> bytes | dict[str, object] | None:
        return self.simulated.snapshot(symbol, limit)

    def premium_index(self, symbol: str) -> dict[str, object] | None:
        return self.simulated.premium_index(symbol)

    def oracle_book(self, symbol: str) -> OracleBook | None:
        return self.simulated.oracle_book(symbol)


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
