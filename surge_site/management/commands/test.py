"""`./surge test`: pytest with real engines from wheels; every further word goes to pytest."""

import os
import sys

from django.core.management.base import BaseCommand

from surge_site.config import PROJECT

MOST_WORKERS = 4  # each has three engines of its own


class Command(BaseCommand):
    help = "Run the tests: ./surge test [any words for pytest, such as -k board or tests/signals]"

    def run_from_argv(self, argv: list[str]) -> None:
        os.environ.setdefault("SURGE_ENGINES", "wheel")
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)  # pyproject.toml names the one for tests
        os.chdir(PROJECT)
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *side_by_side(argv[2:]), *argv[2:]])


def side_by_side(words: list[str]) -> list[str]:
    """All tests share the cores, file by file; a few chosen ones start quicker in one process."""
    is_whole_suite = all(
        word.startswith("-") and not word.startswith(("-k", "-m", "-n", "-x", "--pdb")) for word in words
    )
    workers = min(MOST_WORKERS, len(os.sched_getaffinity(0)))
    return ["-n", str(workers), "--dist", "loadfile"] if is_whole_suite and workers > 1 else []
