"""System checks: what cannot work, with an id and a hint."""

import os
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from surge_site.config import LOOPBACK_HOSTS


@register
def var_dir_is_writable(app_configs: Any, **_: Any) -> list[CheckMessage]:
    folder = settings.SURGE_VAR_DIR
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(nearest, os.W_OK | os.X_OK):
        return []
    hint = "Give the user who runs ./surge the right to write there, or set SURGE_VAR_DIR to another folder."
    return [Error(f"{nearest} cannot be written to.", hint=hint, id="surge.E001")]


@register
def demo_stays_at_home(app_configs: Any, **_: Any) -> list[CheckMessage]:
    strangers = [host for host in settings.ALLOWED_HOSTS if host.strip("[]") not in LOOPBACK_HOSTS]
    if settings.SURGE_MODE != "demo" or not strangers:
        return []
    hint = "Its prices are simulated: use SURGE_MODE=production for a page that others see, or tell them so."
    return [Warning(f"The demo answers to {', '.join(strangers)}.", hint=hint, id="surge.W001")]


@register
def production_engines_are_named(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if settings.SURGE_MODE != "production" or settings.SURGE_REDIS_URL is None:
        return []
    parts = urlsplit(settings.SURGE_REDIS_URL)
    if parts.hostname in LOOPBACK_HOSTS or parts.password:
        return []
    hint = "Set requirepass in Redis and write SURGE_REDIS_URL as redis://:password@host:port/0."
    return [Error(f"Redis on {parts.hostname} has no password.", hint=hint, id="surge.E002")]
