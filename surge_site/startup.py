"""What a database needs before the first page: tables, strategies, the demo login, a model."""

import logging
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command

from marketdata.features.feature_set import FEATURE_SET_HASH
from modeling.models import ModelVersion
from modeling.selectors import champion_get
from signals.services import strategy_presets_install
from surge_site.engines.record import secret_get

log = logging.getLogger("surge.up")
DEMO_USER = "demo"


@dataclass(frozen=True)
class Login:
    username: str
    password: str


def database_prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("compile_translations", verbosity=0)
    strategy_presets_install()


def demo_login_ensure() -> Login | None:
    """Make the demo user, with a password made once and kept in var/; production has no such door."""
    if settings.SURGE_MODE != "demo":
        return None
    login = Login(DEMO_USER, secret_get(settings.SURGE_VAR_DIR, "demo_password", 12))
    user, _ = get_user_model().objects.get_or_create(
        username=login.username, defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(login.password):
        user.set_password(login.password)
        user.save(update_fields=["password"])
    return login


def champion_usable() -> ModelVersion | None:
    """Return the champion if this code can still use it: same features, files still there."""
    champion = champion_get(settings.SURGE_MODE)
    if champion is None:
        return None
    if champion.feature_set_hash != FEATURE_SET_HASH:
        log.info("The features have changed since model %s was trained", champion.version)
        return None
    if not Path(settings.SURGE_MODELS_DIR, champion.folder).is_dir():
        log.info("The files of model %s are gone from %s", champion.version, settings.SURGE_MODELS_DIR)
        return None
    return champion
