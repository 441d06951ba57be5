"""Prove that no feature reads the future: cut or spoil what comes after random moments, and compare bit by bit."""

import json
import time
from argparse import ArgumentParser
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketdata.capture import CaptureError, read_lines
from marketdata.events import Market
from marketdata.features.feature_set import N_FEATURES
from marketdata.features.lookahead import PrefixReport, joined_reports
from marketdata.features.lookahead_tapes import COLUMN_NAMES, CaptureTape, market_of, seeded_tape, tape_report

SEEDED_TAPES = 2
HEAD_LINES = 2000


class Command(BaseCommand):
    help = "Check over every feature that the past stays the same when the future is cut off or replaced by garbage."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("captures", nargs="*", type=Path, metavar="CAPTURE", help="recordings; none: seeded tapes")
        parser.add_argument("--market", choices=[market.value for market in Market], help="default: told by the file")
        parser.add_argument("--cuts", type=int, default=15, help="random cut points per tape (default 15)")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        if options["cuts"] < 1:
            raise CommandError("Nothing is proven without cut points: use --cuts 1 or more.", returncode=2)
        started = time.perf_counter()
        try:
            tapes = named_tapes(options["captures"], options["market"], options["seed"])
            reports = {name: examined(name, tape, options["cuts"], options["seed"]) for name, tape in tapes.items()}
        except CaptureError as error:
            raise CommandError(str(error), returncode=2) from error
        whole = joined_reports(list(reports.values()))
        answer = whole.as_dict() | {
            "features": N_FEATURES,
            "columns": len(COLUMN_NAMES),
            "tapes": {name: {"prefixes": one.prefixes, "violations": one.violations} for name, one in reports.items()},
            "seconds": round(time.perf_counter() - started, 3),
        }
        self.stdout.write(json.dumps(answer) if options["as_json"] else readable(answer))
        if whole.violations:
            raise CommandError(f"{whole.violations} violations: these read the future: {', '.join(whole.by_column)}")


def named_tapes(captures: list[Path], market: str | None, seed: int) -> dict[str, CaptureTape]:
    if captures:
        return {path.name: capture_tape(path, market) for path in captures}
    markets = [Market(market)] if market else list(Market)
    return {
        f"{each.value} seed {number}": seeded_tape(each, number)
        for each in markets
        for number in range(seed, seed + SEEDED_TAPES)
    }


def capture_tape(path: Path, market: str | None) -> CaptureTape:
    lines = list(read_lines(path))
    return CaptureTape(Market(market) if market else market_of(list(islice(lines, HEAD_LINES))), lines)


def examined(name: str, tape: CaptureTape, cuts: int, seed: int) -> PrefixReport:
    try:
        return tape_report(tape, cuts, seed)
    except ValueError as error:
        raise CaptureError(f"{name}: {error}") from error


def readable(answer: dict[str, Any]) -> str:
    lines = [
        f"{answer['features']} features ({answer['columns']} columns with the book around them), "
        f"{answer['prefixes']} cut points, {answer['rows_compared']} rows compared in {answer['seconds']:.1f} s",
        *(f"  {name}: {one['violations']} violations" for name, one in answer["tapes"].items()),
    ]
    if answer["unseen"]:
        lines.append(f"never held a number on these tapes, so not proven: {', '.join(answer['unseen'])}")
    lines.append("0 violations: the past never changes." if not answer["violations"] else str(answer["by_column"]))
    return "\n".join(lines)
