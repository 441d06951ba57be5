"""Snapshots on demand: asks the exchange for the books that the pipeline misses, liquid ones first, for ever."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from marketdata.binance.snapshot_queue import AT_ONCE, FIRST_WAIT_S, LONGEST_WAIT_S, SnapshotQueue
from signals.live.inbox import Inbox

log = logging.getLogger(__name__)

FetchDepth = Callable[[str], Awaitable[bytes]]

ALARM_EVERY_S = 60.0
_LOOK_S = 0.05


class SnapshotDesk:
    """Keep the requests under way until every book stands; the queue decides which, when and how many.

    Parameters
    ----------
    rank : callable
        How much a symbol moves: the books of the liquid ones are fetched first.
    delivers : callable
        Whether the symbol's stream delivers: without it a book would be old the moment it stands.
    """

    def __init__(
        self,
        fetch: FetchDepth,
        inbox: Inbox,
        is_synced: Callable[[str], bool],
        *,
        rank: Callable[[str], float] = lambda symbol: 0.0,
        delivers: Callable[[str], bool] = lambda symbol: True,
    ) -> None:
        self._fetch = fetch
        self._inbox = inbox
        self._is_synced = is_synced
        self._delivers = delivers
        self._queue = SnapshotQueue(
            rank, random.random, at_once=AT_ONCE, first_wait_s=FIRST_WAIT_S, longest_wait_s=LONGEST_WAIT_S
        )
        self._clerk: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._alarmed_s: dict[str, float] = {}

    @property
    def missing(self) -> int:
        """Books that are asked for and have not come."""
        return len(self._queue)

    def want(self, symbol: str) -> None:
        """See to it that a snapshot of this symbol arrives."""
        self._queue.want(symbol, asyncio.get_running_loop().time())
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._work(), name="snapshots")

    async def _work(self) -> None:
        """Send for what is due until nothing is wanted any more."""
        loop = asyncio.get_running_loop()
        while len(self._queue):
            for symbol in self._queue.take_due(loop.time()):
                if self._is_synced(symbol):
                    self._queue.drop(symbol)
                elif not self._delivers(symbol):
                    self._queue.put_off(symbol, loop.time())
                else:
                    errand = asyncio.create_task(self._bring(symbol), name=f"snapshot {symbol}")
                    self._errands.add(errand)
                    errand.add_done_callback(self._errands.discard)
            due_s = self._queue.next_due_s()
            await asyncio.sleep(_LOOK_S if due_s is None else min(_LOOK_S, max(0.0, due_s - loop.time())))

    async def _bring(self, symbol: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            body = await self._fetch(symbol)
        except Exception as error:  # any answer of the network: try again later, and say so
            wait_s = self._queue.failed(symbol, loop.time(), getattr(error, "retry_after_s", None))
            self._report(symbol, error, wait_s)
            return
        if not self._delivers(symbol):
            self._queue.put_off(symbol, loop.time())
            return
        self._queue.answered(symbol, loop.time())
        self._inbox.add(
            b'{"stream":"%b@depthSnapshot","generated":true,"data":%b}' % (symbol.lower().encode(), body.strip())
        )

    def _report(self, symbol: str, error: Exception, wait_s: float) -> None:
        """One line for each failure, and an alarm a minute where they do not end."""
        log.warning("snapshot of %s failed (%s); again in about %.1f s", symbol, error, wait_s)
        now_s = asyncio.get_running_loop().time()
        if self._queue.is_alarming(symbol) and now_s - self._alarmed_s.get(symbol, -ALARM_EVERY_S) >= ALARM_EVERY_S:
            self._alarmed_s[symbol] = now_s
            count = self._queue.failures[symbol]
            log.error("no book of %s after %d tries: it stays stale; check the REST address", symbol, count)

    async def close(self) -> None:
        tasks = [*self._errands, *([self._clerk] if self._clerk is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
