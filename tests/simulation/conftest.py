"""How many seeds the simulation runs, or which one: ./surge test tests/simulation --seeds 10000, or --seed 17."""

import os

import pytest

SEEDS = 2000 if os.environ.get("CI") == "true" else 300


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seeds", type=int, default=SEEDS, help=f"seeds of the simulation, from 0 on (default {SEEDS})")
    group.addoption("--seed", type=int, default=None, help="run this seed of the simulation alone")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> range:
    """pytest knows the options only when this folder is named on the command line; else the defaults hold."""
    one = request.config.getoption("--seed", default=None)
    if one is not None:
        return range(one, one + 1)
    return range(request.config.getoption("--seeds", default=SEEDS))
