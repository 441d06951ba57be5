"""The Celery app and, in one table, all work that comes by the clock."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "surge_site.settings")
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")  # a stop hands unfinished tasks back instead of waiting for them

app = Celery("surge")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
