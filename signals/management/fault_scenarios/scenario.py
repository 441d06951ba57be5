"""The list of scenarios and how one is run: its faults come from the seed, its verdict from what was measured."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.stage import NotStarted

LONGEST_S = 90.0

Play = Callable[[Findings, Random], Awaitable[None]]


class Scenario(NamedTuple):
    """`faults` are rows of the fault matrix; `quick` ones are in the short run, `alone` ones hold up the loop."""

    name: str
    faults: tuple[int, ...]
    promise: str
    quick: bool
    alone: bool
    play: Play


class Result(NamedTuple):
    name: str
    ok: bool
    detail: str
    faults: tuple[int, ...]
    promise: str
    seconds: float


SCENARIOS: dict[str, Scenario] = {}


def scenario(*faults: int, promise: str, quick: bool = False, alone: bool = False) -> Callable[[Play], Play]:
    """Enter a function under its own name."""

    def enter(play: Play) -> Play:
        name = play.__name__
        SCENARIOS[name] = Scenario(name, faults, promise, quick, alone, play)
        return play

    return enter


async def run(entry: Scenario, seed: int) -> Result:
    """Run one scenario; whatever breaks in it is its verdict, never the end of the run."""
    found, began = Findings(), time.monotonic()
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


async def run_all(entries: Sequence[Scenario], seed: int, at_once: int, tell: Callable[[Result], None]) -> list[Result]:
    """Run scenarios, so many at once, those that need the machine for themselves at the end; the order is kept."""
    slots, results = asyncio.Semaphore(at_once), {}

    async def run_one(entry: Scenario) -> None:
        async with slots:
            results[entry.name] = await run(entry, seed)
        tell(results[entry.name])

    with quiet_logs():
        await asyncio.gather(*(run_one(entry) for entry in entries if not entry.alone))
        for entry in entries:
            if entry.alone:
                await run_one(entry)
    return [results[entry.name] for entry in entries]


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Faults make the client complain, as it should; here its figures speak."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
