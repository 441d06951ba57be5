"""Run the simulated exchange on loopback: a living market, or a recorded capture played again."""

import asyncio
import json
import signal
import time
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketdata.capture import CaptureError, read_lines
from marketdata.events import NS_PER_S, Market
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.server import ExchangeServer
from marketdata.simulator.surges import SurgePlan
from marketdata.simulator.tape import TapeError, survey
from marketdata.simulator.venue import LivingVenue, TapeVenue

BAD_INPUT = 2


class Command(BaseCommand):
    help = (
        "Run the simulated exchange: REST and websockets as Binance speaks them, on 127.0.0.1. Prints one line with "
        "its addresses when it is ready; SIGTERM or Ctrl-C ends it. The ground truth is at /sim/surges, a book at "
        "/sim/book?symbol=BTCUSDT, everything else at /sim/state."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--market", choices=[market.value for market in Market], default=Market.SPOT.value)
        parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same market")
        parser.add_argument("--symbols", type=int, default=20, help="how many symbols are listed")
        parser.add_argument("--surge-every", type=float, metavar="S", help="mean seconds between a symbol's surges")
        parser.add_argument("--capture", type=Path, metavar="FILE", help="play this capture instead")
        parser.add_argument("--speed", default="1", help="times faster than life; max = as fast as a capture is read")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print the addresses as JSON")

    def handle(self, **options: Any) -> None:
        market = Market(options["market"])
        speed = _speed(options["speed"], is_capture=options["capture"] is not None)
        if options["capture"] is not None:
            open_exchange = _capture_exchange(options["capture"], market, speed, options["port"])
        else:
            open_exchange = partial(_living_exchange, options, market, speed or 1.0)
        asyncio.run(self._serve(open_exchange, options))

    async def _serve(self, open_exchange: Callable[[], ExchangeServer], options: dict[str, Any]) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        exchange = open_exchange()
        try:
            await exchange.start()
        except (OSError, OverflowError) as error:
            problem = f"Port {options['port']} cannot be used ({error}). Choose another with --port."
            raise CommandError(problem, returncode=BAD_INPUT) from error
        self._announce(exchange, options["as_json"])
        over = asyncio.create_task(exchange.wait_over())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([over, stopped], return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                _finish(over, options["capture"])
                self.stderr.write("capture over")
        finally:
            over.cancel()
            stopped.cancel()
            await exchange.stop()

    def _announce(self, exchange: ExchangeServer, as_json: bool) -> None:
        market, rest, stream = exchange.venue.market.value, exchange.rest_url, exchange.stream_url
        if as_json:
            line = json.dumps({"market": market, "rest_url": rest, "stream_url": stream})
        else:
            line = f"simulated exchange ({market}): REST {rest}  streams {stream}"
        self.stdout.write(line)
        self.stdout.flush()


def _speed(text: str, *, is_capture: bool) -> float | None:
    if text == "max" and is_capture:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed <= 10_000.0:
        wanted = "a number above 0, or max" if is_capture else "a number above 0"
        raise CommandError(f"--speed {text} is not possible: use {wanted}.", returncode=BAD_INPUT)
    return speed


def _living_exchange(options: dict[str, Any], market: Market, speed: float) -> ExchangeServer:
    if options["symbols"] < 1:
        raise CommandError(f"--symbols {options['symbols']} is not possible: list at least 1.", returncode=BAD_INPUT)
    plan = SurgePlan()
    if options["surge_every"] is not None:
        if options["surge_every"] <= 0.0:
            raise CommandError("--surge-every wants seconds above 0.", returncode=BAD_INPUT)
        plan = plan._replace(surge_every_s=options["surge_every"])
    SimulatedMarket(0, market, 1, 0).advance(NS_PER_S // 10)  # compiles: before its clock starts, not after
    simulated = SimulatedMarket(options["seed"], market, options["symbols"], time.time_ns(), plan)
    return ExchangeServer(LivingVenue(simulated), port=options["port"], speed=speed)


def _capture_exchange(path: Path, market: Market, speed: float | None, port: int) -> Callable[[], ExchangeServer]:
    """Read the capture through once; what is wrong with it is said now, in one sentence."""
    try:
        found = survey(read_lines(path), market)
    except CaptureError as error:
        raise CommandError(str(error), returncode=BAD_INPUT) from error
    except TapeError as error:
        raise CommandError(f"{path} cannot be played: {error}.", returncode=BAD_INPUT) from error
    venue = TapeVenue(found)
    return lambda: ExchangeServer(venue, port=port, speed=speed, tape=lambda: read_lines(path))


def _finish(over: asyncio.Task[None], path: Path) -> None:
    error = over.exception()
    if isinstance(error, CaptureError | TapeError):
        raise CommandError(f"{path} changed while it was played: {error}", returncode=BAD_INPUT) from error
    if error is not None:
        raise error
