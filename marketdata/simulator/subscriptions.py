"""One websocket client as the exchange sees it: its path, its subscriptions, its manners. No sockets here.

Binance acknowledges nearly everything. A stream that does not exist, is spelt in upper case or belongs to another route
is acknowledged and stays silent; only malformed requests and too many streams get an error.
"""

import json
from collections import deque
from typing import Any, NamedTuple

from marketdata.events import Market
from marketdata.simulator.target import Target

MAX_STREAMS = 1024
POLICY_VIOLATION = 1008
ACK_FAULTS = ("drop", "lost", "partial", "error", "mute")
"""Neither subscribed nor answered; acknowledged only; half subscribed; refused; subscribed without an answer."""

_PUBLIC_KINDS = ("depth", "bookTicker", "rpiDepth")
_METHODS = "SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY"


class Route(NamedTuple):
    """Where a client connected: `name` is public, market, private or "" (no route)."""

    name: str
    combined: bool
    streams: tuple[str, ...]


def parse_route(market: Market, target: Target) -> Route | None:
    """Return the route of a websocket address, None when there is nothing at it."""
    segments = target.path.strip("/").split("/")
    name = segments.pop(0) if market is Market.USDM and segments[0] in ("public", "market", "private") else ""
    if segments[:1] == ["ws"]:
        return Route(name, False, tuple(filter(None, segments[1:])))
    if segments == ["stream"]:
        return Route(name, True, tuple(filter(None, target.query.get("streams", "").split("/"))))
    return None


def route_carries(market: Market, route_name: str, stream: str) -> bool:
    """Futures split their streams by route; a connection without one carries the public part only."""
    if market is Market.SPOT:
        return True
    kind = stream.partition("@")[2] or stream.removeprefix("!")
    is_public = kind.startswith(_PUBLIC_KINDS)
    return {"public": is_public, "": is_public, "market": not is_public}.get(route_name, False)


class Reply(NamedTuple):
    """What the exchange answers, and whether it hangs up afterwards."""

    text: str
    close_code: int = 0
    close_reason: str = ""


class Session:
    """The subscriptions of one connection. `streams` keeps the order in which they were asked for."""

    def __init__(self, market: Market, route: Route, max_streams: int = MAX_STREAMS) -> None:
        self.market = market
        self.route = route
        self.max_streams = max_streams
        self.streams: dict[str, None] = dict.fromkeys(route.streams)

    @property
    def is_full(self) -> bool:
        return len(self.streams) > self.max_streams

    def hears(self, stream: str) -> bool:
        return stream in self.streams and route_carries(self.market, self.route.name, stream)

    def handle(self, text: str | bytes, fault: str = "") -> Reply:
        """Answer one message of the client and remember what it subscribed to; `fault` is one of `ACK_FAULTS`."""
        before = self.streams.copy()
        reply = self._answer(text)
        if fault in ("lost", "error", "drop"):
            self.streams = before
        elif fault == "partial":
            asked = [name for name in self.streams if name not in before]
            self.streams = before | dict.fromkeys(asked[: len(asked) // 2])
        if fault in ("drop", "mute"):
            return Reply("")
        return _error(-1, "Internal error", None) if fault == "error" else reply

    def _answer(self, text: str | bytes) -> Reply:
        try:
            request = json.loads(text)
        except ValueError:
            return _error(3, "Invalid JSON: expected value at line 1 column 1", None)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: not an object", None)
        request_id = request.get("id")
        if not _is_id(request_id):
            return _error(2, "Invalid request: request ID must be an integer, a string of at most 36 or null", None)
        return self._run(request.get("method"), request.get("params", []), request_id)

    def _run(self, method: object, params: object, request_id: Any) -> Reply:
        if method == "LIST_SUBSCRIPTIONS":
            return _result(list(self.streams), request_id)
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {_METHODS}", request_id)
        if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            return _error(2, "Invalid request: params must be a list of stream names", request_id)
        if method == "UNSUBSCRIBE":
            for name in params:
                self.streams.pop(name, None)
            return _result(None, request_id)
        self.streams.update(dict.fromkeys(params))
        if self.is_full:
            refusal = _error(4, f"Too many streams: the limit is {self.max_streams} for one connection", request_id)
            return refusal._replace(close_code=POLICY_VIOLATION, close_reason="too many streams")
        return _result(None, request_id)


def _is_id(value: object) -> bool:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return True
    return isinstance(value, str) and len(value) <= 36


def _result(result: object, request_id: Any) -> Reply:
    return Reply(json.dumps({"result": result, "id": request_id}, separators=(",", ":"), ensure_ascii=False))


def _error(code: int, message: str, request_id: Any) -> Reply:
    return Reply(json.dumps({"code": code, "msg": message, "id": request_id}, separators=(",", ":")))


class MessageRate:
    """Frames a client sent within the last second, control frames included."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self.most = 0
        self._times: deque[float] = deque()

    def is_too_fast(self, now_s: float) -> bool:
        """Count one frame and say whether it was one too many."""
        self._times.append(now_s)
        while self._times[0] <= now_s - 1.0:
            self._times.popleft()
        self.most = max(self.most, len(self._times))
        return len(self._times) > self._per_s


def messages_per_s(market: Market) -> int:
    return 5 if market is Market.SPOT else 10
