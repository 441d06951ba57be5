"""Reads of the registry."""

from django.db.models import QuerySet

from modeling.models import ModelVersion, TrainingRun


def champion_get(mode: str) -> ModelVersion | None:
    """Return the model that decides in `mode`, or None while there is none."""
    return ModelVersion.objects.filter(mode=mode, status=ModelVersion.Status.CHAMPION).first()


def model_version_list(mode: str) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(mode=mode)


def model_version_newest(mode: str, input_level: str) -> ModelVersion | None:
    """Return the champion if it reads features of `input_level`, else the newest model that does."""
    readers = [m for m in model_version_list(mode) if m.card["dataset"].get("input_level", "book") == input_level]
    champions = [m for m in readers if m.status == ModelVersion.Status.CHAMPION]
    return next(iter(champions or sorted(readers, key=lambda m: m.created_at, reverse=True)), None)


def training_run_list_open() -> QuerySet[TrainingRun]:
    """Return the trainings that wait or run."""
    return TrainingRun.objects.filter(status__in=[TrainingRun.Status.QUEUED, TrainingRun.Status.RUNNING])
