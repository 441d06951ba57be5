"""What the pool's state machine knows of streams, connections and moves, and the effects it asks its caller for."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from marketdata.binance.dedup import Handover
from marketdata.binance.link import Link
from marketdata.binance.pacing import Backoff
from marketdata.binance.watchdog import Rhythm

QUIET_S = 2.0
LONG_QUIET_S = 12.0
LIVELY_S = 0.75


class Open(NamedTuple):
    link: Link


class Send(NamedTuple):
    link: Link
    method: str
    streams: tuple[str, ...]


class Close(NamedTuple):
    link: Link
    why: str


class Lost(NamedTuple):
    streams: tuple[str, ...]


class Deliver(NamedTuple):
    frames: tuple[bytes, ...]


Effect = Open | Send | Close | Lost | Deliver


@dataclass(frozen=True)
class KeeperSettings:
    """Patience and plans of a pool, in seconds."""

    silence_s: float = 4.5
    stream_silence_s: float = 10.0
    first_frame_s: float = 5.0
    life_s: float = 23 * 3600.0
    life_jitter_s: float = 1800.0
    overlap_s: float = 15.0
    retry_rotation_s: float = 60.0


@dataclass(eq=False, slots=True)
class Stream:
    """One stream: where it lives, whether it delivers, how it breathes."""

    name: str
    slot: "Slot"
    rhythm: Rhythm
    makes_book: bool
    last_frame: bytes | None = None
    is_live: bool = False
    is_told_lost: bool = False
    since_s: float = 0.0  # when it began to be pending
    asked_s: float = 0.0
    asks: int = 0
    moves: int = 0
    move: "Move | None" = None

    @property
    def key(self) -> bytes:
        return self.name.encode()

    def wait(self, now_s: float) -> None:
        """It has to prove itself from now on."""
        if self.is_live or not self.asks:
            self.since_s = now_s
        self.is_live, self.asked_s, self.asks = False, now_s, 1


@dataclass(eq=False, slots=True)
class Move:
    """A stream on its way from one connection to another."""

    stream: Stream
    old: Link
    new: Link
    handover: Handover
    began_s: float
    asked_s: float | None = None
    held_s: float | None = None
    is_settling_in: bool = True
    old_frames_seen: int = 0

    def is_quiet(self, now_s: float) -> bool:
        """Nobody said a word of this stream since the new connection was surely subscribed: nothing can be missing.

        If the connections say nothing at all, frames may be on their way: that takes longer to believe.
        """
        if self.asked_s is None or self.handover.old_frames or self.handover.held:
            return False
        are_lively = now_s - min(self.old.heard_s, self.new.heard_s) < LIVELY_S
        return now_s - self.asked_s > (QUIET_S if are_lively else LONG_QUIET_S)


@dataclass(eq=False)
class Slot:
    """A place for a connection. `heir` is the next connection while both live."""

    route: str
    streams: dict[str, Stream] = field(default_factory=dict)
    backoff: Backoff = field(default_factory=Backoff)
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=31))
    link: Link | None = None
    heir: Link | None = None
    due_s: float = 0.0
    heir_due_s: float = 0.0
    is_leaving: bool = False
    is_over: bool = False
    was_heard: bool = False
    is_annex: bool = False
