"""Scenarios of whole processes: the exchange frozen or killed, the client killed, its disk full, two at once."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

from django.conf import settings

from marketdata.binance.rest import RestClient
from marketdata.capture import CaptureWriter
from marketdata.events import Market
from signals.management.fault_scenarios.client import Client
from signals.management.fault_scenarios.connections import HALF_OPEN_S, LONGEST_BACKOFF_S
from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import RESYNC_S

BACK_S = 15.0
FULL_DISK = Path("/dev/full")
STANDS = b"stands"

Process = asyncio.subprocess.Process


async def _start(*words: str) -> Process:
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *words]
    return await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    return (await process.stdout.readline()).strip()


@contextlib.asynccontextmanager
async def _exchange(*words: str) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    process = await _start("exchange", "--json", *words)
    try:
        yield process, json.loads(await _line(process))
    finally:
        await _end(process)


async def _until_whole(client: Client, within_s: float) -> float | None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not client.is_whole:
        if loop.time() - began > within_s:
            return None
        await asyncio.sleep(0.01)
    return loop.time() - began


@scenario(4, promise="P2")
async def exchange_stopped(found: Findings, random: Random) -> None:
    """SIGSTOP to the exchange's own process: the kernel keeps its sockets open."""
    async with _exchange("--symbols", "4") as (process, at):
        instruments = await RestClient(at["rest_url"], Market.SPOT).exchange_info()
        async with Client(at["rest_url"], at["stream_url"], Market.SPOT, instruments) as client:
            found.at_most("books stand", await _until_whole(client, 20.0), BACK_S)
            await asyncio.sleep(random.uniform(0.0, 0.5))
            loop = asyncio.get_running_loop()
            at_s = loop.time()
            process.send_signal(signal.SIGSTOP)
            while len(client.went_stale(at_s)) < 4 and loop.time() < at_s + HALF_OPEN_S + 6.0:
                await asyncio.sleep(0.02)
            stale = client.went_stale(at_s)
            process.send_signal(signal.SIGCONT)
            found.at_most("detected", max(stale.values()) if len(stale) == 4 else None, HALF_OPEN_S)
            found.at_most("standing again", await _until_whole(client, 30.0), BACK_S)


@scenario(1, 16, promise="P1")
async def exchange_killed(found: Findings, random: Random) -> None:
    """kill -9 to the exchange; another one, with other ids, opens on the same port."""
    async with _exchange("--symbols", "4", "--seed", "5") as (process, at):
        instruments = await RestClient(at["rest_url"], Market.SPOT).exchange_info()
        async with Client(at["rest_url"], at["stream_url"], Market.SPOT, instruments) as client:
            found.at_most("books stand", await _until_whole(client, 20.0), BACK_S)
            await asyncio.sleep(random.uniform(0.0, 0.5))
            at_s = asyncio.get_running_loop().time()
            await _end(process)
            await asyncio.sleep(0.6)
            found.equal("symbols gone stale", len(client.went_stale(at_s)), 4)
            async with _exchange("--symbols", "4", "--seed", "6", "--port", at["rest_url"].rpartition(":")[2]):
                found.at_most("standing again", await _until_whole(client, 45.0), LONGEST_BACKOFF_S + RESYNC_S)
            found.equal("disconnect records before the end", min(1, len(client.disconnects)), 1)


@scenario(37, promise="P16", alone=True)
async def client_killed(found: Findings, random: Random) -> None:
    """kill -9 to the client at moments of the seed, its start included; each time it stands again in time."""
    async with _exchange("--symbols", "20") as (_, at):
        loop = asyncio.get_running_loop()
        waits = []
        for _ in range(2):
            began = loop.time()
            process = await _start("faults", "--attach", at["rest_url"], at["stream_url"])
            try:
                if await asyncio.wait_for(_line(process), 60.0) != STANDS:
                    found.fail("the client ended by itself")
                waits.append(loop.time() - began)
                await asyncio.sleep(random.uniform(0.0, 1.0))
            finally:
                await _end(process)
        found.at_most("20 books stand after a start", max(waits), BACK_S)


async def attach(rest_url: str, stream_url: str) -> None:
    """Be the client of `client_killed`: say when every book stands, and live on."""
    instruments = await RestClient(rest_url, Market.SPOT).exchange_info()
    async with Client(rest_url, stream_url, Market.SPOT, instruments) as client:
        while not client.is_whole:
            await asyncio.sleep(0.01)
        print(STANDS.decode(), flush=True)
        await asyncio.Event().wait()


@scenario(38, promise="fault 38")
async def disk_full(found: Findings, random: Random) -> None:
    """A recording that cannot be written says so at once; it does not go on as if it were."""
    if not FULL_DISK.exists():
        found.fail(f"{FULL_DISK} is not here: this scenario needs Linux")
        return
    try:
        writer = CaptureWriter(FULL_DISK)
        for number in range(64):
            writer.write(b"%d %b\n" % (number, random.randbytes(1 << 16).hex().encode()))
        writer.close()
        found.fail("the recorder wrote 8 MB to a full disk without a word")
    except OSError as error:
        found.note(f"the recorder raised {type(error).__name__}: {error.strerror}")


@scenario(39, promise="fault 39")
async def two_workers(found: Findings, random: Random) -> None:
    """Needs a lease in the database, which no worker takes yet."""
    found.fail("not kept: live workers take no lease, so the rows of an older one would not be refused")
