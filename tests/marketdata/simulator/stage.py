"""Helpers of the exchange's tests: a running exchange, raw websocket clients, REST by hand."""

import asyncio
import gzip
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.server import ExchangeServer
from marketdata.simulator.tape import survey
from marketdata.simulator.venue import LivingVenue, TapeVenue

START_NS = 1_700_000_000_000_000_000


@cache
def compiled() -> None:
    """Compile the market's kernels once, before a clock or a timeout runs."""
    SimulatedMarket(0, Market.SPOT, 1, 0).advance(NS_PER_S // 10)


def living(market: Market = Market.SPOT, *, symbols: int = 3, seed: int = 1, **options: Any) -> ExchangeServer:
    compiled()
    return ExchangeServer(LivingVenue(SimulatedMarket(seed, market, symbols, START_NS)), **options)


def playing(lines: list[bytes], market: Market, **options: Any) -> ExchangeServer:
    options = {"speed": None, "settle_s": 0.3, "snapshot_hold_s": 0.0} | options
    return ExchangeServer(TapeVenue(survey(lines, market)), tape=lambda: iter(lines), **options)


def capture(path: Path) -> list[bytes]:
    with gzip.open(path) as file:
        return file.readlines()


@asynccontextmanager
async def client(exchange: ExchangeServer, path: str) -> AsyncIterator[ClientConnection]:
    url = exchange.stream_url + urllib.parse.quote(path, safe="/?=@!&")
    async with connect(url, proxy=None, max_size=None, max_queue=None, compression=None, ping_interval=None) as socket:
        yield socket


async def ask(socket: ClientConnection, method: str, streams: list[str] | None, request_id: Any = 1) -> dict[str, Any]:
    """Send a request and return its answer; data frames that come before it are passed over."""
    request = {"method": method, "id": request_id} | ({} if streams is None else {"params": streams})
    await socket.send(json.dumps(request))
    return await answer(socket)


async def answer(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            message = json.loads(await socket.recv())
            if "id" in message and "result" in message or "msg" in message:
                return message


async def frames(socket: ClientConnection, count: int, within_s: float = 20.0) -> list[str]:
    async with asyncio.timeout(within_s):
        return [str(await socket.recv()) for _ in range(count)]


async def silence(socket: ClientConnection, seconds: float) -> bool:
    """True when nothing at all arrives for so long."""
    try:
        async with asyncio.timeout(seconds):
            await socket.recv()
    except TimeoutError:
        return True
    return False


async def http(exchange: ExchangeServer, path: str) -> tuple[int, dict[str, str], Any]:
    """GET by the standard library: (status, headers, decoded body)."""
    return await asyncio.to_thread(_http, exchange.rest_url + path)


def _http(url: str) -> tuple[int, dict[str, str], Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, dict(response.headers), json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.loads(error.read())


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
