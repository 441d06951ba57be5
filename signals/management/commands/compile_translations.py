"""Compile locale/*/LC_MESSAGES/django.po into the .mo files Django reads; needs no gettext tools."""

import os
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from signals.translations import TranslationError, mo_bytes, po_entries


class Command(BaseCommand):
    help = "Compile the translations under locale/ that are newer than what was compiled before."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--force", action="store_true", help="compile all of them again")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            compiled = [
                path
                for folder in settings.LOCALE_PATHS
                for path in compile_folder(Path(folder), force=options["force"])
            ]
        except TranslationError as error:
            raise CommandError(str(error)) from error
        if options["verbosity"]:
            self.stdout.write(f"{len(compiled)} translation files compiled")


def compile_folder(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """Compile each .po file whose .mo is missing or older; yield what was written."""
    for source in sorted(folder.glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if not force and target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            continue
        content = mo_bytes(po_entries(source.read_text(encoding="utf-8"), source.name))
        half = target.with_suffix(f".{os.getpid()}")
        half.write_bytes(content)
        half.replace(target)  # whole or not at all: several processes may start at once
        yield target
