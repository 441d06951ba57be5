"""Many seeds on all cores, in processes of their own."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.scenario import Scenario, Violation

BATCH = 50


def run_batch(seeds: range) -> list[str]:
    """Return what went wrong, a line for each seed that failed."""
    failures = []
    for seed in seeds:
        scenario = Scenario(seed)
        try:
            scenario.run()
        except Violation as violation:
            failures.append(f"{violation}\n  {scenario}\n  replay: ./surge test tests/simulation --seed {seed}")
    return failures


def run_all(seeds: range) -> Iterator[str]:
    """Yield the failures of all seeds."""
    if len(seeds) <= BATCH:
        yield from run_batch(seeds)
        return
    batches = [seeds[start : start + BATCH] for start in range(0, len(seeds), BATCH)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for failures in pool.map(run_batch, batches):
            yield from failures
