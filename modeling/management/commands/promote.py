"""Make a trained model the champion; live decides with it after its next start."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from modeling.artifacts import ArtifactError
from modeling.models import ModelVersion
from modeling.selectors import model_version_list
from modeling.services import model_version_promote

SHOWN = 5


class Command(BaseCommand):
    help = "Make a model version the champion of the current mode; the one before retires."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("version", help="as printed by train")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        try:
            promoted = model_version_promote(model_version=_found(options["version"]))
        except ArtifactError as error:
            raise CommandError(str(error), returncode=2) from error
        report = {"model_version": promoted.version, "mode": promoted.mode, "gates_passed": promoted.gates_passed}
        words = "passed all gates" if promoted.gates_passed else "did NOT pass all gates; you promoted it by hand"
        text = f"{promoted.version} is champion of {promoted.mode}. It {words}."
        self.stdout.write(json.dumps(report) if options["as_json"] else text)


def _found(version: str) -> ModelVersion:
    known = model_version_list(settings.SURGE_MODE)
    found = known.filter(version=version).first()
    if found is None:
        names = ", ".join(known.values_list("version", flat=True)[:SHOWN]) or "none yet: train one with ./surge train"
        raise CommandError(
            f"There is no model {version!r} in {settings.SURGE_MODE} mode. Newest models: {names}.", returncode=2
        )
    return found
