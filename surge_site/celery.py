"""The Celery app and, in one table, all work that comes by the clock."""

import os
from typing import Any

from celery import Celery
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "surge_site.settings")

app = Celery("surge")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "canary": {"task": "surge_site.tasks.canary_sing", "schedule": 30.0, "options": {"queue": "io", "expires": 30}},
    "housekeeping": {"task": "surge_site.tasks.housekeeping_run", "schedule": crontab(hour=3, minute=17)},
}
app.conf.beat_schedule = BEAT_SCHEDULE
