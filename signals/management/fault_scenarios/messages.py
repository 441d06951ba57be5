"""Scenarios of single messages: broken, strange, huge, late, from another clock, and far too many."""

import asyncio
import time
from random import Random

from signals.management.fault_scenarios.books import LOST_S
from signals.management.fault_scenarios.client import LATE_MS
from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import RESYNC_S, STALE_S, Stage, open_stage

MALFORMED = ("truncated", "garbage", "empty_data", "null", "list", "missing", "wrong_type", "enum", "nested", "huge_id")
INJECTED = ("binary", "empty", "text", "number", "fragmented", "not_utf8")
LATE_S = LATE_MS / 1000


def _undisturbed(stage: Stage, at_s: float) -> None:
    stage.found.equal("disconnect records", len(stage.client.disconnects), 0)
    stage.found.equal("symbols gone stale", len(stage.client.went_stale(at_s)), 0)
    stage.check_books()


@scenario(31, promise="P13", quick=True)
async def malformed_trades(found: Findings, random: Random) -> None:
    """Ten kinds of broken message on streams that no book needs: rejected, counted, survived."""
    async with open_stage(found, random) as stage:
        rejected, at_s = stage.client.rejected, stage.now_s()
        for kind in MALFORMED:
            stage.exchange.fault("spoil", stream="*@aggTrade", kind=kind)
        await stage.until(lambda: sum(stage.exchange.faults.spoilt.values()) == len(MALFORMED), 20.0)
        await asyncio.sleep(1.0)
        unreadable = stage.client.pool.statistics["unreadable"]
        found.equal("messages rejected", stage.client.rejected - rejected + unreadable, len(MALFORMED))
        _undisturbed(stage, at_s)


@scenario(31, promise="P13")
async def malformed_depth(found: Findings, random: Random) -> None:
    """The same ten on depth streams: rejected, and because a diff is missing now the symbol re-syncs."""
    async with open_stage(found, random, symbols=len(MALFORMED)) as stage:
        rejected, at_s = stage.client.rejected, stage.now_s()
        for symbol, kind in zip(stage.client.symbols, MALFORMED, strict=True):
            stage.exchange.fault("spoil", stream=f"{symbol.lower()}@depth@100ms", kind=kind)
        await stage.check_recovery(at_s, stage.client.symbols, stale_s=STALE_S + LOST_S)
        found.equal("messages rejected", stage.client.rejected - rejected, len(MALFORMED))
        found.equal("disconnect records", len(stage.client.disconnects), 0)
        await asyncio.sleep(1.0)
        stage.check_books()


