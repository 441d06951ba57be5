"""The list of scenarios and how one is run: its faults come from the seed, its verdict from what was measured."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import NamedTuple

from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.stage import NotStarted

LONGEST_S = 90.0

Play = Callable[[Findings, Random], Awaitable[None]]


class Scenario(NamedTuple):
    """`faults` are row numbers of the fault matrix; `quick` ones are in the short run."""

    name: str
    faults: tuple[int, ...]
    promise: str
    quick: bool
    play: Play


class Result(NamedTuple):
    name: str
    ok: bool
    detail: str
    faults: tuple[int, ...]
    promise: str
    seconds: float


SCENARIOS: dict[str, Scenario] = {}


def scenario(*faults: int, promise: str = "", quick: bool = False) -> Callable[[Play], Play]:
    """Enter a function under its own name."""

    def enter(play: Play) -> Play:
        name = play.__name__
        SCENARIOS[name] = Scenario(name, faults, promise, quick, play)
        return play

    return enter


async def run(entry: Scenario, seed: int) -> Result:
    """Run one scenario; whatever breaks in it is its verdict, never the end of the run."""
    found, began = Findings(), time.monotonic()
    with _quiet_logs():
        try:
            async with asyncio.timeout(LONGEST_S):
                await entry.play(found, Random(f"{seed} {entry.name}"))
        except TimeoutError:
            found.fail(f"not over after {LONGEST_S:g} s")
        except NotStarted as error:
            found.fail(f"not started: {error}")
        except Exception as error:  # a client that breaks is what the scenario looks for
            found.fail(f"broke with {type(error).__name__}: {error}")
    if not found.told and not found.broken:
        found.fail("nothing was measured")
    return Result(entry.name, found.ok, found.detail, entry.faults, entry.promise, time.monotonic() - began)


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Faults make the client complain, as it should; here its figures speak."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
