"""The switch between the control channel and the running session, both in one process and on one event loop."""

import asyncio
import logging

log = logging.getLogger(__name__)


class Control:
    """Holds the event that ends the present session; the worker then starts the next one."""

    def __init__(self) -> None:
        self._session_over: asyncio.Event | None = None

    def new_session(self) -> asyncio.Event:
        """Return a fresh event: set, it ends the session that waits for it."""
        self._session_over = asyncio.Event()
        return self._session_over

    def restart(self, why: str) -> None:
        log.info("live session restarts: %s", why)
        if self._session_over is not None:
            self._session_over.set()


CONTROL = Control()
