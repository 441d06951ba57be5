"""The stage of a scenario: a living exchange on loopback, the client under test, and a clock for what happens."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from marketdata.binance.instruments import parse_exchange_info
from marketdata.events import Market
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.server import ExchangeServer
from marketdata.simulator.venue import LivingVenue
from signals.management.fault_scenarios.client import Client
from signals.management.fault_scenarios.findings import Findings, p95
from signals.management.fault_scenarios.truth import Truth

START_S = 25.0
STALE_S, RECONNECT_S, RESYNC_S = 0.5, 1.0, 5.0


class NotStarted(Exception):
    """The books did not stand before the fault: nothing was measured."""


@dataclass
class Stage:
    """`fault` turns a knob and says when."""

    exchange: ExchangeServer
    client: Client
    truth: Truth
    random: Random
    found: Findings

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def fault(self, name: str, **parameters: Any) -> float:
        """Turn a knob at a moment of the seed; return that moment."""
        await asyncio.sleep(self.random.uniform(0.0, 0.4))
        at_s = self.now_s()
        self.exchange.fault(name, **parameters)
        return at_s

    async def until(self, condition: Callable[[], bool], within_s: float) -> float | None:
        """Wait for `condition`; return the seconds it took, None when it did not come."""
        began = self.now_s()
        while not condition():
            if self.now_s() - began > within_s:
                return None
            await asyncio.sleep(0.005)
        return self.now_s() - began

    async def whole(self, within_s: float) -> float | None:
        """Wait until every book stands."""
        return await self.until(lambda: self.client.is_whole, within_s)

    def some_symbols(self, count: int) -> list[str]:
        return self.random.sample(self.client.symbols, count)

    # Promises that many scenarios share

    def check_books(self, lag_s: float = STALE_S + 0.5) -> None:
        """No decision on a wrong book; none on one that missed something for longer than `lag_s`."""
        self.found.equal("decisions on wrong books", len(self.truth.wrong), 0)
        self.found.at_most("oldest book decided on", max(self.truth.worst_lag_s.values(), default=0.0), lag_s)
        self.found.note(f"{self.truth.compared} books compared with the oracle")
        if self.truth.compared == 0:
            self.found.fail("no book was compared with the oracle")

    async def check_recovery(
        self, at_s: float, symbols: list[str], *, stale_s: float, resync_s: float = RESYNC_S
    ) -> None:
        """Of these symbols each goes stale and stands again; the promise for standing counts from going stale."""
        await self.until(lambda: self.client.went_stale(at_s).keys() >= set(symbols), stale_s + 3.0)
        stale = self.client.went_stale(at_s)
        missed = [symbol for symbol in symbols if symbol not in stale]
        self.found.at_most(
            f"stale ({len(symbols)} symbols)",
            None if missed else max(stale[symbol] for symbol in symbols),
            stale_s,
        )
        await self.whole(resync_s + 15.0)
        again = self.client.stood_again(at_s)
        waits = [again[symbol] - stale[symbol] for symbol in symbols if symbol in again and symbol in stale]
        back = all(self.client.synced(symbol) for symbol in symbols)
        self.found.at_most("re-sync p95", p95(waits) if back and waits else None, resync_s)

    def check_untouched(self, at_s: float, others: list[str]) -> None:
        stale = self.client.went_stale(at_s)
        self.found.equal("other symbols gone stale", sum(symbol in stale for symbol in others), 0)


@contextlib.asynccontextmanager
async def open_stage(
    found: Findings,
    random: Random,
    *,
    symbols: int = 6,
    market: Market = Market.SPOT,
    pool: dict[str, Any] | None = None,
    begin: Callable[[ExchangeServer], object] | None = None,
    starts_whole: bool = True,
    seed: int = 11,
    **options: Any,
) -> AsyncIterator[Stage]:
    """Open an exchange and a client and wait until every book stands.

    Parameters
    ----------
    pool : dict
        Options of the stream pool, such as a shortened day; those it does not know are left out.
    begin : callable
        Turns knobs before the client comes.
    starts_whole : bool
        Whether the books have to stand before the scenario begins.
    """
    unlisted = options.pop("unlisted", 0)
    simulated = SimulatedMarket(seed, market, symbols + unlisted, time.time_ns())
    venue = LivingVenue(simulated, simulated.symbols[symbols:])
    async with ExchangeServer(venue, seed=random.randrange(1 << 30), **options) as exchange:
        truth = Truth(venue.oracle_book, asyncio.get_running_loop().time)
        exchange.watchers.append(truth.watch)
        if begin is not None:
            begin(exchange)
        instruments = parse_exchange_info(venue.exchange_info())
        async with Client(exchange.rest_url, exchange.stream_url, market, instruments, truth, **(pool or {})) as client:
            stage = Stage(exchange, client, truth, random, found)
            if starts_whole and await stage.whole(START_S) is None:
                raise NotStarted(f"books did not stand within {START_S:g} s")
            truth.forget_lags()
            yield stage


async def rehearse() -> None:
    """Run both markets for a moment, so that everything is compiled before a clock runs."""
    for market in Market:
        async with open_stage(Findings(), Random("rehearsal"), symbols=1, market=market, starts_whole=False) as stage:
            if await stage.whole(180.0) is None:
                raise NotStarted(f"the {market} rehearsal found no book to stand")
            await asyncio.sleep(0.5)
