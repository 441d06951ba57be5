"""`./surge config_explain`: every setting, its value, where the value came from, what it means."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from surge_site.config import PREFIX, config_explain


class Command(BaseCommand):
    help = "List every setting with its value, the layer it came from, and its meaning. Secrets stay hidden."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = config_explain()
        if options["json"]:
            self.stdout.write(json.dumps({"settings": rows}))
            return
        width = max(len(row["name"]) for row in rows) + len(PREFIX)
        for row in rows:
            name = PREFIX + row["name"].upper()
            self.stdout.write(
                f"{name:<{width}}  {row['value'] or '-'}  [{row['origin']}]\n{'':<{width}}  {row['meaning']}"
            )
