"""`./surge up`: the whole system on this machine."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from surge_site.config import PROJECT
from surge_site.engines.lease import EngineLease
from surge_site.engines.lock import FileLock
from surge_site.engines.run_file import RunFolder
from surge_site.engines.supervisor import ChildGaveUp
from surge_site.up import Up, UpError, UpOptions


class Command(BaseCommand):
    help = "Start everything, print the page's address and login, and keep running until Ctrl-C."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", action="store_true", help="simulated exchange on this machine (the default)")
        parser.add_argument("--production", action="store_true", help="Binance itself")
        parser.add_argument("--market", choices=["spot", "usdm"], help="which market to watch")
        parser.add_argument("--port", type=int, help="port of the page (default 8000, or the next free one)")
        parser.add_argument("--seed", type=int, help="seed of the simulated exchange")
        parser.add_argument("--exit-after-signals", type=int, metavar="N", help="end with code 0 after N signals")
        parser.add_argument("--timeout", type=float, metavar="S", help="end with code 1 when that takes longer")
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        lease = EngineLease.current
        if lease is None:
            raise CommandError(
                "Start it as ./surge up (or python manage.py up): the engines are started before Django."
            )
        folder = RunFolder(lease.config.var_dir)
        lock = FileLock(folder.up_lock)
        if not lock.try_exclusive():
            url = folder.up_read().get("url", "an address it has not told yet")
            self._say(f"Surge already runs from {PROJECT}: {url} (stop that one first).")
            sys.exit(2)
        with lock:
            self._run(lease, options)

    def _run(self, lease: EngineLease, options: dict[str, Any]) -> None:
        self._say("Engines: " + ", ".join(f"{n} {f.version} ({f.kind})" for n, f in lease.facts.items()))
        up = Up(lease, UpOptions(options["exit_after_signals"], options["timeout"], options["seed"]), self._say)
        try:
            up.run(lambda: self._welcome(up, options))
        except (UpError, ChildGaveUp) as error:
            self._print_json(up, options)
            self._say(str(error))
            sys.exit(1)
        self._print_json(up, options)

    def _welcome(self, up: Up, options: dict[str, Any]) -> None:
        lines = [f"\nSurge is running in {up.lease.config.mode} mode.", f"  Page    {up.url}"]
        if up.login:
            lines.append(f"  Login   {up.login.username}  {up.login.password}")
        else:
            lines.append("  Login   make one with: ./surge createsuperuser")
        lines += [f"  Model   {up.model_version}", f"  Logs    {up.log_dir}", "Ctrl-C stops everything.\n"]
        self._say("\n".join(lines))
        if options["json"] and options["exit_after_signals"] is None:
            self.stdout.write(json.dumps(up.report()))
            self.stdout.flush()

    def _print_json(self, up: Up, options: dict[str, Any]) -> None:
        if options["json"] and options["exit_after_signals"] is not None:
            self.stdout.write(json.dumps(up.report()))

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
