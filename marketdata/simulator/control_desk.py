"""The `/sim/` address of the simulated exchange: ground truth, the oracle's books, the ledger and every knob."""

import json
from typing import Protocol

from marketdata.simulator.knobs import FAULTS, KNOBS, Exchange, turn
from marketdata.simulator.ledger import Ledger
from marketdata.simulator.target import Answer, Target


class Desked(Exchange, Protocol):
    """What the desk needs of the server."""

    ledger: Ledger | None

    def state(self) -> dict[str, object]: ...


class ControlDesk:
    """Every command is a GET, because the parser of websocket handshakes knows no other method."""

    def __init__(self, exchange: Desked) -> None:
        self._exchange = exchange

    def answer(self, target: Target) -> Answer:
        try:
            result = self._run(target.path.removeprefix("/sim/"), target.query)
        except (KeyError, TypeError, ValueError) as error:
            return _json(400, {"error": f"{target.path} needs other parameters: {error}"})
        if result is None:
            return _json(404, {"error": f"nothing at {target.path}; /sim/knobs lists what there is"})
        return _json(200, result)

    def _run(self, name: str, query: dict[str, str]) -> object:
        exchange = self._exchange
        if name in KNOBS:
            told = turn(exchange, name, query)
            return exchange.state() if told is None else told
        if name == "state":
            return exchange.state()
        if name == "surges":
            return [surge._asdict() for surge in exchange.venue.surges]
        if name == "book":
            return self._book(query["symbol"])
        if name == "ledger":
            return self._ledger(query)
        if name == "knobs":
            return {knob.name: {"text": knob.text, "parameters": list(knob.parameters)} for knob in KNOBS.values()}
        if name == "faults":
            return [fault._asdict() for fault in FAULTS]
        return None

    def _ledger(self, query: dict[str, str]) -> object:
        ledger = self._exchange.ledger
        if ledger is None:
            raise ValueError("this exchange keeps no ledger: start it without --no-ledger")
        if "stream" in query:
            return ledger.row(query["stream"])
        return {"messages": ledger.messages, "spans": {stream: len(spans) for stream, spans in ledger.sent.items()}}

    def _book(self, symbol: str) -> object:
        if symbol not in self._exchange.venue.symbols:
            raise ValueError(f"no symbol {symbol!r}")
        book = self._exchange.venue.oracle_book(symbol)
        return book._asdict() if book is not None else {"last_update_id": None, "bids": [], "asks": []}


def _json(status: int, value: object) -> Answer:
    return Answer(status, json.dumps(value, ensure_ascii=False).encode())
