"""Where a request points: its path and query, decoded. The server reads it off the socket, the desks answer it."""

from typing import NamedTuple


class Target(NamedTuple):
    path: str
    query: dict[str, str]


class Answer(NamedTuple):
    """An HTTP answer before it becomes bytes on a socket."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    """How long it is held back."""
