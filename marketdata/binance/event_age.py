"""How old is what arrives? Receive time against event time, with the exchange's clock taken into account.

An event that is 3 s old when it is read is a picture of the past, however good the connection looks. The lag is the
median over recent events, so that one late frame is no alarm; the offset of the two clocks is the median over recent
questions for the exchange's time, each good to half its round trip.
"""

from collections import deque
from statistics import median

STALE_NS = 2_000_000_000
OFFSET_LIMIT_NS = 2_000_000_000
_EVENTS = 101
_OFFSETS = 9


class EventAge:
    """The lag of one stream of events, or of a whole market. Times are int64 ns.

    Parameters
    ----------
    stale_ns : int
        Above this lag nothing may be decided.
    """

    def __init__(self, stale_ns: int = STALE_NS) -> None:
        self._stale_ns = stale_ns
        self._raw_ns: deque[int] = deque(maxlen=_EVENTS)
        self._offsets_ns: deque[int] = deque(maxlen=_OFFSETS)

    def note_event(self, event_ns: int, recv_ns: int) -> None:
        """An event's own time E and when it was received; events without a time (0) say nothing."""
        if event_ns > 0:
            self._raw_ns.append(recv_ns - event_ns)

    def note_server_time(self, server_ns: int, asked_ns: int, answered_ns: int) -> None:
        """The exchange's time, and when it was asked for and answered by our clock."""
        self._offsets_ns.append(server_ns - (asked_ns + answered_ns) // 2)

    @property
    def offset_ns(self) -> int:
        """The exchange's clock minus ours; 0 while nobody asked."""
        return int(median(self._offsets_ns)) if self._offsets_ns else 0

    @property
    def lag_ns(self) -> int:
        """How long events were under way; 0 before the first."""
        return int(median(self._raw_ns)) + self.offset_ns if self._raw_ns else 0

    @property
    def is_stale(self) -> bool:
        return self.lag_ns > self._stale_ns

    @property
    def is_clock_off(self) -> bool:
        """Our clock is so wrong that signals must be held (promise P12)."""
        return abs(self.offset_ns) > OFFSET_LIMIT_NS

    def forget(self) -> None:
        """The backlog was dropped or the connection replaced: old lags say nothing about what comes."""
        self._raw_ns.clear()
