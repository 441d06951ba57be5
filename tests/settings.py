"""Django's settings in tests: the site's own, with the engines of the test session."""

from tests.engine_stage import STAGE

STAGE.announce()  # first: the site's settings read what it puts into the environment

from surge_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # hundreds of logins; strength is not tested here
