"""One live session: exchange -> inbox -> recorder and pipeline -> board, ledger, scores."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import orjson

from marketdata.capture import CaptureWriter
from marketdata.events import PRICE_SCALE
from signals.live.board import Board
from signals.live.inbox import Inbox
from signals.live.ledger import Ledger
from signals.live.sinks import Sink
from signals.live.snapshots import SnapshotDesk
from signals.live.supervise import supervise
from signals.pipeline import PipelineOutput, SignalPipeline

log = logging.getLogger(__name__)

PUMP_S = 0.02
BOARD_S = 0.25
SCORES_S = 1.0
DRAIN_S = 10.0


@dataclass
class LiveStores:
    """What a session writes to. Each callable runs on the thread of its sink."""

    store_board: Callable[[list[dict[str, Any]]], None]
    append_scores: Callable[[dict[str, np.ndarray]], None]
    close: Callable[[], None]


@dataclass
class LiveSession:
    """Run a pipeline on a stream of frames until stopped.

    `start_feed` is what brings frames into the inbox (the socket pool); everything else happens here, on one event
    loop, with one writing thread per store.
    """

    pipeline: SignalPipeline
    inbox: Inbox
    desk: SnapshotDesk
    ledger: Ledger
    stores: LiveStores
    recorder: CaptureWriter | None
    run_feed: Callable[[], Any]
    head: Sequence[bytes]
    idle_exit_s: float | None = None
    signals: int = 0
    _scores: list[PipelineOutput] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._board = Board(self.pipeline.replay.symbols)
        self._ledger_sink = Sink("ledger")
        self._board_sink = Sink("board", droppable=True, limit=8)
        self._scores_sink = Sink("scores", droppable=True, limit=120)

    async def run(self, stop: asyncio.Event) -> None:
        """Live until `stop` is set, or until no frame came for `idle_exit_s`; then settle what is under way."""
        for line in self.head:
            self.inbox.add_line(line)
        self.pump()
        background = [
            asyncio.create_task(supervise(name, run), name=name)
            for name, run in (
                ("feed", self.run_feed),
                ("ledger", self._ledger_sink.run),
                ("board", self._board_sink.run),
                ("scores", self._scores_sink.run),
                ("publisher", self._publish_for_ever),
            )
        ]
        try:
            await self._pump_until(stop, background[0])
        finally:
            await self._close(background)

    async def _pump_until(self, stop: asyncio.Event, feed: asyncio.Task[None]) -> None:
        while not (stop.is_set() or feed.done() or self._is_idle()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PUMP_S)
            self.pump()

    def _is_idle(self) -> bool:
        if self.idle_exit_s is None or not self.inbox.last_frame_ns:
            return False
        return time.time_ns() - self.inbox.last_frame_ns > self.idle_exit_s * 1e9

    def pump(self) -> None:
        """Record and decide what was received since the last time."""
        lines = self.inbox.take(self.pipeline.replay.next_tick_ns)
        if not lines:
            return
        if self.recorder is not None:
            self.recorder.write(lines)
        self._deliver(self.pipeline.feed(lines))
        for symbol in self.pipeline.replay.take_requests():
            self.desk.want(symbol)

    def _deliver(self, output: PipelineOutput) -> None:
        if not len(output.rows):
            return
        self._board.update(output)
        self._scores.append(output)
        for outcome in self.ledger.track(output):
            self._ledger_sink.put(partial(self.ledger.settle, outcome))
        for record in self.ledger.pick(output):
            self.signals += 1
            log.info("signal: %s p=%.2f", record["symbol"], record["numbers"]["p_tp"])
            self._ledger_sink.put(self._writer(record))

    def _writer(self, record: dict[str, Any]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()

        def write() -> None:
            opened = self.ledger.write(record)
            if opened is not None:
                loop.call_soon_threadsafe(self.ledger.follow, opened)

        return write

    async def _publish_for_ever(self) -> None:
        due_scores = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(BOARD_S)
            rows = self._board.take_changed()
            if rows:
                self._board_sink.put(partial(self.stores.store_board, rows))
            if loop.time() >= due_scores:
                due_scores = loop.time() + SCORES_S
                self._flush_scores()

    def _flush_scores(self) -> None:
        if self._scores:
            columns = score_columns(self._scores, self.pipeline.replay.symbols)
            self._scores.clear()
            self._scores_sink.put(partial(self.stores.append_scores, columns))
        if self.recorder is not None:
            self.recorder.flush()

    async def _close(self, background: list[asyncio.Task[None]]) -> None:
        """Stop the feed, decide the last tick, then give the stores a moment to take what is left."""
        background[0].cancel()
        await asyncio.gather(background[0], return_exceptions=True)
        await self.desk.close()
        self.pump()
        self._deliver(self.pipeline.finish())
        self._flush_scores()
        for sink in (self._ledger_sink, self._scores_sink):
            if not await sink.drain(DRAIN_S):
                log.error("%s: not everything was written before the stop", sink.name)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        for sink in (self._ledger_sink, self._board_sink, self._scores_sink):
            sink.close()
        self.stores.close()
        if self.recorder is not None:
            self.recorder.close()

    def report(self, model_version: str) -> dict[str, Any]:
        """Return what the session did, in the words of `replay`."""
        counts = self.pipeline.replay.parser.counts
        return {
            "messages": counts.messages,
            "rejected": sum(counts.rejected.values()),
            "symbols": {name: row.as_dict() for name, row in self.pipeline.replay.report().items()},
            "events": counts.events,
            "feature_rows": self.pipeline.replay.feature_rows,
            "decisions": self.pipeline.decisions,
            "signals": self.pipeline.signals,
            "decisions_sha256": self.pipeline.decisions_sha256,
            "model_version": model_version,
            "recording": str(self.recorder.path) if self.recorder else None,
        }


def score_columns(outputs: Sequence[PipelineOutput], symbols: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the scored rows of some outputs as columns of the scores table."""
    names = np.array(symbols, dtype=object)
    context = np.concatenate([output.rows.context for output in outputs])
    probabilities = np.concatenate([output.probabilities for output in outputs])
    first = [output.decisions[0].table["utility_bps"] for output in outputs if output.decisions]
    columns = {
        "symbol": names[np.concatenate([output.rows.symbol for output in outputs])],
        "tick_ns": np.concatenate([output.rows.tick_ns for output in outputs]),
        "mid": (context["bid_e8"] + context["ask_e8"]) / 2 / PRICE_SCALE,
        "p": probabilities[:, 0],
        "p_sl": probabilities[:, 1],
        "utility_bps": np.concatenate(first) if first else np.full(len(context), np.nan),
        "spread_bps": context["spread_bps"].copy(),
    }
    scored = np.isfinite(columns["p"])
    return {name: column[scored] for name, column in columns.items()}


def disconnect_frame(streams: Sequence[str]) -> bytes:
    """Return the generated frame that tells the pipeline which streams were lost."""
    return orjson.dumps({"stream": "!disconnect", "generated": True, "data": {"streams": list(streams)}})
