"""Django's settings in tests: the site's own, with the engines of the test session."""

import os

from surge_site.config import OWN_ENGINES_VARIABLE
from tests.engine_stage import STAGE

if OWN_ENGINES_VARIABLE not in os.environ:  # a child process of the session finds it there
    STAGE.announce()

from surge_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # hundreds of logins; strength is not tested here
