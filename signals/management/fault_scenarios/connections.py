"""Scenarios of the line itself: torn, closed, reset, frozen, silent, at the end of its day, refused for a while."""

import asyncio
from random import Random

from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import RECONNECT_S, RESYNC_S, STALE_S, Stage, open_stage

LONGEST_BACKOFF_S = 30.0
HALF_OPEN_S, SILENT_S, SILENT_SYMBOL_S, SWITCH_S = 12.0, 5.0, 10.0, 2.0
CLOSE_CODES = (1000, 1001, 1008, 1011, 1012)


async def _new_socket(stage: Stage, before: int) -> float | None:
    """Wait for a connect beyond those `before`."""
    return await stage.until(lambda: stage.exchange.sockets.connects > before, 10.0)


async def _cut_and_recover(stage: Stage, fault: str, *, rounds: int = 2, **parameters: object) -> None:
    """Cut so many times; each time stale, reconnect and re-sync keep their promises."""
    for _ in range(rounds):
        before, cuts = stage.exchange.sockets.connects, len(stage.client.disconnects)
        at_s = await stage.fault(fault, **parameters)
        stage.found.at_most("reconnect try", await _new_socket(stage, before), RECONNECT_S)
        await stage.check_recovery(at_s, stage.client.symbols, stale_s=STALE_S)
        stage.found.equal("disconnect records", len(stage.client.disconnects) - cuts, 1)
        stage.found.equal("stale episodes per symbol", max(stage.client.stale_episodes(at_s).values(), default=0), 1)
    await asyncio.sleep(1.0)
    stage.check_books()


@scenario(1, promise="P1", quick=True, alone=True)
async def tcp_cut(found: Findings, random: Random) -> None:
    async with open_stage(found, random, symbols=20) as stage:
        await _cut_and_recover(stage, "cut", code=1006)


