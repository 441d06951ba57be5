"""Run the simulated exchange on loopback: a living market, or a recorded capture played again."""

import asyncio
import json
import signal
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketdata.capture import CaptureError, read_lines
from marketdata.events import NS_PER_S, Market
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.schedule import PlannedFault, fault_schedule
from marketdata.simulator.server import DAY_S, ExchangeServer
from marketdata.simulator.surges import SurgePlan
from marketdata.simulator.tape import TapeError, survey
from marketdata.simulator.venue import LivingVenue, TapeVenue

BAD_INPUT = 2
SCHEDULED_S = 86_400.0


HELP = """\
Run the simulated exchange: REST and websockets as Binance speaks them, on 127.0.0.1.

It prints one line with its addresses when it is ready; SIGTERM or Ctrl-C ends it. Without --capture a market of its
own lives in it, the same for the same --seed. At --speed 3600 a day with its 24 h disconnect takes 24 seconds.

Look into it (all plain GETs on the REST address):
  /sim/state                    time, clients, streams, what was sent and lost, weight, bans
  /sim/surges                   the planted surges: the ground truth
  /sim/book?symbol=BTCUSDT      the true book
  /sim/ledger?stream=NAME       every id that was made, sent and never sent
  /sim/faults, /sim/knobs       the 39 faults, and the knobs that make them

Make something go wrong:
  /sim/cut?code=1006            tear all lines        /sim/stall?stream=*    say nothing any more
  /sim/drop?stream=btcusdt@depth@100ms&count=2        lose two diffs
  /sim/rest?path=depth&status=429&retry_after_s=5     refuse the next snapshot
  /sim/heal                     turn every knob back
or let --faults SEED do it: the same seed, the same faults at the same times.
"""


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--market", choices=[market.value for market in Market], default=Market.SPOT.value)
        parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same market")
        parser.add_argument("--symbols", type=int, default=20, help="how many symbols are listed")
        parser.add_argument("--surge-every", type=float, metavar="S", help="mean seconds between a symbol's surges")
        parser.add_argument("--capture", type=Path, metavar="FILE", help="play this capture instead")
        parser.add_argument("--speed", default="1", help="times faster than life; max = as fast as a capture is read")
        parser.add_argument("--unlisted", type=int, default=0, metavar="N", help="N more symbols wait for /sim/enlist")
        parser.add_argument(
            "--day", type=float, default=DAY_S, metavar="S", help="a connection's life in exchange time"
        )
        parser.add_argument("--faults", type=int, metavar="SEED", help="make faults by a schedule drawn from this seed")
        parser.add_argument("--faults-every", type=float, default=20.0, metavar="S", help="mean seconds between them")
        parser.add_argument("--state", type=Path, metavar="FILE", help="keep bans and used weight here over a restart")
        parser.add_argument("--no-ledger", action="store_true", help="write no ids down (for load tests)")
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
    for name in ("day", "faults_every"):
        if not options[name] > 0.0:
            raise CommandError(f"--{name.replace('_', '-')} wants seconds above 0.", returncode=BAD_INPUT)
    if options["unlisted"] < 0:
        raise CommandError("--unlisted wants a number of 0 or more.", returncode=BAD_INPUT)
    plan = SurgePlan()
    if options["surge_every"] is not None:
        if options["surge_every"] <= 0.0:
            raise CommandError("--surge-every wants seconds above 0.", returncode=BAD_INPUT)
        plan = plan._replace(surge_every_s=options["surge_every"])
    SimulatedMarket(0, market, 1, 0).advance(NS_PER_S // 10)  # compiles: before its clock starts, not after
    listed, waiting = options["symbols"], options["unlisted"]
    simulated = SimulatedMarket(options["seed"], market, listed + waiting, time.time_ns(), plan)
    return ExchangeServer(
        LivingVenue(simulated, simulated.symbols[listed:]),
        port=options["port"],
        speed=speed,
        lifetime_s=options["day"],
        schedule=_schedule(options, simulated.symbols[:listed]),
        seed=options["faults"] or 0,
        keeps_ledger=not options["no_ledger"],
        state_file=options["state"],
    )


def _schedule(options: dict[str, Any], symbols: tuple[str, ...]) -> list[PlannedFault]:
    if options["faults"] is None:
        return []
    return fault_schedule(options["faults"], SCHEDULED_S, symbols, every_s=options["faults_every"])


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
