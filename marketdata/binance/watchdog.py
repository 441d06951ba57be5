"""When is a stream silent? Each is judged by its own rhythm: a busy one soon, a slow one after twenty pauses.

The watch is told at regular looks which streams spoke since the last one, so a frame costs nothing here, and a gap is
known to the length of a look: enough, because no patience is shorter than `least_s`.
"""

from collections import deque
from statistics import median

LEAST_S = 10.0
GAPS_OF_PATIENCE = 20.0
UNKNOWN_GAP_S = 3.0
"""The pause that is assumed of a stream without a known rhythm."""

_GAPS_KEPT = 31
_FEWEST_GAPS = 3
_CALM_S = 600.0
_MOST_DOUBLINGS = 4


class Rhythm:
    """The pauses of one stream and the patience that follows from them.

    A stream that comes in bursts (trades of a quiet coin) would raise one alarm after the other: with `is_bursty` each
    doubles its patience for a while.
    """

    __slots__ = ("_alarm_s", "_alarms", "_gaps", "_heard_s", "_is_bursty", "_least_s")

    def __init__(self, least_s: float = LEAST_S, *, is_bursty: bool = False) -> None:
        self._least_s = least_s
        self._is_bursty = is_bursty
        self._heard_s: float | None = None
        self._gaps: deque[float] = deque(maxlen=_GAPS_KEPT)
        self._alarms = 0
        self._alarm_s = 0.0

    @property
    def patience_s(self) -> float:
        """How long it may be silent: max(`least_s`, 20 x median pause)."""
        gap_s = median(self._gaps) if len(self._gaps) >= _FEWEST_GAPS else self._first_gap_s
        return max(self._least_s, GAPS_OF_PATIENCE * gap_s) * 2.0**self._alarms

    @property
    def _first_gap_s(self) -> float:
        return UNKNOWN_GAP_S if self._is_bursty else 0.0

    def note_heard(self, now_s: float) -> None:
        if self._heard_s is not None:
            self._gaps.append(now_s - self._heard_s)
        self._heard_s = now_s

    def is_silent(self, now_s: float) -> bool:
        if self._heard_s is None or now_s - self._heard_s <= self._least_s:
            return False
        return now_s - self._heard_s > self.patience_s

    def note_alarm(self, now_s: float) -> None:
        """It was silent too long. The pause does not count as its rhythm: the next frame begins anew."""
        self._alarms = min(_MOST_DOUBLINGS, self._alarms + 1) if self._is_bursty else 0
        self._alarm_s = now_s
        self._heard_s = None

    def forget_pause(self, now_s: float) -> None:
        """The connection was away: what lies between is no pause of the stream. Old alarms fade."""
        self._heard_s = None
        if now_s - self._alarm_s > _CALM_S:
            self._alarms = 0
