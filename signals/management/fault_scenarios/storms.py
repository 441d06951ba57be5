"""Scenarios of everything at once: faults drawn from the seed, one upon the other."""

import asyncio
from random import Random

from marketdata.simulator.schedule import FAULTS, fault_schedule
from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import open_stage

STORM_S, EVERY_S, CALM_S = 25.0, 2.5, 35.0
LONG_WAITS = {"rest_status", "skip_ids", "delist", "down"}
"""A refusal without Retry-After silences REST for minutes; the others have scenarios of their own."""


@scenario(1, 5, 13, 14, 15, 17, 20, 31, promise="P1-P7")
async def storm_of_faults(found: Findings, random: Random) -> None:
    async with open_stage(found, random, symbols=8) as stage:
        names = [name for name in FAULTS if name not in LONG_WAITS]
        planned = fault_schedule(random.randrange(1 << 30), STORM_S, stage.client.symbols, every_s=EVERY_S, names=names)
        began_s = stage.now_s()
        for one in planned:
            await asyncio.sleep(max(0.0, began_s + min(one.at_s, STORM_S) - stage.now_s()))
            stage.exchange.fault(one.fault, **one.parameters)
        stage.exchange.fault("heal")
        found.note(f"{len(planned)} faults in {STORM_S:g} s")
        found.at_most("standing after the storm", await stage.whole(CALM_S + 5.0), CALM_S)
        stage.truth.forget_lags()
        await asyncio.sleep(2.0)
        stage.check_books()
