"""What all tests share: real engines that start when first needed, and the recorded market data."""

import os
from pathlib import Path

import pytest
from django.conf import settings

from tests.engine_stage import STAGE

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def postgres_url() -> str:
    STAGE.use("postgres")
    return str(settings.SURGE_DATABASE_URL)


@pytest.fixture(scope="session")
def redis_url() -> str:
    STAGE.use("redis")
    return str(settings.SURGE_REDIS_URL)


@pytest.fixture(scope="session")
def clickhouse_url() -> str:
    STAGE.use("clickhouse")
    return str(settings.SURGE_CLICKHOUSE_URL)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres_url: str) -> None:
    """pytest-django asks for this before it makes the test database: `django_db` starts PostgreSQL."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded market data beside the project, or where SURGE_DATA_ROOT says."""
    root = Path(os.environ.get("SURGE_DATA_ROOT", PROJECT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no recorded market data in {root}: set SURGE_DATA_ROOT to its folder")
    return root


def pytest_unconfigure() -> None:
    STAGE.strike()
