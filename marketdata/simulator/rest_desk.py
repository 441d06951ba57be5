"""REST of the simulated exchange: a path goes in, status, headers and body come out. Request weights are metered."""

import json
from collections.abc import Callable

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.target import Answer, Target
from marketdata.simulator.venue import Venue
from marketdata.simulator.wire import NS_PER_MS

MINUTE_NS = 60 * NS_PER_S
WEIGHT_LIMITS = {Market.SPOT: 6000, Market.USDM: 2400}
_DEPTH_WEIGHTS = {
    Market.SPOT: ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    Market.USDM: ((50, 2), (100, 5), (500, 10), (1000, 20)),
}
_USDM_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
_DEFAULT_DEPTH = {Market.SPOT: 100, Market.USDM: 500}
_EXCHANGE_INFO_WEIGHT = {Market.SPOT: 20, Market.USDM: 1}


class _Refusal(Exception):
    def __init__(self, status: int, code: int, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.answer = Answer(status, _json({"code": code, "msg": message}), headers)


class RestDesk:
    """Answer requests to `/api/v3/...` on spot and `/fapi/v1/...` on USD-M."""

    def __init__(self, venue: Venue, clock_ns: Callable[[], int]) -> None:
        self._venue = venue
        self._clock_ns = clock_ns
        self._prefix = "/api/v3/" if venue.market is Market.SPOT else "/fapi/v1/"
        self._minute = -1
        self.used_weight = 0
        self.requests = 0

    def answer(self, target: Target) -> Answer:
        self.requests += 1
        try:
            if not target.path.startswith(self._prefix):
                raise _Refusal(404, -1, f"{target.path} is not served here")
            answer = self._route(target.path.removeprefix(self._prefix), target.query)
        except _Refusal as refusal:
            answer = refusal.answer
        used = ("X-MBX-USED-WEIGHT-1M", str(self.used_weight))
        return answer._replace(headers=(*answer.headers, used))

    def _route(self, name: str, query: dict[str, str]) -> Answer:
        if name == "ping":
            self._charge(1)
            return Answer(200, b"{}")
        if name == "time":
            self._charge(1)
            return Answer(200, _json({"serverTime": self._clock_ns() // NS_PER_MS}))
        if name == "exchangeInfo":
            self._charge(_EXCHANGE_INFO_WEIGHT[self._venue.market])
            return Answer(200, _json(self._venue.exchange_info()))
        if name == "depth":
            return self._depth(query)
        if name == "premiumIndex" and self._venue.market is Market.USDM:
            return self._premium_index(query)
        raise _Refusal(404, -1, f"{self._prefix}{name} is not served here")

    def _depth(self, query: dict[str, str]) -> Answer:
        symbol, limit = self._known_symbol(query), self._limit(query)
        self._charge(next((weight for most, weight in _DEPTH_WEIGHTS[self._venue.market] if limit <= most), 250))
        body = self._venue.depth(symbol, limit)
        if body is None:
            raise _Refusal(503, -1, f"the book of {symbol} is not built yet", ("Retry-After", "1"))
        return Answer(200, body if isinstance(body, bytes) else _json(body))

    def _premium_index(self, query: dict[str, str]) -> Answer:
        if "symbol" in query:
            self._charge(1)
            return Answer(200, _json(self._venue.premium_index(self._known_symbol(query)) or {}))
        self._charge(10)
        rows = [self._venue.premium_index(symbol) for symbol in self._venue.symbols]
        return Answer(200, _json([row for row in rows if row is not None]))

    def _known_symbol(self, query: dict[str, str]) -> str:
        symbol = query.get("symbol", "")
        if not symbol:
            raise _Refusal(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self._venue.symbols:
            raise _Refusal(400, -1121, "Invalid symbol.")
        return symbol

    def _limit(self, query: dict[str, str]) -> int:
        text = query.get("limit", str(_DEFAULT_DEPTH[self._venue.market]))
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise _Refusal(400, -1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")
        if self._venue.market is Market.USDM and int(text) not in _USDM_LIMITS:
            raise _Refusal(400, -4021, f"{text} is not valid depth limit.")
        return min(int(text), 5000)

    def _charge(self, weight: int) -> None:
        """Count `weight` in this clock minute; refuse what goes beyond the limit."""
        now_ns = self._clock_ns()
        if now_ns // MINUTE_NS != self._minute:
            self._minute, self.used_weight = now_ns // MINUTE_NS, 0
        self.used_weight += weight
        if self.used_weight > WEIGHT_LIMITS[self._venue.market]:
            wait_s = (MINUTE_NS - now_ns % MINUTE_NS) // NS_PER_S + 1
            raise _Refusal(429, -1003, "Too many requests.", ("Retry-After", str(wait_s)))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
