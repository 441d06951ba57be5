"""Scenarios of the market itself: halted, delisted, listed, renamed, in new words, unreachable, not trusted."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from marketdata.binance.messages import MessageParser
from marketdata.binance.rest import RestClient, RestError
from marketdata.binance.stream import StreamPool
from marketdata.events import Market
from marketdata.frames import capture_line
from marketdata.simulator.mark_arrays import STREAM as MARK_ARRAY
from marketdata.universe import universe_select
from signals.management.fault_scenarios.client import Client
from signals.management.fault_scenarios.connections import SILENT_SYMBOL_S
from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import RESYNC_S, STALE_S, Stage, open_stage

LISTED_S = 60.0


async def _gone(found: Findings, random: Random, knob: str, **parameters: object) -> None:
    """A symbol that left is no longer decided on, and the others do not notice."""
    async with open_stage(found, random) as stage:
        symbol = stage.some_symbols(1)[0]
        at_s = await stage.fault(knob, symbol=symbol, **parameters)
        await stage.until(lambda: symbol in stage.client.went_stale(at_s), SILENT_SYMBOL_S + 5.0)
        found.at_most("no longer decided on", stage.client.went_stale(at_s).get(symbol), SILENT_SYMBOL_S + STALE_S)
        await asyncio.sleep(4.0)
        found.equal("decided on again", stage.client.synced(symbol), False)
        stage.check_untouched(at_s, [one for one in stage.client.symbols if one != symbol])
        stage.check_books()


@scenario(21, promise="P14")
async def symbol_halted(found: Findings, random: Random) -> None:
    await _gone(found, random, "status", status=random.choice(("HALT", "BREAK", "CANCEL_ONLY")))


@scenario(21, promise="P14")
async def symbol_delisted(found: Findings, random: Random) -> None:
    await _gone(found, random, "delist")


@scenario(22, promise="P14")
async def symbol_renamed(found: Findings, random: Random) -> None:
    await _gone(found, random, "rename", new="LUNCUSDT")


@scenario(21, promise="P14")
async def symbol_listed(found: Findings, random: Random) -> None:
    """A new symbol starts to trade: the client is to follow it within 60 s without a restart."""
    async with open_stage(found, random, unlisted=1) as stage:
        at_s = await stage.fault("enlist")
        new = stage.exchange.venue.symbols[-1]
        await stage.until(lambda: new in stage.client.pipeline.replay.symbols, 12.0)
        followed = new in stage.client.pipeline.replay.symbols
        found.at_most("followed", stage.now_s() - at_s if followed else None, LISTED_S)
        stage.check_untouched(at_s, stage.client.symbols)


@scenario(22, promise="fault 22")
async def unicode_symbol(found: Findings, random: Random) -> None:
    async with open_stage(found, random, symbols=20) as stage:
        symbol = next(one for one in stage.client.symbols if not one.isascii())
        at_s = await stage.fault("drop", stream=f"{symbol.lower()}@depth@100ms")
        await stage.check_recovery(at_s, [symbol], stale_s=STALE_S)
        await asyncio.sleep(1.0)
        stage.check_books()


@scenario(21, 31, promise="P13", quick=True)
async def unknown_words_in_exchange_info(found: Findings, random: Random) -> None:
    """New filters, fields, statuses and contract types: read, and only TRADING counts."""
    for market in Market:
        async with open_stage(found, random, symbols=3, market=market) as stage:
            stage.exchange.fault("enums")
            instruments = await stage.client.rest.exchange_info()
            chosen = [one.symbol for one in universe_select(instruments, market).symbols]
            found.equal(f"{market} universe", sorted(chosen), sorted(stage.client.symbols))


@scenario(31, promise="P13")
async def mark_price_arrays(found: Findings, random: Random) -> None:
    """Two frames a second, rows of COIN-M (st=2) and rows without funding (T:0) among them."""
    async with open_stage(found, random, market=Market.USDM, symbols=4) as stage:
        lines: list[bytes] = []
        pool = StreamPool(
            stage.exchange.stream_url,
            Market.USDM,
            [MARK_ARRAY],
            on_frame=lambda recv_ns, frame: lines.append(capture_line(recv_ns, frame)),
            on_disconnect=lambda _: None,
        )
        task = asyncio.create_task(pool.run())
        await asyncio.sleep(5.0)
        await pool.stop()
        await task
        parser = MessageParser(Market.USDM)
        parser.feed(b"".join(lines))
        found.at_least("frames in 5 s", len(lines), 6)
        found.equal("frames rejected", dict(parser.counts.rejected), {})
        found.equal("coin-margined rows taken", [name for name in parser.symbols.names if "_PERP" in name], [])


@scenario(29, promise="P11")
async def certificate_not_trusted(found: Findings, random: Random) -> None:
    """The exchange shows a certificate that nobody signed: refused by sockets and REST alike, again and again."""
    with tempfile.TemporaryDirectory() as folder:
        context = _own_certificate(Path(folder))
        async with open_stage(found, random, symbols=1, tls=context, starts_whole=False) as stage:
            await asyncio.sleep(4.0)
            found.equal("frames over it", stage.client.pool.frames, 0)
            found.at_least("tries", stage.client.pool.statistics["failed_connects"], 2)
            try:
                await RestClient(stage.exchange.rest_url, Market.SPOT).ping()
                found.fail("REST trusted it")
            except RestError as error:
                found.note(f"REST: {type(error).__name__}")


def _own_certificate(folder: Path) -> ssl.SSLContext:
    tool = shutil.which("openssl")
    if tool is None:
        raise FileNotFoundError("openssl is needed to make a certificate: install it (apt-get install openssl)")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([tool, *words, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@scenario(28, promise="P11")
async def name_not_found(found: Findings, random: Random) -> None:
    """The exchange's name cannot be looked up for 5 s: tried again, and the loop never waits for the resolver."""
    loop: Any = asyncio.get_running_loop()
    honest = loop.getaddrinfo
    down_until = loop.time() + 5.0

    async def look_up(host: str, port: int, **options: Any) -> Any:
        if host == "exchange.test" and loop.time() < down_until:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return await honest("127.0.0.1" if host == "exchange.test" else host, port, **options)

    async with open_stage(found, random, symbols=2) as stage:
        await _connect_by_name(stage, look_up, honest, found)


async def _connect_by_name(
    stage: Stage, look_up: Callable[..., Any], honest: Callable[..., Any], found: Findings
) -> None:
    loop: Any = asyncio.get_running_loop()
    instruments = await stage.client.rest.exchange_info()
    url = stage.exchange.stream_url.replace("127.0.0.1", "exchange.test")
    loop.getaddrinfo = look_up
    try:
        async with Client(stage.exchange.rest_url, url, Market.SPOT, instruments) as client:
            stage.client.longest_block_s = 0.0
            came = await stage.until(lambda: client.is_whole, 30.0)
            found.at_most("books stand after the name came back", came and came - 5.0, 5.0 + RESYNC_S)
            found.at_least("tries without a name", client.pool.statistics["failed_connects"], 2)
            found.at_most("loop held up", client.longest_block_s, 0.25)
    finally:
        loop.getaddrinfo = honest
