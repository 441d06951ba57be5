"""Play every fault an exchange can make to the real client on loopback, and measure whether the promises hold."""

import asyncio
import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from signals.management.fault_scenarios import (
    books,
    connections,
    market_changes,
    messages,
    processes,
    rest_calls,
    storms,
)
from signals.management.fault_scenarios.scenario import SCENARIOS, Result, Scenario, quiet_logs, run_all
from signals.management.fault_scenarios.stage import rehearse

ROOMS = (connections, books, messages, rest_calls, market_changes, storms, processes)
"""Importing a room enters its scenarios."""

HELP = """\
Play faults to the real client and measure what it does.

Each scenario starts a simulated exchange and the client that runs live (sockets, books, features, rule score; no
database), makes one fault at a moment drawn from --seed, and compares what it measured with the figure that was
promised. A promise that the client does not keep is a failed scenario with its figure, never a skipped one.

  ./surge faults                 every scenario, under 10 minutes
  ./surge faults --quick         the short list, under 60 seconds
  ./surge faults --only tcp_cut  one scenario; repeat --only for more
  ./surge faults --list          what there is
  ./surge faults --json          {"scenarios": [{"name", "ok", "detail", ...}], "ok": ...}

Exit code: 0 when every promise was kept, 1 when one was not, 2 for a name that does not exist.
"""


class Command(BaseCommand):
    help = HELP
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--only", action="append", metavar="NAME", help="run this scenario; may be repeated")
        parser.add_argument("--quick", action="store_true", help="run the short list")
        parser.add_argument("--list", action="store_true", dest="only_list", help="print the names and stop")
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same faults (default: 1)")
        parser.add_argument(
            "--at-once", type=int, default=3, metavar="N", help="scenarios at the same time (default: 3)"
        )
        parser.add_argument("--attach", nargs=2, metavar=("REST", "STREAM"), help="be the client of this exchange")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object at the end")

    def handle(self, **options: Any) -> None:
        if options["at_once"] < 1:
            raise CommandError("--at-once wants a number above 0.", returncode=2)
        if options["attach"]:
            asyncio.run(processes.attach(*options["attach"]))
        chosen = choose(options["only"], options["quick"])
        if options["only_list"]:
            for entry in chosen:
                self.stdout.write(f"{entry.name:<28} faults {', '.join(map(str, entry.faults)):<8} {entry.promise}")
            return
        results = asyncio.run(self._run(chosen, options))
        failed = [result.name for result in results if not result.ok]
        if options["as_json"]:
            self.stdout.write(json.dumps(report(results, options["seed"])))
        else:
            self.stdout.write(f"{len(results) - len(failed)} of {len(results)} scenarios kept their promise")
        if failed:
            sys.exit(1)

    async def _run(self, chosen: list[Scenario], options: dict[str, Any]) -> list[Result]:
        with quiet_logs():
            await rehearse()
        tell = (lambda _: None) if options["as_json"] else self._tell
        return await run_all(chosen, options["seed"], options["at_once"], tell)

    def _tell(self, result: Result) -> None:
        self.stdout.write(readable(result))
        self.stdout.flush()


def choose(names: list[str] | None, quick: bool) -> list[Scenario]:
    """Return the scenarios of these names; without any the short list or all."""
    if names:
        unknown = [name for name in names if name not in SCENARIOS]
        if unknown:
            known = ", ".join(SCENARIOS)
            raise CommandError(f"There is no scenario {', '.join(unknown)}. Choose from: {known}.", returncode=2)
        return [SCENARIOS[name] for name in names]
    return [entry for entry in SCENARIOS.values() if entry.quick or not quick]


def readable(result: Result) -> str:
    return f"{'ok    ' if result.ok else 'FAILED'} {result.name:<26} {result.seconds:5.1f} s  {result.detail}"


def report(results: list[Result], seed: int) -> dict[str, Any]:
    return {
        "ok": all(result.ok for result in results),
        "seed": seed,
        "seconds": round(sum(result.seconds for result in results), 1),
        "scenarios": [result._asdict() | {"seconds": round(result.seconds, 2)} for result in results],
    }
