"""A reader who is logged in, and the hot state that pages read."""

from collections.abc import Iterator

import pytest
import redis
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils.translation import trans_real

from signals.selectors import board_key, redis_client


@pytest.fixture
def reader(db: None) -> User:
    return get_user_model().objects.create_user("reader", password="reads-all-day-long")


@pytest.fixture
def page(reader: User, client: Client) -> Client:
    """The browser of a reader who is logged in."""
    client.force_login(reader)
    return client


@pytest.fixture
def hot(redis_url: str) -> Iterator[redis.Redis]:
    """Redis with an empty board."""
    with redis_client() as found:
        found.delete(board_key("demo"), board_key("production"))
        yield found


@pytest.fixture(scope="session")
def chinese() -> None:
    """The Chinese catalogue, compiled and loaded afresh."""
    call_command("compile_translations", verbosity=0)
    trans_real._translations.clear()
