import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from marketdata.binance.rest import (
    BannedError,
    ForbiddenError,
    HttpError,
    NotReadyError,
    RateLimitError,
    RegionError,
    RestClient,
    TransportError,
)
from marketdata.binance.weight import SharedWeight
from marketdata.binance.weight_budget import WeightBudget
from marketdata.events import Market
from tests.marketdata.simulator.stage import living

BOTH = pytest.mark.parametrize("market", list(Market))
BINANCE_429 = b'{"code":-1003,"msg":"Too many requests."}'


class Script:
    """A web server that gives the same raw answer to everybody and counts who asked."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.asked: list[str] = []
        self.url = ""
        self.visits: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.visits.append(task)
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split()[1].decode())
        if self.raw:
            writer.write(self.raw)
            await writer.drain()
        else:
            await reader.read()  # says nothing until the client gives up
        writer.close()
        await writer.wait_closed()


def http_answer(status: int, body: bytes, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def scripted(raw: bytes) -> AsyncIterator[Script]:
    script = Script(raw)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*script.visits), 5)


@BOTH
async def test_the_simulated_exchange_answers_every_call(market: Market) -> None:
    async with living(market, symbols=20) as exchange:
        client = RestClient(exchange.rest_url, market)
        await client.ping()
        assert abs(await client.server_time_ms() - exchange.venue.now_ns // 1_000_000) < 2000
        assert [one.symbol for one in await client.exchange_info()] == list(exchange.venue.symbols)
        body = json.loads(await client.depth("币安人生USDT", 100))
        assert len(body["bids"]) == 100
        assert client.used_weight == exchange.rest_desk.used_weight > 0


async def test_depth_comes_as_the_bytes_that_were_sent() -> None:
    body = b'{"lastUpdateId": 5 ,"bids":[["1.0","2"]],"asks":[],"new":1}'
    async with scripted(http_answer(200, body)) as script:
        assert await RestClient(script.url, Market.SPOT).depth("ABCUSDT", 5) == body
        assert script.asked == ["/api/v3/depth?symbol=ABCUSDT&limit=5"]


async def test_an_unknown_symbol_is_told_with_its_code() -> None:
    async with living() as exchange:
        with pytest.raises(HttpError, match="Invalid symbol") as refused:
            await RestClient(exchange.rest_url, Market.SPOT).depth("NOPEUSDT")
        assert (refused.value.status, refused.value.code) == (400, -1121)


@pytest.mark.parametrize(
    ("raw", "kind", "wait_s"),
    [
        (http_answer(429, BINANCE_429, Retry_After="17"), RateLimitError, 17.0),
        (http_answer(429, BINANCE_429), RateLimitError, 60.0),
        (http_answer(418, BINANCE_429, Retry_After="120"), BannedError, 120.0),
        (http_answer(418, b"", Retry_After="soon"), BannedError, 120.0),
        (http_answer(403, b"<html>blocked</html>"), ForbiddenError, 300.0),
        (http_answer(451, b'{"code":0,"msg":"Service unavailable from a restricted location"}'), RegionError, None),
        (http_answer(503, b"", Retry_After="1"), NotReadyError, 1.0),
        (http_answer(502, b"<html>Bad Gateway</html>"), NotReadyError, None),
        (http_answer(404, b"{}"), HttpError, None),
    ],
)
async def test_every_refusal_has_its_type_and_its_wait(raw: bytes, kind: type[HttpError], wait_s: float | None) -> None:
    async with scripted(raw) as script:
        with pytest.raises(HttpError) as refused:
            await RestClient(script.url, Market.SPOT).ping()
        assert type(refused.value) is kind
        assert refused.value.retry_after_s == wait_s


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry_After": "30"}), (418, {"Retry_After": "30"}), (403, {})])
async def test_after_a_refusal_nothing_is_sent_until_it_is_over(status: int, headers: dict[str, str]) -> None:
    clock_s = 1000.0
    async with scripted(http_answer(status, BINANCE_429, **headers)) as script:
        weight = SharedWeight(None, "spot", WeightBudget(6000), clock_s=lambda: clock_s)
        client = RestClient(script.url, Market.SPOT, weight=weight)
        with pytest.raises(HttpError) as first:
            await client.ping()
        wait_s = first.value.retry_after_s
        assert wait_s is not None
        clock_s += wait_s - 1.0
        with pytest.raises(type(first.value), match="nothing sent, 1 s left") as second:
            await client.exchange_info()
        assert second.value.retry_after_s == 1.0
        assert len(script.asked) == 1
        clock_s += 1.5
        with pytest.raises(HttpError):
            await client.ping()
        assert len(script.asked) == 2


async def test_a_server_error_does_not_silence_the_client() -> None:
    async with scripted(http_answer(503, b"", Retry_After="30")) as script:
        client = RestClient(script.url, Market.SPOT)
        for _ in range(2):
            with pytest.raises(NotReadyError):
                await client.ping()
        assert len(script.asked) == 2


@pytest.mark.parametrize(
    "raw",
    [
        http_answer(200, b'{"lastUpdateId":5,"bids":[["1.0"'),
        http_answer(200, b"<html>maintenance</html>"),
        http_answer(200, b""),
        http_answer(200, b'{"lastUpdateId":5,"bids":[]}'),
        http_answer(200, b"[]"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_snapshot_is_refused(raw: bytes) -> None:
    async with scripted(raw) as script:
        with pytest.raises(TransportError):
            await RestClient(script.url, Market.SPOT).depth("ABCUSDT")


async def test_a_body_without_symbols_is_no_exchange_info() -> None:
    async with scripted(http_answer(200, b'{"timezone":"UTC"}')) as script:
        with pytest.raises(TransportError, match="no exchangeInfo"):
            await RestClient(script.url, Market.SPOT).exchange_info()


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    async with scripted(b"") as script:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TransportError, match="timed out|no answer"):
            await RestClient(script.url, Market.SPOT, timeout_s=0.3).ping()
        assert loop.time() - began < 1.5


async def test_a_closed_port_is_a_transport_error() -> None:
    async with scripted(b"") as script:
        url = script.url
    with pytest.raises(TransportError, match="gave no answer"):
        await RestClient(url, Market.SPOT).ping()


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with living(symbols=1) as exchange:
        await RestClient(exchange.rest_url, Market.SPOT).ping()


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        RestClient("api.binance.com", Market.SPOT)
