"""Reads of the registry."""

from django.db.models import QuerySet

from modeling.models import ModelVersion, TrainingRun


def champion_get(mode: str) -> ModelVersion | None:
    """Return the model that decides in `mode`, or None while there is none."""
    return ModelVersion.objects.filter(mode=mode, status=ModelVersion.Status.CHAMPION).first()


def model_version_list(mode: str) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(mode=mode)


def training_run_list_open() -> QuerySet[TrainingRun]:
    """Return the trainings that wait or run."""
    return TrainingRun.objects.filter(status__in=[TrainingRun.Status.QUEUED, TrainingRun.Status.RUNNING])
