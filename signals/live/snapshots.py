"""Snapshots on demand: asks the exchange for the books that the pipeline misses, few at a time, for ever."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from signals.live.inbox import Inbox

log = logging.getLogger(__name__)

FetchDepth = Callable[[str], Awaitable[bytes]]

AT_ONCE = 4
FIRST_WAIT_S = 0.5
"""Time for the diffs after the request to arrive, so that the snapshot falls among them."""
LONGEST_WAIT_S = 30.0


class SnapshotDesk:
    """Keep one request per symbol under way until its book stands; failures back off with jitter."""

    def __init__(self, fetch: FetchDepth, inbox: Inbox, is_synced: Callable[[str], bool]) -> None:
        self._fetch = fetch
        self._inbox = inbox
        self._is_synced = is_synced
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._attempts: dict[str, int] = {}

    def want(self, symbol: str) -> None:
        """See to it that a snapshot of this symbol arrives."""
        if symbol not in self._under_way:
            task = asyncio.create_task(self._bring(symbol), name=f"snapshot {symbol}")
            self._under_way[symbol] = task
            task.add_done_callback(lambda _: self._under_way.pop(symbol, None))

    async def _bring(self, symbol: str) -> None:
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** self._attempts.get(symbol, 0))
        await asyncio.sleep(wait_s * random.uniform(0.6, 1.4))
        while not self._is_synced(symbol):
            try:
                async with self._slots:
                    body = await self._fetch(symbol)
            except Exception as error:  # any answer of the network: try again later, and say so
                self._attempts[symbol] = self._attempts.get(symbol, 0) + 1
                wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** self._attempts[symbol])
                log.warning("snapshot of %s failed (%s); again in about %.1f s", symbol, error, wait_s)
                await asyncio.sleep(wait_s * random.uniform(0.6, 1.4))
                continue
            self._attempts[symbol] = 0
            self._inbox.add(
                b'{"stream":"%b@depthSnapshot","generated":true,"data":%b}' % (symbol.lower().encode(), body.strip())
            )
            return

    async def close(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
