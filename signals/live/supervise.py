"""Keep long-running tasks alive: one that fails is logged and started again, with a growing, jittered pause."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 10.0
CALM_S = 30.0


async def supervise(name: str, run: Callable[[], Awaitable[object]]) -> None:
    """Run `run()` until it returns; start it again whenever it raises."""
    wait_s = FIRST_WAIT_S
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await run()
            return
        except Exception:
            if loop.time() - started > CALM_S:
                wait_s = FIRST_WAIT_S
            log.exception("%s failed; starts again in about %.1f s", name, wait_s)
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
