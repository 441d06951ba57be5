"""`./surge lint`: style, types and migrations, the same as in CI."""

import subprocess
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from surge_site.config import PROJECT


class Command(BaseCommand):
    help = "Check style (ruff), types (mypy) and that no migration is missing."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="let ruff correct what it can")

    def handle(self, *args: Any, **options: Any) -> None:
        failed = [name for name, words in self._checks(options["fix"]).items() if not self._passes(name, words)]
        if failed:
            raise CommandError(f"Not clean: {', '.join(failed)}. ./surge lint --fix corrects most of the style.")

    def _checks(self, fix: bool) -> dict[str, list[str]]:
        return {
            "style": ["-m", "ruff", "check", *(["--fix"] if fix else []), "."],
            "format": ["-m", "ruff", "format", *([] if fix else ["--check"]), "."],
            "types": ["-m", "mypy"],
            "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
        }

    def _passes(self, name: str, words: list[str]) -> bool:
        began = time.monotonic()
        done = subprocess.run([sys.executable, *words], cwd=PROJECT, stdout=sys.stderr, check=False)
        verdict = "clean" if done.returncode == 0 else "NOT CLEAN"
        self.stderr.write(f"{name}: {verdict} ({time.monotonic() - began:.1f} s)")
        return done.returncode == 0
