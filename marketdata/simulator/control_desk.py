"""The `/sim/` address of the simulated exchange: ground truth, the oracle's books and the knobs for faults."""

import json
from typing import Protocol

from marketdata.simulator.faults import Faults
from marketdata.simulator.target import Answer, Target
from marketdata.simulator.venue import Venue


class Exchange(Protocol):
    """What the desk needs of the server."""

    venue: Venue
    faults: Faults

    def cut(self, code: int, symbol: str) -> int: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def state(self) -> dict[str, object]: ...


class ControlDesk:
    """Every command is a GET, because the parser of websocket handshakes knows no other method."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def answer(self, target: Target) -> Answer:
        try:
            result = self._run(target.path.removeprefix("/sim/"), target.query)
        except (KeyError, ValueError) as error:
            return _json(400, {"error": f"{target.path} needs other parameters: {error}"})
        if result is None:
            return _json(404, {"error": f"nothing at {target.path}"})
        return _json(200, result)

    def _run(self, name: str, query: dict[str, str]) -> object:
        exchange = self._exchange
        if name == "surges":
            return [surge._asdict() for surge in exchange.venue.surges]
        if name == "book":
            return self._book(query["symbol"])
        if name == "cut":
            return {"cut": exchange.cut(int(query.get("code", "1006")), query.get("symbol", ""))}
        if name == "drop":
            exchange.faults.drop(query["stream"], int(query.get("count", "1")))
        elif name == "stall":
            exchange.faults.stall(query.get("stream", "*"))
        elif name == "heal":
            exchange.faults.heal()
        elif name == "pause":
            exchange.pause()
        elif name == "resume":
            exchange.resume()
        elif name != "state":
            return None
        return exchange.state()

    def _book(self, symbol: str) -> object:
        if symbol not in self._exchange.venue.symbols:
            raise ValueError(f"no symbol {symbol!r}")
        book = self._exchange.venue.oracle_book(symbol)
        return book._asdict() if book is not None else {"last_update_id": None, "bids": [], "asks": []}


def _json(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())
