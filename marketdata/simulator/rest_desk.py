"""REST of the simulated exchange: a path goes in, status, headers and body come out. Request weights are metered."""

import json
from collections import deque
from collections.abc import Callable

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.damage import shift_times, to_microseconds
from marketdata.simulator.faults import Faults
from marketdata.simulator.penalties import MINUTE_NS, Penalties, Verdict
from marketdata.simulator.rest_faults import RestFault, RestFaults, spoilt_answer, with_unknown_words
from marketdata.simulator.target import Answer, Target
from marketdata.simulator.venue import Venue
from marketdata.simulator.wire import NS_PER_MS

WEIGHT_LIMITS = {Market.SPOT: 6000, Market.USDM: 2400}
_DEPTH_WEIGHTS = {
    Market.SPOT: ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    Market.USDM: ((50, 2), (100, 5), (500, 10), (1000, 20)),
}
_USDM_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
_DEFAULT_DEPTH = {Market.SPOT: 100, Market.USDM: 500}
_EXCHANGE_INFO_WEIGHT = {Market.SPOT: 20, Market.USDM: 1}
_TRADES_WEIGHT = {Market.SPOT: 4, Market.USDM: 20}
KEPT_TRADES = 20_000
"""Aggregate trades per symbol that REST can still tell."""

_WORDS = {418: "Way too many requests; IP banned until {until}.", 429: "Too many requests."}


