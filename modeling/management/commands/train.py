"""Train a model on simulated history or recordings, judge it, and register it."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from marketdata.events import Market
from modeling.models import ModelVersion
from modeling.services import TrainingCancelled, TrainingFailed, training_run_execute
from modeling.training_config import ModelKind

EXTRAS = ("choice", "calibration", "calibration_contest", "decision_region", "liquidity", "tasks", "certificate")
"""Parts of the card that are printed where a training made them."""


class Command(BaseCommand):
    help = "Train a model, compare it with the baselines in the same folds, export it and register it."
    _last_line: tuple[int, str] | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dataset",
            nargs="+",
            required=True,
            metavar="NAME|PATH",
            help="'simulated', 'pumps', 'klines', or one or more capture files",
        )
        parser.add_argument(
            "--model", choices=list(ModelKind), help="default: focal; on recorded datasets the kind that wins"
        )
        parser.add_argument("--market", choices=[m.value for m in Market], default=settings.SURGE_MARKET)
        parser.add_argument(
            "--config",
            default="{}",
            metavar="JSON",
            help='other settings, such as \'{"barriers":{"take_profit_bps":80}}\'',
        )
        parser.add_argument("--salvage", action="store_true", help="use what lies before the damage of a cut-off file")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        started = time.monotonic()
        tables_ensure()
        try:
            run = training_run_execute(
                dataset="\n".join(options["dataset"]),
                config={**config_of(options["config"]), **_kind(options["model"]), "salvage": options["salvage"]},
                mode=settings.SURGE_MODE,
                market=options["market"],
                on_progress=self._progress,
            )
        except (TrainingFailed, TrainingCancelled) as error:
            raise CommandError(str(error), returncode=2) from error
        assert run.model_version is not None  # a run that is done has one
        report = report_of(run.model_version, time.monotonic() - started)
        self.stdout.write(json.dumps(report) if options["as_json"] else readable(report))

    def _progress(self, share: float, step: str) -> None:
        line = (int(100 * share) // 5, step)
        if line != self._last_line:
            self.stderr.write(f"{100 * share:3.0f} %  {step}", self.style.SUCCESS if sys.stderr.isatty() else str)
            self.stderr.flush()
            self._last_line = line


def tables_ensure() -> None:
    """Make the tables where nobody has started the site yet, so that training can be the first command of all."""
    if ModelVersion._meta.db_table not in connection.introspection.table_names():
        call_command("migrate", interactive=False, verbosity=0)


def config_of(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--config is no valid JSON: {error}.", returncode=2) from error
    if not isinstance(values, dict):
        raise CommandError('--config must be a JSON object such as {"n_folds": 3}.', returncode=2)
    return values


def _kind(model: str | None) -> dict[str, Any]:
    return {} if model is None else {"model": model, "contest": False}


def report_of(model_version: ModelVersion, seconds: float) -> dict[str, Any]:
    card = model_version.card
    return {
        "model_version": model_version.version,
        "status": model_version.status,
        "dataset": card["dataset"],
        "data_hash": card["data_hash"],
        "folds": card["folds"],
        "metrics": card["metrics"],
        "baselines": card["baselines"],
        "gates": card["gates"],
        **{name: card[name] for name in EXTRAS if card.get(name)},
        "seconds": round(seconds, 2),
    }


def readable(report: dict[str, Any]) -> str:
    metrics = report["metrics"]
    lines = [
        f"{report['model_version']} ({report['status']}), {report['seconds']:.0f} s",
        f"{metrics['rows']} rows, {metrics['events']} surges, share of surges {metrics['base_rate']:.3f}",
        *(f"  {name:<9}{interval_of(metrics[name])}" for name in ("ap", "auc", "brier", "logloss", "ece")),
        "Baselines in the same folds (AP; our gain)",
        *(f"  {name:<9}{row['ap']:.3f}  {interval_of(row['ap_gain'])}" for name, row in report["baselines"].items()),
        "Gates",
        *(f"  {'ok  ' if gate['ok'] else 'FAIL'} {name}: {gate['text']}" for name, gate in report["gates"].items()),
    ]
    return "\n".join(lines)


def interval_of(row: dict[str, float]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
