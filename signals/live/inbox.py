"""What was received and not yet decided: frames as capture lines, on one receive clock that never steps back."""

import time

from marketdata.frames import capture_line

TICK_FRAME = b'{"stream":"!tick","generated":true,"data":{}}'


class ReceiveClock:
    """The wall clock in ns, made non-decreasing: receive times order the recording."""

    def __init__(self) -> None:
        self._last_ns = 0

    def now_ns(self) -> int:
        self._last_ns = max(self._last_ns, time.time_ns())
        return self._last_ns


class Inbox:
    """Lines since the last `take`. Whatever enters here is recorded and decided, in this order."""

    def __init__(self, clock: ReceiveClock) -> None:
        self.clock = clock
        self.frames = 0
        self.last_frame_ns = 0
        self._lines = bytearray()
        self._last_ns = 0

    def __len__(self) -> int:
        return len(self._lines)

    def on_frame(self, recv_ns: int, frame: bytes | str) -> None:
        """Take one exchange frame; called for every message, so it does as little as can be."""
        if isinstance(frame, str):
            frame = frame.encode()
        self._lines += capture_line(recv_ns, frame)
        self._last_ns = recv_ns
        self.last_frame_ns = recv_ns
        self.frames += 1

    def add(self, frame: bytes) -> None:
        """Add a generated line (snapshot, disconnect, universe) at the present time."""
        self.add_line(capture_line(self.clock.now_ns(), frame))

    def add_line(self, line: bytes) -> None:
        self._last_ns = int(line.partition(b" ")[0])
        self._lines += line

    def take(self, next_tick_ns: int) -> bytes:
        """Return the lines since the last call. Where a tick is due and no line passed it, an idle tick is added,
        so that a quiet market decides in time and a replay of the recording decides alike."""
        if 0 < next_tick_ns <= self.clock.now_ns() and self._last_ns < next_tick_ns:
            self.add(TICK_FRAME)
        lines = bytes(self._lines)
        self._lines.clear()
        return lines
