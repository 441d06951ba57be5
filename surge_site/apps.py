"""The site itself as a Django app: system checks, the Celery app, the commands that start and test everything."""

from django.apps import AppConfig


class SurgeSiteConfig(AppConfig):
    name = "surge_site"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # here and not above: both need the apps, and Celery must know our app before a view enqueues a task
        from surge_site import celery, checks  # noqa: F401
