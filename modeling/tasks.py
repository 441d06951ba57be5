"""Celery: long work of modeling, on the queue `cpu`."""

import logging

from celery import shared_task

from modeling.services import TrainingCancelled, TrainingFailed, training_run_perform

log = logging.getLogger("surge.training")

QUEUE = "cpu"


@shared_task
def training_run_task(run_id: int) -> None:
    """Perform a written-down training; delivered twice, it is done once. Why it failed stands in its row."""
    try:
        training_run_perform(run_id=run_id, on_progress=lambda share, step: log.info("%3.0f %% %s", 100 * share, step))
    except (TrainingFailed, TrainingCancelled) as error:
        log.warning("Training %s ended without a model: %s", run_id, error)


def training_run_enqueue(run_id: int) -> None:
    # The queue is named here because naming it in the decorator is deprecated.
    training_run_task.apply_async((run_id,), queue=QUEUE)
