"""`./surge test`: pytest with real engines from wheels; every further word goes to pytest."""

import os
import sys

from django.core.management.base import BaseCommand

from surge_site.config import PROJECT


class Command(BaseCommand):
    help = "Run the tests: ./surge test [any words for pytest, such as -k board or tests/signals]"

    def run_from_argv(self, argv: list[str]) -> None:
        os.environ.setdefault("SURGE_ENGINES", "wheel")
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # pyproject.toml names the one for tests
        os.chdir(PROJECT)
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *argv[2:]])