@scenario(1, promise="P1", quick=True)
async def close_frame(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_and_recover(stage, "cut", code=random.choice(CLOSE_CODES))


@scenario(1, promise="P1")
async def tcp_reset(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_and_recover(stage, "rst")


@scenario(2, promise="P4")
async def day_over(found: Findings, random: Random) -> None:
    """The exchange hangs up after its day of 12 s; a client that rotates in time misses nothing."""
    pool = {"life_s": 8.0}
    async with open_stage(found, random, pool=pool, lifetime_s=12.0) as stage:
        at_s = stage.now_s()
        await asyncio.sleep(22.0)
        found.equal("symbols gone stale over the day's end", len(stage.client.went_stale(at_s)), 0)
        found.equal("disconnect records", len(stage.client.disconnects), 0)
        found.note(f"{stage.exchange.sockets.connects} connects")
        await stage.whole(10.0)
        stage.check_books()


@scenario(2, promise="P3")
async def same_data_repeated(found: Findings, random: Random) -> None:
    """Frames go on coming, and each is the last one again: an old stream, not a living one."""
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("repeat", stream="*")
        await stage.until(lambda: len(stage.client.went_stale(at_s)) == len(stage.client.symbols), SILENT_S + 7.0)
        stale = stage.client.went_stale(at_s)
        found.at_most("stale", max(stale.values()) if len(stale) == len(stage.client.symbols) else None, SILENT_S)
        stage.exchange.fault("heal")
        found.at_most("standing again after the fault", await stage.whole(20.0), 15.0)
        stage.check_books(SILENT_S + STALE_S)


async def _shutdown(found: Findings, random: Random, shape: str) -> None:
    async with open_stage(found, random) as stage:
        before = stage.exchange.sockets.connects
        at_s = await stage.fault("shutdown_notice", after_s=6.0, shape=shape)
        found.at_most("new socket", await _new_socket(stage, before), SWITCH_S)
        await asyncio.sleep(8.0)
        found.equal("symbols gone stale", len(stage.client.went_stale(at_s)), 0)
        await stage.whole(10.0)
        stage.check_books()


@scenario(3, promise="P4")
async def server_shutdown_combined(found: Findings, random: Random) -> None:
    await _shutdown(found, random, "combined")


@scenario(3, promise="P4")
async def server_shutdown_raw(found: Findings, random: Random) -> None:
    await _shutdown(found, random, "raw")


@scenario(3, promise="P1")
async def server_shutdown_at_once(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        await _cut_and_recover(stage, "shutdown_notice", rounds=1, after_s=0.0)


@scenario(4, promise="P2")
async def half_open(found: Findings, random: Random) -> None:
    """The sockets stay open and nothing is read or written any more."""
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("freeze")
        everyone = len(stage.client.symbols)
        await stage.until(lambda: len(stage.client.went_stale(at_s)) == everyone, HALF_OPEN_S + 8.0)
        stale = stage.client.went_stale(at_s)
        found.at_most("detected", max(stale.values()) if len(stale) == everyone else None, HALF_OPEN_S)
        stage.exchange.fault("thaw")
        found.at_most("standing again after the thaw", await stage.whole(25.0), 15.0)
        stage.check_books(HALF_OPEN_S + STALE_S)


@scenario(5, promise="P3", quick=True)
async def silent_stall_of_all(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("stall", stream="*")
        everyone = len(stage.client.symbols)
        await stage.until(lambda: len(stage.client.went_stale(at_s)) == everyone, SILENT_S + 5.0)
        stale = stage.client.went_stale(at_s)
        found.at_most("detected", max(stale.values()) if len(stale) == everyone else None, SILENT_S)
        stage.check_books(SILENT_S + STALE_S)
        stage.truth.forget_lags()
        await asyncio.sleep(3.0)
        found.at_most("oldest book decided on after it", max(stage.truth.worst_lag_s.values(), default=0.0), 1.0)
        stage.exchange.fault("heal")
        found.at_most("standing again after the fault", await stage.whole(20.0), 10.0)
        stage.truth.forget_lags()
        stage.check_books(SILENT_S + STALE_S)


@scenario(6, promise="P3")
async def silent_stall_of_one(found: Findings, random: Random) -> None:
    """One symbol's depth stream of many falls silent; its trades and quotes go on."""
    async with open_stage(found, random) as stage:
        symbol = stage.some_symbols(1)[0]
        at_s = await stage.fault("stall", stream=f"{symbol.lower()}@depth@100ms")
        await stage.until(lambda: symbol in stage.client.went_stale(at_s), SILENT_SYMBOL_S + 4.0)
        found.at_most("stale", stage.client.went_stale(at_s).get(symbol), SILENT_SYMBOL_S)
        stage.check_untouched(at_s, [one for one in stage.client.symbols if one != symbol])
        stage.exchange.fault("heal")
        found.at_most("standing again after the fault", await stage.whole(20.0), 10.0)
        stage.check_books(SILENT_SYMBOL_S + STALE_S)


@scenario(8, promise="P10")
async def ping_flood(found: Findings, random: Random) -> None:
    """20 pings at once: a client that answers each of them is thrown out for talking too much."""
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("pings", count=20)
        await asyncio.sleep(3.0)
        found.equal("connections lost to the message limit", len(stage.client.disconnects), 0)
        found.note(f"{len(stage.client.went_stale(at_s))} symbols gone stale")


@scenario(8, promise="P10")
async def client_message_rate(found: Findings, random: Random) -> None:
    """120 symbols, 360 streams, two connections: subscribing stays below the limit."""
    async with open_stage(found, random, symbols=120, starts_whole=False) as stage:
        await stage.until(lambda: stage.client.pool.frames > 0 and not stage.client.pool.pending(), 20.0)
        found.equal("streams without a frame", len(stage.client.pool.pending()), 0)
        found.equal("connections lost to the message limit", len(stage.client.disconnects), 0)
        found.at_most("messages in a second", stage.exchange.sockets.fastest_client, 5, "messages")


async def _unacknowledged(found: Findings, random: Random, kind: str, within_s: float = 30.0) -> None:
    async with open_stage(
        found, random, begin=lambda exchange: exchange.fault("acks", kind=kind), starts_whole=False
    ) as stage:
        found.at_most("every book stands", await stage.whole(within_s), within_s)
        await stage.until(lambda: not stage.client.pool.pending(), 15.0)
        found.equal("streams without a frame", len(stage.client.pool.pending()), 0)
        await asyncio.sleep(1.5)
        stage.check_books(max(max(stage.truth.worst_lag_s.values(), default=0.0), STALE_S))


@scenario(9, promise="fault 9")
async def subscribe_lost(found: Findings, random: Random) -> None:
    """Acknowledged, and no stream of it delivers."""
    await _unacknowledged(found, random, "lost")


@scenario(9, promise="fault 9")
async def subscribe_half_lost(found: Findings, random: Random) -> None:
    """Acknowledged, and half of the streams never deliver."""
    await _unacknowledged(found, random, "partial")


@scenario(9, promise="fault 9")
async def subscribe_refused(found: Findings, random: Random) -> None:
    await _unacknowledged(found, random, "error")


@scenario(33, promise="fault 33")
async def maintenance(found: Findings, random: Random) -> None:
    """Connected, pings answered, nothing said for 15 s; then everything goes on."""
    async with open_stage(found, random) as stage:
        before = stage.exchange.sockets.connects
        at_s = await stage.fault("pause")
        await asyncio.sleep(15.0)
        stale = stage.client.went_stale(at_s)
        everyone = len(stale) == len(stage.client.symbols)
        found.at_most("stale", max(stale.values()) if everyone else None, SILENT_S)
        found.at_most("connects meanwhile", stage.exchange.sockets.connects - before, 6, "")
        stage.exchange.fault("resume")
        found.at_most("standing again", await stage.whole(40.0), 35.0)
        episodes = stage.client.stale_episodes(at_s)
        found.equal("stale episodes per symbol", max(episodes.values(), default=0), 1)
        stage.check_books(SILENT_S + STALE_S)


@scenario(34, 28, promise="P10")
async def exchange_down(found: Findings, random: Random) -> None:
    """Nobody answers for 8 s: tries with backoff, then books again."""
    async with open_stage(found, random) as stage:
        failed = stage.client.pool.statistics["failed_connects"]
        at_s = await stage.fault("down", for_s=8.0)
        await asyncio.sleep(8.0)
        tries = stage.client.pool.statistics["failed_connects"] - failed
        found.at_least("tries while it was down", tries, 2)
        found.at_most("tries while it was down", tries, 12, "")
        found.at_most("standing again", await stage.whole(LONGEST_BACKOFF_S + 10.0), LONGEST_BACKOFF_S + RESYNC_S)
        found.equal("disconnect records", len(stage.client.disconnects), 1)
        stale = stage.client.went_stale(at_s)
        found.at_most("stale", max(stale.values(), default=None), STALE_S)
        stage.check_books()
