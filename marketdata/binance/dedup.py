"""One stream on its way from one connection to another: both deliver it for a while, each frame comes out once.

The old connection speaks until the new one has caught it up; what the new one says before is held back. They have met
when the first held frame is one that the old connection delivered too, or the one that follows it. From then on the
new one speaks, and what the old one still says is dropped.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

MOST_HELD = 4096
_NOTHING = -1
_PARTIAL_DEPTH = re.compile(r"@depth\d")


class Place(NamedTuple):
    """Where a frame stands in its stream: its own id and the one before it (-1 where the message does not say)."""

    previous: int
    own: int


def place_reader(stream: str) -> Callable[[bytes], Place]:
    """How frames of this stream are told apart: update ids, trade ids, for the rest the event time."""
    kind = stream.partition("@")[2]
    if _PARTIAL_DEPTH.search(stream):
        return lambda frame: Place(_NOTHING, max(_number(_LAST_UPDATE, frame), _number(_UPDATE, frame)))
    if kind.startswith(("depth", "rpiDepth")):
        return _diff_place
    if kind in ("aggTrade", "trade"):
        pattern = _AGG_TRADE if kind == "aggTrade" else _TRADE
        return lambda frame: _counted(_number(pattern, frame))
    if kind == "bookTicker":
        return lambda frame: Place(_NOTHING, _number(_UPDATE, frame))
    return lambda frame: Place(_NOTHING, _number(_EVENT_TIME, frame))


def has_own_ids(stream: str) -> bool:
    """Two frames never share an id; of the other kinds (mark prices in two frames) several share one event time."""
    return stream.partition("@")[2].startswith(("depth", "rpiDepth", "aggTrade", "trade", "bookTicker"))


def names_the_one_before(stream: str) -> bool:
    kind = stream.partition("@")[2]
    return kind.startswith(("depth", "rpiDepth", "aggTrade", "trade")) and not _PARTIAL_DEPTH.search(stream)


_UPDATE = re.compile(rb'"u":(\d+)')
_FIRST_UPDATE = re.compile(rb'"U":(\d+)')
_PREVIOUS_UPDATE = re.compile(rb'"pu":(\d+)')
_LAST_UPDATE = re.compile(rb'"lastUpdateId":(\d+)')
_AGG_TRADE = re.compile(rb'"a":(\d+)')
_TRADE = re.compile(rb'"t":(\d+)')
_EVENT_TIME = re.compile(rb'"E":(\d+)')


def _number(pattern: re.Pattern[bytes], frame: bytes) -> int:
    found = pattern.search(frame)
    return int(found.group(1)) if found else _NOTHING


def _counted(own: int) -> Place:
    return Place(own - 1 if own > 0 else _NOTHING, own)


def _diff_place(frame: bytes) -> Place:
    previous = _number(_PREVIOUS_UPDATE, frame)
    if previous < 0:
        previous = _number(_FIRST_UPDATE, frame) - 1
    return Place(previous, _number(_UPDATE, frame))


class Handover:
    """Frames of one stream from two connections in, each of them out once and in order."""

    def __init__(self, stream: str, last_frame: bytes | None = None) -> None:
        self._read = place_reader(stream)
        self._numbered = has_own_ids(stream)
        self._counted = names_the_one_before(stream)
        self._last = _NOTHING
        self._last_frames: set[bytes] = set()
        self._held: list[bytes] = []
        self.switched = False
        self.joined = False
        self.has_hole = False
        self.is_over = False
        """The new connection has gone past everything the old one said: no frame needs a look any more."""
        self.old_frames = 0
        if last_frame is not None:
            self._note(self._read(last_frame).own, last_frame)

    @property
    def held(self) -> int:
        return len(self._held)

    def from_old(self, frame: bytes) -> list[bytes]:
        if self.switched:
            return []
        self.old_frames += 1
        self._note(self._read(frame).own, frame)
        return [frame, *self._switch()] if self._have_met() else [frame]

    def from_new(self, frame: bytes) -> list[bytes]:
        if self.switched:
            return [frame] if self._is_news(frame) else []
        self._held.append(frame)
        if self._have_met() or len(self._held) >= MOST_HELD:
            return self._switch()
        return []

    def settle(self) -> list[bytes]:
        """Switch without having met: the old connection is gone, or has said nothing for too long."""
        return [] if self.switched else self._switch()

    def _have_met(self) -> bool:
        if not self._held or self._last < 0:
            return False
        first = self._read(self._held[0])
        return first.own <= self._last or 0 <= first.previous <= self._last

    def _switch(self) -> list[bytes]:
        self.joined = self._have_met()
        self.has_hole = self._counted and self._last >= 0 and bool(self._held) and not self.joined
        self.switched = True
        news = [frame for frame in self._held if self._is_news(frame)]
        self._held.clear()
        return news

    def _is_news(self, frame: bytes) -> bool:
        own = self._read(frame).own
        if own < self._last or (own == self._last and (self._numbered or frame in self._last_frames)):
            return False
        self.is_over = self.switched and own > self._last
        self._note(own, frame)
        return True

    def _note(self, own: int, frame: bytes) -> None:
        if own > self._last:
            self._last = own
            self._last_frames.clear()
        self._last_frames.add(frame)
