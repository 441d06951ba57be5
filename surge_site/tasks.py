"""Work of the site itself: a canary that proves the worker works, and the daily clean-up."""

import time

from celery import shared_task
from django.core.cache import cache
from django.core.management import call_command

CANARY_KEY = "canary:worker"
CANARY_LIFE_S = 600


@shared_task
def canary_sing() -> None:
    """Leave the time in the cache: a worker that answers pings may still consume nothing."""
    cache.set(CANARY_KEY, time.time(), CANARY_LIFE_S)


@shared_task
def housekeeping_run() -> None:
    call_command("clearsessions")
    call_command("axes_reset_logs", age=30)
