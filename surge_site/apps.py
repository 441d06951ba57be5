"""The site itself as a Django app: system checks and the commands that start and test everything."""

from django.apps import AppConfig


class SurgeSiteConfig(AppConfig):
    name = "surge_site"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from surge_site import checks  # noqa: F401, PLC0415  registering needs the app registry