@scenario(31, promise="P13")
async def unknown_fields(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        rejected = stage.client.rejected
        at_s = await stage.fault("spoil", stream="*", kind="extra", count=300)
        await asyncio.sleep(4.0)
        found.equal("messages rejected", stage.client.rejected - rejected, 0)
        _undisturbed(stage, at_s)


@scenario(30, 31, promise="P13")
async def odd_frames(found: Findings, random: Random) -> None:
    """Binary, empty, plain text, a number, in three pieces, not UTF-8."""
    async with open_stage(found, random) as stage:
        at_s = stage.now_s()
        for kind in INJECTED:
            await stage.fault("inject", kind=kind, count=2)
        await asyncio.sleep(1.0)
        _undisturbed(stage, at_s)


@scenario(30, promise="P13", quick=True)
async def frame_of_2_mib(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("inject", kind="big", size=2 << 20)
        stage.exchange.fault("spoil", stream="*@aggTrade", kind="padded", count=2)
        await asyncio.sleep(2.0)
        _undisturbed(stage, at_s)


@scenario(30, promise="fault 30")
async def frame_of_5_mib(found: Findings, random: Random) -> None:
    """Above the limit of 4 MiB the client hangs up with 1009 and comes back."""
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("inject", kind="big", size=5 << 20)
        await stage.check_recovery(at_s, stage.client.symbols, stale_s=1.0)
        found.equal("disconnect records", len(stage.client.disconnects), 1)
        await asyncio.sleep(1.0)
        stage.check_books()


@scenario(23, promise="P13", quick=True)
async def microsecond_times(found: Findings, random: Random) -> None:
    """Times turn to microseconds in mid-stream: read by their size, nothing lost."""
    async with open_stage(found, random) as stage:
        rejected = stage.client.rejected
        at_s = await stage.fault("microseconds")
        await asyncio.sleep(3.0)
        found.equal("messages rejected", stage.client.rejected - rejected, 0)
        _undisturbed(stage, at_s)


async def _old_data(stage: Stage, what: str) -> None:
    """From 2 s plus 0.5 s on nobody decides on data that is off by more than 2 s."""
    await asyncio.sleep(LATE_S + STALE_S)
    stage.client.late_decisions = 0
    await asyncio.sleep(3.0)
    stage.found.equal(f"decisions on {what}", stage.client.late_decisions, 0)


async def _skewed(found: Findings, random: Random, by_s: float) -> None:
    async with open_stage(found, random) as stage:
        await stage.fault("skew", by_s=by_s)
        await _old_data(stage, f"a clock {by_s:+g} s off")
        stage.exchange.fault("heal")
        found.at_most("standing again", await stage.whole(30.0), 15.0)
        stage.check_books()


@scenario(24, promise="P12")
async def clock_5_s_behind(found: Findings, random: Random) -> None:
    await _skewed(found, random, -5.0)


@scenario(24, promise="P12")
async def clock_5_s_ahead(found: Findings, random: Random) -> None:
    await _skewed(found, random, 5.0)


@scenario(25, promise="P8")
async def late_data(found: Findings, random: Random) -> None:
    """Everything comes 5 s late over a line that looks well."""
    async with open_stage(found, random) as stage:
        await stage.fault("delay", stream="*", by_s=5.0)
        await _old_data(stage, "data 5 s old")
        stage.exchange.fault("heal")
        found.at_most("standing again", await stage.whole(30.0), 20.0)


@scenario(35, promise="P8")
async def slow_network(found: Findings, random: Random) -> None:
    """A line of 8 kB/s for what needs several times that: the backlog grows, and nobody decides on it."""
    async with open_stage(found, random) as stage:
        await stage.fault("trickle", bytes_per_s=8000)
        await asyncio.sleep(3.0)
        await _old_data(stage, "a backlog")
        stage.exchange.fault("heal")
        found.at_most("standing again", await stage.whole(30.0), 20.0)


@scenario(7, 35, promise="P8", alone=True)
async def blocked_loop(found: Findings, random: Random) -> None:
    """The client's loop stands still for 6 s; what piled up is not decided on as if it were fresh."""
    async with open_stage(found, random) as stage:
        await asyncio.sleep(random.uniform(0.0, 0.4))
        time.sleep(6.0)  # the fault itself: something that blocks the loop
        stage.client.late_decisions = 0
        await asyncio.sleep(3.0)
        found.equal("decisions on data that was late", stage.client.late_decisions, 0)
        found.at_most("standing again", await stage.whole(20.0), 10.0)
        stage.check_books(7.0 + STALE_S)


@scenario(32, promise="fault 32")
async def retired_stream(found: Findings, random: Random) -> None:
    """A stream that is acknowledged and never speaks: named as missing, and the others are left in peace."""
    stream = "btcusdt@bookTicker"
    async with open_stage(found, random, begin=lambda exchange: exchange.fault("retire", stream=stream)) as stage:
        at_s = stage.now_s()
        await asyncio.sleep(14.0)
        found.equal("named as missing", stream in stage.client.pool.pending(), True)
        stage.check_untouched(at_s, [symbol for symbol in stage.client.symbols if symbol != "BTCUSDT"])
        found.at_most("disconnect records", len(stage.client.disconnects), 1, "")
        stage.check_books()


@scenario(36, promise="P15", alone=True)
async def flash_volume(found: Findings, random: Random) -> None:
    """20 times the trades and quotes of 20 symbols for 10 s."""
    async with open_stage(found, random, symbols=20) as stage:
        before = stage.client.inbox.frames
        at_s = await stage.fault("burst", factor=20)
        await asyncio.sleep(10.0)
        found.note(f"{(stage.client.inbox.frames - before) / 10:.0f} messages/s")
        found.at_most("longest backlog", stage.client.longest_inbox_bytes / (1 << 20), 64, "MiB")
        _undisturbed(stage, at_s)


@scenario(31, promise="P13")
async def storm_of_garbage(found: Findings, random: Random) -> None:
    """A thousand broken messages at once; the client keeps its books."""
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("inject", kind="text", count=1000)
        found.at_most("loop held up", await stage.until(lambda: True, 5.0), RESYNC_S)
        await asyncio.sleep(2.0)
        _undisturbed(stage, at_s)