class _Refusal(Exception):
    def __init__(self, status: int, code: int, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.answer = Answer(status, _json({"code": code, "msg": message}), headers)


class RestDesk:
    """Answer requests to `/api/v3/...` on spot and `/fapi/v1/...` on USD-M.

    Parameters
    ----------
    faults : Faults
        The message knobs: REST shares their clock skew and their unit of time.
    speed : float
        How many times faster than life the exchange's clock runs: a `Retry-After` is in the caller's seconds.
    """

    def __init__(
        self, venue: Venue, clock_ns: Callable[[], int], faults: Faults | None = None, speed: float = 1.0
    ) -> None:
        self._venue = venue
        self._clock_ns = clock_ns
        self._message_faults = faults or Faults()
        self._speed = speed
        self._prefix = "/api/v3/" if venue.market is Market.SPOT else "/fapi/v1/"
        self._trades: dict[str, deque[tuple[int, bytes]]] = {}
        self.faults = RestFaults()
        self.penalties = Penalties()
        self.requests = 0

    @property
    def used_weight(self) -> int:
        return self.penalties.used_weight

    @used_weight.setter
    def used_weight(self, weight: int) -> None:
        self.penalties.minute = self._clock_ns() // MINUTE_NS
        self.penalties.used_weight = weight

    def answer(self, target: Target) -> Answer:
        self.requests += 1
        name, symbol = target.path.removeprefix(self._prefix), target.query.get("symbol", "")
        fault = self.faults.take(name, symbol)
        try:
            if not target.path.startswith(self._prefix):
                raise _Refusal(404, -1, f"{target.path} is not served here")
            answer = self._route(name, target.query)
        except _Refusal as refusal:
            answer = refusal.answer
        if fault is not None:
            self._punish(fault)
            answer = spoilt_answer(fault, answer)
        used = ("X-MBX-USED-WEIGHT-1M", str(self.used_weight))
        return answer._replace(headers=(*answer.headers, used))

    def note_trade(self, symbol: str, trade_id: int, data: bytes) -> None:
        """Remember an aggregate trade, so that callers can ask for it later."""
        self._trades.setdefault(symbol, deque(maxlen=KEPT_TRADES)).append((trade_id, data))

    def _punish(self, fault: RestFault) -> None:
        """A refusal by knob is a real one: who ignores it is banned as by the meter."""
        wait_ns = round(fault.retry_after_s * NS_PER_S * self._speed)
        if fault.kind == "status" and fault.status == 429:
            self.penalties.refuse(wait_ns, self._clock_ns())
        if fault.kind == "status" and fault.status == 418:
            self.penalties.ban(wait_ns, self._clock_ns())

    def _route(self, name: str, query: dict[str, str]) -> Answer:
        if name == "ping":
            self._charge(1)
            return Answer(200, b"{}")
        if name == "time":
            self._charge(1)
            return Answer(200, _json({"serverTime": self._server_time()}))
        if name == "exchangeInfo":
            self._charge(_EXCHANGE_INFO_WEIGHT[self._venue.market])
            info = self._venue.exchange_info()
            return Answer(200, _json(with_unknown_words(info) if self.faults.enums else info))
        if name == "depth":
            return self._depth(query)
        if name == "aggTrades":
            return self._agg_trades(query)
        if name == "premiumIndex" and self._venue.market is Market.USDM:
            return self._premium_index(query)
        raise _Refusal(404, -1, f"{self._prefix}{name} is not served here")

    def _server_time(self) -> int:
        time_ms = self._clock_ns() // NS_PER_MS + self._message_faults.skew_ms
        return time_ms * 1000 if self._message_faults.microseconds else time_ms

    def _depth(self, query: dict[str, str]) -> Answer:
        symbol, limit = self._known_symbol(query), self._limit(query)
        self._charge(next((weight for most, weight in _DEPTH_WEIGHTS[self._venue.market] if limit <= most), 250))
        old = self.faults.take_old_snapshot(symbol)
        if old is not None:
            return Answer(200, old)
        body = self._venue.depth(symbol, min(limit, self.faults.depth_cap or limit))
        if body is None:
            raise _Refusal(503, -1, f"the book of {symbol} is not built yet", ("Retry-After", "1"))
        return Answer(200, self._timed(body if isinstance(body, bytes) else _json(body)))

    def _timed(self, body: bytes) -> bytes:
        if self._message_faults.skew_ms:
            body = shift_times(body, self._message_faults.skew_ms)
        return to_microseconds(body) if self._message_faults.microseconds else body

    def keep_snapshots(self, count: int) -> None:
        """A cache that is not refreshed: the next `count` callers of depth get the books of this moment."""
        bodies = {symbol: self._venue.depth(symbol, 1000) for symbol in self._venue.symbols}
        self.faults.old_snapshots = {symbol: body for symbol, body in bodies.items() if isinstance(body, bytes)}
        self.faults.old_left = count

    def _agg_trades(self, query: dict[str, str]) -> Answer:
        symbol = self._known_symbol(query)
        self._charge(_TRADES_WEIGHT[self._venue.market])
        first, limit = _whole(query, "fromId", 0), min(1000, _whole(query, "limit", 500))
        trades = list(self._trades.get(symbol, ()))
        chosen = [one for one in trades if one[0] >= first][:limit] if "fromId" in query else trades[-limit:]
        return Answer(200, _json([_trade_row(json.loads(data)) for _, data in chosen]))

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
        limit = _whole(query, "limit", _DEFAULT_DEPTH[self._venue.market])
        if self._venue.market is Market.USDM and limit not in _USDM_LIMITS:
            raise _Refusal(400, -4021, f"{limit} is not valid depth limit.")
        return min(limit, 5000)

    def _charge(self, weight: int) -> None:
        """Count `weight` in this clock minute; refuse what goes beyond the limit, ban who does not listen."""
        now_ns = self._clock_ns()
        verdict = self.penalties.charge(weight, WEIGHT_LIMITS[self._venue.market], now_ns)
        if verdict is not None:
            raise self._refusal(verdict, now_ns)

    def _refusal(self, verdict: Verdict, now_ns: int) -> _Refusal:
        wait_s = int(verdict.wait_ns / NS_PER_S / self._speed) + 1
        words = _WORDS[verdict.status].format(until=(now_ns + verdict.wait_ns) // NS_PER_MS)
        return _Refusal(verdict.status, -1003, words, ("Retry-After", str(wait_s)))


def _whole(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or (name == "limit" and int(text) < 1):
        raise _Refusal(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _trade_row(data: dict[str, object]) -> dict[str, object]:
    """A message of the stream as a row of REST: without event type, event time and symbol."""
    return {name: value for name, value in data.items() if name not in ("e", "E", "s")}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
