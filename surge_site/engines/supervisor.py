"""Keeps a set of child processes alive: restarts a crashed one with growing pauses, stops all in order."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from surge_site.engines.process import ChildProcess

log = logging.getLogger("surge.up")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
CALM_S = 60.0
"""A child that ran this long had recovered: its next crash counts as the first."""


class ChildGaveUp(Exception):
    """A child that never became healthy; the text has its last lines."""


@dataclass
class Watched:
    process: ChildProcess
    is_healthy: Callable[[], bool]
    crashes: int = 0
    was_healthy: bool = False
    started_at: float = 0.0
    restart_at: float | None = field(default=None)


class Supervisor:
    """`add` starts a child; `look` often, it restarts the fallen; `stop` at the end."""

    def __init__(self, *, give_up_after: int = 4, clock: Callable[[], float] = time.monotonic) -> None:
        self.children: dict[str, Watched] = {}
        self.give_up_after = give_up_after
        self.clock = clock

    def add(self, process: ChildProcess, is_healthy: Callable[[], bool] = lambda: True) -> None:
        watched = Watched(process, is_healthy)
        self.children[process.name] = watched
        self._start(watched)

    def look(self) -> None:
        """Restart what has ended and whose pause is over."""
        for watched in self.children.values():
            if watched.process.is_running:
                continue
            if watched.restart_at is None:
                self._note_crash(watched)
            elif self.clock() >= watched.restart_at:
                self._start(watched)

    def waiting_for(self) -> list[str]:
        """Names of the children that are not healthy yet; each is asked until it once was."""
        for watched in self.children.values():
            if not watched.was_healthy and watched.process.is_running:
                watched.was_healthy = watched.is_healthy()
        return [name for name, watched in self.children.items() if not watched.was_healthy]

    def stop(self, first: tuple[str, ...] = ()) -> None:
        """Stop those named first, one by one; then the others together."""
        for name in first:
            if name in self.children:
                self.children[name].process.stop()
        for watched in self.children.values():
            watched.process.ask_to_stop()
        for watched in self.children.values():
            watched.process.stop()

    def _start(self, watched: Watched) -> None:
        watched.restart_at = None
        watched.started_at = self.clock()
        watched.process.start()

    def _note_crash(self, watched: Watched) -> None:
        process, now = watched.process, self.clock()
        watched.crashes = 1 if now - watched.started_at > CALM_S else watched.crashes + 1
        if not watched.was_healthy and watched.crashes >= self.give_up_after:
            raise ChildGaveUp(
                f"{process.name} stops again and again (exit code {process.exit_code}). Last lines of "
                f"{process.log_path}:\n{process.last_lines()}"
            )
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (watched.crashes - 1))
        watched.restart_at = now + pause
        log.warning(
            "%s ended (exit code %s), starting it again in %.1f s. Its last lines:\n%s",
            process.name, process.exit_code, pause, process.last_lines(5),
        )  # fmt: skip
