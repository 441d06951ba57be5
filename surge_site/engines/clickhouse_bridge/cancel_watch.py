"""Looks after the clients that wait for an answer: one that cancels, or leaves, gets its query stopped."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_EVERY_S = 0.05  # a query shorter than this is never looked at


class _Watched:
    """One waiting client; once `end` has returned it is not looked after any more, not even by a look under way.

    Otherwise a late look could stop the client's next query.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._is_over = False

    def look(self) -> None:
        with self._lock:
            if not self._is_over:
                self._look()

    def end(self) -> None:
        with self._lock:
            self._is_over = True


class CancelWatch:
    def __init__(self) -> None:
        self._change = threading.Condition()
        self._watched: set[_Watched] = set()
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
        watched = _Watched(look)
        with self._change:
            self._watched.add(watched)
            self._change.notify()
        try:
            yield
        finally:
            with self._change:
                self._watched.discard(watched)
            watched.end()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for watched in self._waiting():
                watched.look()
            self._stopped.wait(LOOK_EVERY_S)

    def _waiting(self) -> list[_Watched]:
        with self._change:
            self._change.wait_for(lambda: self._watched or self._stopped.is_set())
            return list(self._watched)
