"""Judge a registered model on data it never saw, without training anything."""

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketdata.events import Market
from modeling.artifacts import without_nan
from modeling.management.commands.train import config_of, interval_of, tables_ensure
from modeling.models import ModelVersion
from modeling.selectors import model_version_list, model_version_newest
from modeling.services import TrainingFailed, input_level, model_version_evaluate

SHOWN = ("ap", "auc", "brier", "ece")


class Command(BaseCommand):
    help = "Judge a registered model on rows it never saw: metrics with intervals, and the plain rules beside it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dataset",
            nargs="+",
            required=True,
            metavar="NAME|PATH",
            help="'simulated', 'pumps', 'klines', or one or more capture files",
        )
        parser.add_argument("--model-version", help="default: the champion, else the newest that reads such data")
        parser.add_argument("--market", choices=[m.value for m in Market], default=settings.SURGE_MARKET)
        parser.add_argument("--config", default="{}", metavar="JSON", help="settings other than those of the training")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        started = time.monotonic()
        tables_ensure()
        dataset = "\n".join(options["dataset"])
        model_version = _model_version(options["model_version"], input_level(dataset))
        try:
            report = model_version_evaluate(
                model_version=model_version,
                dataset=dataset,
                market=options["market"],
                config=config_of(options["config"]),
                on_progress=lambda share, step: self.stderr.write(f"{100 * share:3.0f} %  {step}"),
            )
        except TrainingFailed as error:
            raise CommandError(str(error), returncode=2) from error
        report = {"model_version": model_version.version, "dataset": dataset} | report
        report["seconds"] = round(time.monotonic() - started, 2)
        self.stdout.write(json.dumps(without_nan(report)) if options["as_json"] else readable(report))


def _model_version(version: str | None, level: str) -> ModelVersion:
    if version is not None:
        found = model_version_list(settings.SURGE_MODE).filter(version=version).first()
    else:
        found = model_version_newest(settings.SURGE_MODE, level)
    if found is None:
        asked = f"no model {version!r}" if version else f"no model that reads features of {level}"
        raise CommandError(f"There is {asked} yet: train one with ./surge train.", returncode=2)
    return found


def readable(report: dict[str, Any]) -> str:
    metrics = report["metrics"]
    lines = [
        f"{report['model_version']} on {report['dataset']}: {report['rows']} unseen rows, {report['events']} surges",
        *(f"  {name:<9}{interval_of(metrics[name])}" for name in SHOWN),
        f"  at p >= {metrics['decision_p']:g}: {metrics['event_recall']:.1%} of surges caught, "
        f"{metrics['alerts_per_day']:.2f} alerts per coin and day, {metrics['lead_s']:.0f} s ahead",
        "Baselines on the same rows (AP; our gain)",
        *(f"  {name:<9}{row['ap']:.3f}  {interval_of(row['ap_gain'])}" for name, row in report["baselines"].items()),
    ]
    return "\n".join(lines)
