"""When the socket client may connect, subscribe and lose patience: small state machines that are told the time.

Every `now_s` comes from one monotonic clock of the caller; nothing here reads a clock or draws a number itself.
"""

from collections import deque


class Backoff:
    """Full-jitter exponential backoff that never gives up (Brooker 2015, "Exponential Backoff and Jitter").

    A wait is drawn from 0 to the ceiling: `base_s`, doubled with every failure, at most `cap_s`. A connection that
    proved healthy brings the ceiling back down.
    """

    def __init__(self, base_s: float = 0.5, cap_s: float = 30.0) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self.failures = 0

    @property
    def ceiling_s(self) -> float:
        # 2**16 * base is far above any cap; the bound keeps the power from growing for ever
        return min(self._cap_s, self._base_s * 2.0 ** min(self.failures, 16))

    def next_wait_s(self, draw: float) -> float:
        """Return the wait before the next try; `draw` is uniform in [0, 1)."""
        wait_s = draw * self.ceiling_s
        self.failures += 1
        return wait_s

    def note_healthy(self) -> None:
        self.failures = 0


class RateWindow:
    """At most `limit` actions in any `window_s`: SUBSCRIBE messages of one socket, connects of one address."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=limit)

    def wait_s(self, now_s: float) -> float:
        """How long the next action has to wait."""
        if len(self._times) < self._limit:
            return 0.0
        return max(0.0, self._times[0] + self._window_s - now_s)

    def note(self, now_s: float) -> None:
        self._times.append(now_s)


def batches(streams: list[str], size: int) -> list[list[str]]:
    return [streams[start : start + size] for start in range(0, len(streams), size)]
