"""DOOR: the few REST calls a market-data client needs, with Binance's refusals as typed errors.

    RestError
    +-- TransportError          no answer, or an answer that is no JSON: try again later
    +-- OverBudgetError         nothing was sent: the weight of this minute is spent, .retry_after_s
    +-- HttpError               .status .code .message
        +-- NotReadyError       5xx: state unknown, .retry_after_s when the exchange said so
        +-- RateLimitError      429: stop until .retry_after_s has passed
        |   +-- BannedError     418: the address is banned for .retry_after_s
        +-- ForbiddenError      403: the firewall (treated as a ban of 5 minutes)
        +-- RegionError         451: not served from this country; no use in trying again

`urllib` in a thread does the HTTP: TLS with the system's certificates, chunks and redirects are the standard library's,
name lookups stay off the event loop, and nothing is added to the requirements. A call opens its own connection: a
client makes a handful of calls a minute, so keeping one open would buy nothing. Proxies named in the environment are
not used.
"""

import asyncio
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from http.client import HTTPException
from typing import Any, NamedTuple

from marketdata.binance.instruments import parse_exchange_info
from marketdata.binance.weight import SharedWeight
from marketdata.binance.weight_budget import LIMITS, WeightBudget, request_weight
from marketdata.events import Market
from marketdata.universe import InstrumentInfo

MAX_BODY_BYTES = 64 << 20
FIREWALL_WAIT_S = 300.0
_PREFIXES = {Market.SPOT: "/api/v3/", Market.USDM: "/fapi/v1/"}
_MINUTE_S = 60


class RestError(Exception):
    """A REST call failed; the message says which and how."""


class TransportError(RestError):
    """No usable answer came."""


class OverBudgetError(RestError):
    """Our own thrift: the exchange was not asked."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the request weight of this minute is spent (nothing sent, {retry_after_s:.0f} s left)")
        self.retry_after_s = retry_after_s


class HttpError(RestError):
    def __init__(self, status: int, code: int, message: str, retry_after_s: float | None, url: str) -> None:
        super().__init__(f"{url} answered {status}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class NotReadyError(HttpError):
    pass


class RateLimitError(HttpError):
    pass


class BannedError(RateLimitError):
    pass


class ForbiddenError(HttpError):
    pass


class RegionError(HttpError):
    pass


_ERRORS: dict[int, type[HttpError]] = {429: RateLimitError, 418: BannedError, 403: ForbiddenError, 451: RegionError}


class _Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes


class RestClient:
    """Calls one market's REST. `used_weight` is what the exchange counted for this address in the running minute.

    Parameters
    ----------
    timeout_s : float
        For the whole call.
    weight : SharedWeight, optional
        The budget of this address; without one the client keeps its own.
    """

    def __init__(
        self, base_url: str, market: Market, *, timeout_s: float = 10.0, weight: SharedWeight | None = None
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(f"the REST address {base_url!r} must begin with http:// or https://")
        self.base_url = base_url.rstrip("/")
        self.market = market
        self.used_weight = 0
        self._timeout_s = timeout_s
        self._weight = weight or SharedWeight(None, market.value, WeightBudget(LIMITS[market]), time.time)
        self._refusal: HttpError | None = None
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)

    async def ping(self) -> None:
        await self._get("ping")

    async def server_time_ms(self) -> int:
        body = await self._get_json("time")
        return int(_require(body, "serverTime"))

    async def exchange_info(self) -> list[InstrumentInfo]:
        body = await self._get_json("exchangeInfo")
        try:
            return parse_exchange_info(body)
        except ValueError as error:
            raise TransportError(f"{self.base_url} exchangeInfo: {error}") from error

    async def depth(self, symbol: str, limit: int = 1000) -> bytes:
        """Return the body as it came, checked to be a snapshot: the capture records these bytes."""
        raw = await self._get("depth", symbol=symbol, limit=str(limit))
        body = _parse(raw, f"{self.base_url} depth {symbol}")
        for name in ("lastUpdateId", "bids", "asks"):
            _require(body, name)
        return raw

    async def _get_json(self, name: str, **query: str) -> Any:
        return _parse(await self._get(name, **query), f"{self.base_url} {name}")

    async def _get(self, name: str, **query: str) -> bytes:
        """One GET, paid from the budget; while a refusal lasts nothing is sent and the refusal is raised again."""
        url = f"{self.base_url}{_PREFIXES[self.market]}{name}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.to_thread(self._pay, request_weight(self.market, name, _limit_of(query)))
                answer = await asyncio.to_thread(self._fetch, url)
        except (TimeoutError, OSError, HTTPException) as error:
            raise TransportError(f"{url} gave no answer: {error or 'timed out'}") from error
        await asyncio.to_thread(self._account, answer)
        if answer.status != 200:
            raise self._refused(answer, url)
        return answer.body

    def _pay(self, weight: int) -> None:
        grant = self._weight.take(weight)
        if grant.is_shut:
            message = f"the exchange refuses this address (nothing sent, {grant.wait_s:.0f} s left)"
            known = self._refusal or RateLimitError(429, -1003, message, None, self.base_url)
            raise type(known)(known.status, known.code, message, grant.wait_s, self.base_url)
        if grant.wait_s > 0.0:
            raise OverBudgetError(grant.wait_s)

    def _account(self, answer: _Answer) -> None:
        """Tell the budget what the exchange counted and what it refused."""
        used = answer.headers.get("X-MBX-USED-WEIGHT-1M") or ""
        if used.isascii() and used.isdigit():
            self.used_weight = int(used)
            self._weight.note_used(self.used_weight)
        wait_s = _retry_after_s(answer)
        if answer.status in (429, 418, 403) and wait_s is not None:
            self._weight.shut(wait_s)

    def _fetch(self, url: str) -> _Answer:
        request = urllib.request.Request(url, headers={"User-Agent": "surge", "Accept": "application/json"})
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return _Answer(response.status, response.headers, response.read(MAX_BODY_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, error.headers, error.read(1 << 16))

    def _refused(self, answer: _Answer, url: str) -> HttpError:
        code, message = _error_of(answer.body)
        wait_s = _retry_after_s(answer)
        kind = _ERRORS.get(answer.status, NotReadyError if answer.status >= 500 else HttpError)
        error = kind(answer.status, code, message, wait_s, url)
        if isinstance(error, RateLimitError | ForbiddenError):
            self._refusal = error
        return error


def _limit_of(query: dict[str, str]) -> int | None:
    return int(query["limit"]) if "limit" in query else None


def _retry_after_s(answer: _Answer) -> float | None:
    text = (answer.headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    return {429: float(_MINUTE_S), 418: 2.0 * _MINUTE_S, 403: FIREWALL_WAIT_S}.get(answer.status)


def _error_of(body: bytes) -> tuple[int, str]:
    """Binance's own code and message, or the beginning of whatever else answered."""
    try:
        fields = json.loads(body)
        return int(fields["code"]), str(fields["msg"])
    except (ValueError, KeyError, TypeError):
        return 0, body[:120].decode(errors="replace").strip() or "an empty answer"


def _parse(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise TransportError(f"{what}: the answer is no JSON ({raw[:60]!r})") from error


def _require(body: Any, name: str) -> Any:
    if not isinstance(body, dict) or name not in body:
        raise TransportError(f"the answer has no {name}")
    return body[name]
