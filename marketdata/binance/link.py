"""One connection as the pool's state machine sees it: what it carries, who spoke, what is to be asked. No sockets."""

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import NamedTuple

from marketdata.binance.pacing import RateWindow, batches

SUBSCRIBE_BATCH = 200
SUBSCRIBES_PER_S = 3
"""Spot closes a socket at the sixth message a second, pings and pongs included: half of that leaves room for them."""

_HEAD_LENGTH = len(b'{"stream":"')

Gate = Callable[[bytes], list[bytes]]


class Request(NamedTuple):
    method: str
    streams: tuple[str, ...]


class LinkState(Enum):
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()


class Link:
    """A connection from the decision to open it until it is gone."""

    __slots__ = (
        "_outbox", "_pace", "frames", "gates", "heard", "heard_s", "number", "opened_s", "rotate_s", "route", "state",
    )  # fmt: skip

    def __init__(self, number: int, route: str) -> None:
        self.number = number
        self.route = route
        self.state = LinkState.OPENING
        self.gates: dict[bytes, Gate | None] = {}
        self.heard: dict[bytes, bytes] = {}  # who spoke since the last look, with the newest frame
        self.frames = 0
        self.opened_s = self.heard_s = self.rotate_s = 0.0
        self._outbox: deque[Request] = deque()
        self._pace = RateWindow(SUBSCRIBES_PER_S, 1.0)

    def take(self, frame: bytes) -> bool | list[bytes]:
        """Sort a frame: True, hand it over as it is; False, it is no data of this connection; a list: these instead."""
        name = frame[_HEAD_LENGTH : frame.find(b'"', _HEAD_LENGTH)]
        try:
            gate = self.gates[name]
        except KeyError:
            return False
        self.heard[name] = frame
        self.frames += 1
        return True if gate is None else gate(frame)

    def ask(self, method: str, streams: Iterable[str]) -> None:
        """Put a request in the queue; `due_requests` paces them."""
        self._outbox.extend(Request(method, tuple(part)) for part in batches(list(streams), SUBSCRIBE_BATCH))

    def due_requests(self, now_s: float) -> list[Request]:
        due = []
        while self._outbox and self._pace.wait_s(now_s) == 0.0:
            self._pace.note(now_s)
            due.append(self._outbox.popleft())
        return due

    @property
    def has_asked_all(self) -> bool:
        return self.state is LinkState.OPEN and not self._outbox
