"""Looks after the clients that wait for an answer: one that cancels, or leaves, gets its query stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_EVERY_S = 0.05  # a query shorter than this is never looked at


class CancelWatch:
    def __init__(self) -> None:
        self._change = threading.Condition()
        self._looks: set[Callable[[], None]] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cancel-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        with self._change:
            self._change.notify()
        self._thread.join()

    @contextmanager
    def over(self, look: Callable[[], None]) -> Iterator[None]:
        """Call `look` again and again, from the watch's own thread, while the block runs."""
        with self._change:
            self._looks.add(look)
            self._change.notify()
        try:
            yield
        finally:
            with self._change:
                self._looks.discard(look)

    def _run(self) -> None:
        while not self._stopped.is_set():
            for look in self._next_looks():
                look()
            self._stopped.wait(LOOK_EVERY_S)

    def _next_looks(self) -> list[Callable[[], None]]:
        with self._change:
            self._change.wait_for(lambda: self._looks or self._stopped.is_set())
            return list(self._looks)
