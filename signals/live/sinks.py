"""Where results go: one writing thread per store, fed by a queue, so that a slow store never holds up decisions."""

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import close_old_connections, connections

log = logging.getLogger(__name__)

Job = Callable[[], None]
LONGEST_WAIT_S = 5.0


class Sink:
    """Run jobs one after the other on a thread of their own; a job that fails is tried again, in order, for ever.

    A full queue drops the newest job of a `droppable` sink and counts it; other sinks have no bound.
    """

    def __init__(self, name: str, *, droppable: bool = False, limit: int = 1_000) -> None:
        self.name = name
        self.dropped = 0
        self._droppable = droppable
        self._jobs: asyncio.Queue[Job] = asyncio.Queue(limit if droppable else 0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    def put(self, job: Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Work the queue until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            job = await self._jobs.get()
            wait_s = 0.2
            while True:
                try:
                    await loop.run_in_executor(self._thread, _with_fresh_connection, job)
                    break
                except Exception as error:  # the store is away: keep the job and wait for it
                    log.warning("%s: %s; again in about %.1f s", self.name, error, wait_s)
                    if self._droppable:
                        self.dropped += 1
                        break
                await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
            self._jobs.task_done()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all jobs are done; return whether they were in time."""
        try:
            await asyncio.wait_for(self._jobs.join(), timeout_s)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End the thread, and with it its database connection."""
        self._thread.submit(connections.close_all)
        self._thread.shutdown(wait=True)


def _with_fresh_connection(job: Job) -> None:
    close_old_connections()
    job()
