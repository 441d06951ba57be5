"""Scenarios of REST: refused, banned, blocked, broken and slow while books have to be built again."""

import asyncio
from random import Random

from marketdata.binance.snapshot_queue import AT_ONCE
from marketdata.events import NS_PER_S
from marketdata.simulator.penalties import MINUTE_NS
from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import RESYNC_S, Stage, open_stage

UNDER_WAY = AT_ONCE
"""Calls that were sent before the answer to the first could tell them to wait."""

LAST_SECONDS_NS = 12 * NS_PER_S


async def _cut_while(stage: Stage, within_s: float, **fault: object) -> None:
    """Spoil the next calls of depth, cut the line, and see the books come back in time."""
    stage.exchange.fault("rest", path="depth", **fault)
    at_s = await stage.fault("cut")
    await stage.until(lambda: bool(stage.client.went_stale(at_s)), 3.0)
    stage.found.at_most("standing again", await stage.whole(within_s + 20.0), within_s)
    stage.found.at_least("calls that met the fault", stage.exchange.rest_desk.faults.hits.get("depth", 0), 1)
    await asyncio.sleep(1.0)
    stage.check_books()


def _obedience(stage: Stage) -> None:
    penalties = stage.exchange.rest_desk.penalties
    stage.found.at_most("calls before Retry-After was over", penalties.early, UNDER_WAY, "")


@scenario(26, promise="P9", quick=True)
async def rest_429(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_while(stage, 4.0 + RESYNC_S + 3.0, kind="status", status=429, retry_after_s=4)
        _obedience(stage)
        found.equal("bans", stage.exchange.rest_desk.penalties.bans, 0)


@scenario(26, promise="P9")
async def rest_418(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_while(stage, 6.0 + RESYNC_S + 4.0, kind="status", status=418, retry_after_s=6)
        _obedience(stage)


@scenario(26, promise="P9")
async def weight_used_up(found: Findings, random: Random) -> None:
    """The minute's weight is nearly gone when 20 books are lost: no call too many, no ban."""
    async with open_stage(found, random, symbols=20) as stage:
        await stage.until(lambda: stage.exchange.venue.now_ns % MINUTE_NS < MINUTE_NS - LAST_SECONDS_NS, 15.0)
        stage.exchange.fault("weight", used=5500)
        await stage.fault("cut")
        await asyncio.sleep(8.0)
        _obedience(stage)
        found.equal("times the weight was used up", stage.exchange.rest_desk.penalties.refusals, 0)
        found.equal("bans", stage.exchange.rest_desk.penalties.bans, 0)
        found.note(f"{stage.exchange.rest_desk.used_weight} of 6000 weight used")
        stage.check_books()


async def _stay_away(found: Findings, random: Random, status: int) -> None:
    async with open_stage(found, random) as stage:
        stage.exchange.fault("rest", path="depth", kind="status", status=status, count=1000)
        before = stage.exchange.rest_desk.requests
        at_s = await stage.fault("cut")
        await stage.until(lambda: bool(stage.client.went_stale(at_s)), 3.0)
        await asyncio.sleep(10.0)
        found.at_most("calls in 10 s after it", stage.exchange.rest_desk.requests - before, 4, "")
        found.equal("books that claim to stand", sum(map(stage.client.synced, stage.client.symbols)), 0)
        stage.check_books()


@scenario(27, promise="fault 27")
async def rest_403(found: Findings, random: Random) -> None:
    """The firewall's page: nothing is asked for five minutes (calls already under way may end)."""
    await _stay_away(found, random, 403)


@scenario(27, promise="fault 27")
async def rest_451(found: Findings, random: Random) -> None:
    await _stay_away(found, random, 451)


@scenario(12, promise="P5", quick=True)
async def rest_503(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_while(stage, RESYNC_S + 5.0, kind="status", status=503, count=4)


@scenario(12, promise="P5")
async def rest_truncated(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_while(stage, RESYNC_S + 5.0, kind="truncated", count=4)


@scenario(12, promise="P5")
async def rest_html(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_while(stage, RESYNC_S + 5.0, kind="html", count=4)


@scenario(12, promise="P5")
async def rest_slow_for_one(found: Findings, random: Random) -> None:
    """One symbol's snapshot takes 8 s; the others do not wait for it."""
    async with open_stage(found, random) as stage:
        slow = stage.some_symbols(1)[0]
        stage.exchange.fault("rest", path="depth", kind="slow", delay_s=8.0, symbol=slow)
        at_s = await stage.fault("cut")
        others = [symbol for symbol in stage.client.symbols if symbol != slow]
        await stage.until(lambda: bool(stage.client.went_stale(at_s)), 3.0)
        came = await stage.until(lambda: all(map(stage.client.synced, others)), 15.0)
        found.at_most("others standing again", came, RESYNC_S)
        found.at_most("all standing again", await stage.whole(25.0), 15.0)
        await asyncio.sleep(1.0)
        stage.check_books()
