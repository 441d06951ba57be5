"""The client under test: the real stream pool, REST client, snapshot desk and pipeline, in one loop, no database."""

import asyncio
import contextlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from marketdata.binance.rest import RestClient
from marketdata.binance.stream import StreamPool
from marketdata.costs import CostModel, fee_schedule
from marketdata.events import Market
from marketdata.frames import capture_line
from marketdata.universe import InstrumentInfo
from signals.live.assemble import FEE_TIER, SNAPSHOT_LIMIT, STREAMS, universe_frame
from signals.live.conductor import PUMP_S, disconnect_frame
from signals.live.inbox import Inbox, ReceiveClock
from signals.live.snapshots import SnapshotDesk
from signals.live.supervise import supervise
from signals.management.fault_scenarios.truth import Truth
from signals.pipeline import PipelineOutput, SignalPipeline
from signals.presets import PRESETS
from signals.scorer import ScoringModel

LATE_MS = 2000
"""Data older than this must not be decided on."""

_DIFF = re.compile(
    rb'^(\d+) \{"stream":"[^"]+@depth[^"]*","data":\{"e":"depthUpdate","E":(\d+),(?:"T":\d+,)?"s":"([^"]+)"', re.M
)


class Client:
    """What `live` runs, watched: when each book went stale and stood again, and every decision against the truth."""

    def __init__(
        self,
        rest_url: str,
        stream_url: str,
        market: Market,
        instruments: list[InstrumentInfo],
        truth: Truth | None = None,
        **pool_options: Any,
    ) -> None:
        model = ScoringModel.rule()
        costs = CostModel.taker(fee_schedule(market, FEE_TIER))
        self.pipeline = SignalPipeline(market, model.score, PRESETS, model.barriers, costs)
        self.clock = ReceiveClock()
        self.inbox = Inbox(self.clock)
        self.rest = RestClient(rest_url, market)
        self.desk = SnapshotDesk(self._fetch, self.inbox, self.pipeline.replay.is_synced)
        self.symbols = [one.symbol for one in instruments]
        self.pool = StreamPool(
            stream_url,
            market,
            [f"{symbol.lower()}@{kind}" for symbol in self.symbols for kind in STREAMS[market]],
            on_frame=self.inbox.on_frame,
            on_disconnect=self._lose,
            clock_ns=self.clock.now_ns,
            **_known_options(pool_options),
        )
        self.changes: list[tuple[float, str, bool]] = []
        self.disconnects: list[float] = []
        self.fetches: list[float] = []
        self.late_decisions = 0
        self.fired = 0
        self.longest_block_s = 0.0
        self.longest_inbox_bytes = 0
        self._synced = dict.fromkeys(self.symbols, False)
        self._lag_ms: dict[str, int] = {}
        self._truth = truth
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self.inbox.add_line(capture_line(self.clock.now_ns(), universe_frame(market, instruments)))

    async def __aenter__(self) -> "Client":
        self._tasks = [
            asyncio.create_task(supervise("feed", self.pool.run)),
            asyncio.create_task(self._pump_for_ever()),
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.pool.stop(), 3.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.desk.close()

    async def _fetch(self, symbol: str) -> bytes:
        self.fetches.append(self._loop.time())
        return await self.rest.depth(symbol, SNAPSHOT_LIMIT)

    def _lose(self, streams: list[str]) -> None:
        self.disconnects.append(self._loop.time())
        self.inbox.add(disconnect_frame(list(streams)))

    async def _pump_for_ever(self) -> None:
        last = self._loop.time()
        while True:
            await asyncio.sleep(PUMP_S)
            self.longest_block_s = max(self.longest_block_s, self._loop.time() - last - PUMP_S)
            last = self._loop.time()
            self.pump()

    def pump(self) -> None:
        """Decide on what was received since the last time, as `LiveSession.pump` does."""
        self.longest_inbox_bytes = max(self.longest_inbox_bytes, len(self.inbox))
        lines = self.inbox.take(self.pipeline.replay.next_tick_ns)
        if lines:
            for recv, event_ms, symbol in _DIFF.findall(lines):
                self._lag_ms[symbol.decode()] = int(recv) // 1_000_000 - int(event_ms)
            self._judge(self.pipeline.feed(lines))
            for symbol in self.pipeline.replay.take_requests():
                self.desk.want(symbol)
        self._note_changes()

    def _judge(self, output: PipelineOutput) -> None:
        replay = self.pipeline.replay
        trusted = np.unique(output.rows.symbol[output.rows.context["synced"] == 1])
        self.fired += sum(len(decisions.fired()) for decisions in output.decisions)
        for index in trusted.tolist():
            symbol = replay.symbols[index]
            if not replay.is_synced(symbol):
                continue
            self.late_decisions += abs(self._lag_ms.get(symbol, 0)) > LATE_MS
            if self._truth is not None:
                self._truth.claim(symbol, replay)

    def _note_changes(self) -> None:
        now_s, replay = self._loop.time(), self.pipeline.replay
        known = set(replay.symbols)
        for symbol, before in self._synced.items():
            now = symbol in known and replay.is_synced(symbol)
            if now != before:
                self._synced[symbol] = now
                self.changes.append((now_s, symbol, now))

    # What a scenario asks

    @property
    def is_whole(self) -> bool:
        return all(self._synced.values())

    def synced(self, symbol: str) -> bool:
        return self._synced[symbol]

    def went_stale(self, since_s: float) -> dict[str, float]:
        """Seconds after `since_s` at which each symbol first went stale."""
        first: dict[str, float] = {}
        for at_s, symbol, now in self.changes:
            if not now and at_s >= since_s:
                first.setdefault(symbol, at_s - since_s)
        return first

    def stale_episodes(self, since_s: float) -> dict[str, int]:
        episodes: dict[str, int] = {}
        for at_s, symbol, now in self.changes:
            if not now and at_s >= since_s:
                episodes[symbol] = episodes.get(symbol, 0) + 1
        return episodes

    def stood_again(self, since_s: float) -> dict[str, float]:
        """Seconds from `since_s` until each symbol stood for good."""
        return {symbol: at_s - since_s for at_s, symbol, now in self.changes if now and at_s >= since_s}

    def counted(self, name: str) -> int:
        """One of the counters of the book machines over all symbols: gaps, crossed, disconnects, syncs."""
        return sum(int(getattr(sync, name)) for sync in self.pipeline.replay._syncs)

    @property
    def rejected(self) -> int:
        return sum(self.pipeline.replay.parser.counts.rejected.values())


def _known_options(options: dict[str, Any]) -> dict[str, Any]:
    """Only those that this pool takes: scenarios shorten what the client offers to be shortened."""
    known: Callable[..., object] = StreamPool.__init__
    return {name: value for name, value in options.items() if name in inspect.signature(known).parameters}
