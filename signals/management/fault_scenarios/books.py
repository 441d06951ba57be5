"""Scenarios of the order book's chain: lost, doubled, mixed-up diffs, bad prices, snapshots of another moment."""

import asyncio
from random import Random

from marketdata.events import Market
from signals.management.fault_scenarios.findings import Findings
from signals.management.fault_scenarios.scenario import scenario
from signals.management.fault_scenarios.stage import RESYNC_S, STALE_S, Stage, open_stage

LOST_S = 0.5
"""Three lost diffs and the one that shows the gap leave within this time."""

BAD_PRICES = ("0", "-1", "NaN", "Infinity", "1e309", "")


def _depth(symbol: str) -> str:
    return f"{symbol.lower()}@depth@100ms"


async def _only_these(stage: Stage, at_s: float, symbols: list[str], what: str, stale_s: float = STALE_S) -> None:
    """These symbols re-sync as promised, once each, and nobody else notices."""
    await stage.check_recovery(at_s, symbols, stale_s=stale_s)
    stage.check_untouched(at_s, [one for one in stage.client.symbols if one not in symbols])
    episodes = stage.client.stale_episodes(at_s)
    stage.found.equal(what, [episodes.get(symbol, 0) for symbol in symbols], [1] * len(symbols))
    await asyncio.sleep(1.0)
    stage.check_books()


async def _lose_diffs(found: Findings, random: Random, market: Market) -> None:
    async with open_stage(found, random, symbols=20, market=market) as stage:
        lost = stage.some_symbols(5)
        at_s = stage.now_s()
        for symbol in lost:
            stage.exchange.fault("drop", stream=_depth(symbol), count=random.randint(1, 3))
        await _only_these(stage, at_s, lost, "gaps", STALE_S + LOST_S)
        found.equal("gap records", stage.client.counted("gaps"), len(lost))


@scenario(13, promise="P5", quick=True)
async def diff_dropped(found: Findings, random: Random) -> None:
    await _lose_diffs(found, random, Market.SPOT)


@scenario(13, promise="P5")
async def diff_dropped_futures(found: Findings, random: Random) -> None:
    await _lose_diffs(found, random, Market.USDM)


