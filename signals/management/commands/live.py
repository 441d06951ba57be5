"""The live worker: a Channels worker whose supervised session takes in the exchange, decides, and tells the pages."""

import asyncio
import contextlib
import json
import logging
import random
import signal
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.routing import get_default_application
from channels.worker import Worker
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from marketdata.binance.rest import RestError
from marketdata.events import Market
from signals.live import assemble
from signals.live.assemble import LiveOptions, NotReady
from signals.live.control import CONTROL
from signals.live.supervise import supervise

log = logging.getLogger(__name__)

CHANNEL = "live"
LONGEST_WAIT_S = 15.0
T = TypeVar("T")


class Command(BaseCommand):
    help = "Take in the exchange, decide every 250 ms, write signals down and tell the pages."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--market", choices=[m.value for m in Market], default=settings.SURGE_MARKET)
        parser.add_argument("--record", type=Path, help="where the recording goes (default: the capture folder)")
        parser.add_argument("--no-record", action="store_true", help="keep no recording")
        parser.add_argument("--idle-exit", type=float, metavar="S", help="stop after S seconds without a frame")
        parser.add_argument("--all-quotes", action="store_true", help="watch every listed symbol, not only USDT ones")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object at the end")

    def handle(self, **options: Any) -> None:
        market = Market(options["market"])
        record = None if options["no_record"] else options["record"] or assemble.recording_path(market)
        chosen = LiveOptions(market, record, options["idle_exit"], options["all_quotes"])
        try:
            report = asyncio.run(work(chosen))
        except NotReady as error:
            raise CommandError(str(error), returncode=3) from error
        self.stdout.write(json.dumps(report) if options["as_json"] else f"{report}")


async def work(options: LiveOptions) -> dict[str, Any]:
    """Run sessions and the control channel until SIGTERM or Ctrl-C; return the last session's report."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    control = asyncio.create_task(supervise("control channel", listen), name="control")
    try:
        return await sessions(options, stop)
    finally:
        control.cancel()
        await asyncio.gather(control, return_exceptions=True)
        await sync_to_async(connections.close_all)()


async def listen() -> None:
    """Serve the control channel. Truth lives in the database: a lost order costs a restart, nothing else."""
    layer = get_channel_layer()
    await Worker(get_default_application(), channels=[CHANNEL], channel_layer=layer).handle()


async def sessions(options: LiveOptions, stop: asyncio.Event) -> dict[str, Any]:
    """Run one session after the other; an ordered restart begins the next with fresh strategies and model."""
    rest = assemble.rest_open(options.market)
    while True:
        standing = await sync_to_async(assemble.standing_read)()
        closed = await sync_to_async(assemble.unseen_close)(options.market)
        if closed:
            log.warning("%d signals of an earlier session were not watched to their end", closed)
        instruments = await patiently(partial(assemble.universe_read, rest, options), stop)
        if instruments is None:
            return {}
        session = await sync_to_async(assemble.session_build)(options, standing, instruments, rest)
        await sync_to_async(connections.close_all)()  # a session lives for days: its sinks have their own
        log.info("live: %d symbols, model %s", len(instruments), standing.model.version)
        over = CONTROL.new_session()
        await _either(session.run(over), stop, over)
        report = session.report(standing.model.version)
        if stop.is_set() or not over.is_set():  # told to stop, or the feed came to its end
            return report
        if options.record:
            options = replace(options, record=assemble.recording_path(options.market))


async def patiently(ask: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
    """Ask the exchange again and again until it answers; None when told to stop first."""
    wait_s = 0.5
    while not stop.is_set():
        try:
            return await ask()
        except RestError as error:
            log.warning("the exchange does not answer: %s; again in about %.1f s", error, wait_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s * random.uniform(0.8, 1.2))
        wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
    return None


async def _either(session: Any, stop: asyncio.Event, over: asyncio.Event) -> None:
    """Await the session; a stop of the worker ends it as well."""
    watch = asyncio.create_task(stop.wait())
    watch.add_done_callback(lambda done: None if done.cancelled() else over.set())
    try:
        await session
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