@scenario(14, promise="P6", quick=True)
async def diff_doubled(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("double", stream="*", count=200)
        await asyncio.sleep(4.0)
        found.equal("messages still to double", stage.exchange.faults.doubles.get("*", 0), 0)
        found.equal("symbols gone stale", len(stage.client.went_stale(at_s)), 0)
        found.equal("gap records", stage.client.counted("gaps"), 0)
        stage.check_books()


@scenario(15, promise="P6")
async def diff_reordered(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        mixed = stage.some_symbols(2)
        at_s = stage.now_s()
        for symbol in mixed:
            stage.exchange.fault("shuffle", stream=_depth(symbol), window=5)
        await asyncio.sleep(1.0)
        found.at_most("standing again", await stage.whole(20.0), RESYNC_S)
        stage.check_untouched(at_s, [one for one in stage.client.symbols if one not in mixed])
        stale = [stage.client.stale_episodes(at_s).get(symbol, 0) for symbol in mixed]
        found.at_most("stale episodes per symbol", max(stale), 1, "")
        await asyncio.sleep(1.0)
        stage.check_books(1.5)


@scenario(16, promise="fault 16")
async def ids_jump_back(found: Findings, random: Random) -> None:
    """A restarted matching engine counts from a lower number: re-sync, not "old" for ever."""
    async with open_stage(found, random) as stage:
        symbol = stage.some_symbols(1)[0]
        at_s = await stage.fault("skip_ids", symbol=symbol, ids=-5_000_000)
        await stage.until(lambda: symbol in stage.client.went_stale(at_s), 8.0)
        found.at_most("stale", stage.client.went_stale(at_s).get(symbol), 2.0 + STALE_S)
        found.at_most("standing again", await stage.whole(20.0), RESYNC_S)
        stage.check_books(2.0 + STALE_S)


@scenario(13, 16, promise="P5")
async def ids_jump_forward(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        symbols = stage.some_symbols(1)
        at_s = await stage.fault("skip_ids", symbol=symbols[0], ids=1000)
        await _only_these(stage, at_s, symbols, "gaps")


@scenario(17, promise="P7", quick=True)
async def crossed_book(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        symbols = stage.some_symbols(1)
        at_s = await stage.fault("spoil", stream=_depth(symbols[0]), kind="cross")
        await _only_these(stage, at_s, symbols, "stale episodes")
        found.equal("crossed books counted", stage.client.counted("crossed"), 1)


async def _bad_numbers(found: Findings, random: Random, stream: str) -> None:
    async with open_stage(found, random) as stage:
        symbols = stage.client.symbols[: len(BAD_PRICES)]
        rejected, at_s = stage.client.rejected, stage.now_s()
        for symbol, price in zip(symbols, BAD_PRICES, strict=True):
            stage.exchange.fault("spoil", stream=f"{symbol.lower()}@{stream}", kind="price", text=price)
        await stage.until(lambda: len(stage.exchange.faults.spoilt) == len(BAD_PRICES), 10.0)
        if stream.startswith("depth"):
            await stage.check_recovery(at_s, symbols, stale_s=STALE_S + 0.5)
        await asyncio.sleep(1.0)
        found.equal("messages rejected", stage.client.rejected - rejected, len(BAD_PRICES))
        stage.check_books()


@scenario(20, promise="P7", quick=True)
async def bad_price_in_depth(found: Findings, random: Random) -> None:
    """0, -1, NaN, Infinity, 1e309 and nothing as a price, one symbol each."""
    await _bad_numbers(found, random, "depth@100ms")


@scenario(20, promise="P7")
async def bad_price_in_quotes(found: Findings, random: Random) -> None:
    await _bad_numbers(found, random, "bookTicker")


@scenario(20, promise="P7")
async def bad_price_in_trades(found: Findings, random: Random) -> None:
    await _bad_numbers(found, random, "aggTrade")


@scenario(18, promise="C18")
async def thin_snapshots(found: Findings, random: Random) -> None:
    """Snapshots of 20 levels: as the price walks away, nobody may decide on what was never known."""
    async with open_stage(
        found, random, speed=4.0, begin=lambda exchange: exchange.fault("depth_cap", levels=20)
    ) as stage:
        await asyncio.sleep(12.0)
        stage.check_books()


@scenario(19, promise="fault 19")
async def delete_of_unknown_level(found: Findings, random: Random) -> None:
    async with open_stage(found, random) as stage:
        at_s = await stage.fault("spoil", stream="*@depth", kind="del_unknown", count=60)
        await asyncio.sleep(3.0)
        found.equal("symbols gone stale", len(stage.client.went_stale(at_s)), 0)
        stage.check_books()


@scenario(10, promise="P5", quick=True)
async def snapshot_too_old(found: Findings, random: Random) -> None:
    """A cache of before the cut answers the first calls: refused, the buffer kept, asked again."""
    async with open_stage(found, random, symbols=4) as stage:
        stage.exchange.fault("old_snapshot", count=8)
        await asyncio.sleep(1.0)
        at_s = await stage.fault("cut")
        await stage.until(lambda: bool(stage.client.went_stale(at_s)), 3.0)
        found.at_most("standing again", await stage.whole(40.0), 20.0)
        found.equal("old snapshots left over", stage.exchange.rest_desk.faults.old_left, 0)
        found.at_most("calls of depth", len(stage.client.fetches), 30, "")
        await asyncio.sleep(1.0)
        stage.check_books()


async def _snapshot_ahead(found: Findings, random: Random, market: Market) -> None:
    """Diffs are 1.5 s behind, so every snapshot is ahead of them: what it contains already is dropped."""
    async with open_stage(found, random, market=market) as stage:
        stage.exchange.fault("delay", stream="*@depth", by_s=1.5)
        await asyncio.sleep(2.0)
        at_s = await stage.fault("cut")
        await stage.until(lambda: bool(stage.client.went_stale(at_s)), 3.0)
        found.at_most("standing again", await stage.whole(30.0), RESYNC_S + 1.5)
        stage.truth.forget_lags()
        await asyncio.sleep(3.0)
        stage.check_books(1.5 + STALE_S)


@scenario(11, promise="P5")
async def snapshot_ahead(found: Findings, random: Random) -> None:
    await _snapshot_ahead(found, random, Market.SPOT)


@scenario(11, promise="P5")
async def snapshot_ahead_futures(found: Findings, random: Random) -> None:
    await _snapshot_ahead(found, random, Market.USDM)
