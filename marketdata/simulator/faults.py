"""What goes wrong on purpose with messages: each passes here on its way out and becomes none, itself, or several.

A stream is named as subscribers name it; "*" stands for all streams, and "*@depth" for all whose name has this part.
"""

from collections import deque
from dataclasses import dataclass, field
from random import Random

from marketdata.simulator.damage import DAMAGES, renumber_trade, shift_times, to_microseconds

NS_PER_MS = 1_000_000
MAX_HELD = 100_000


def names_stream(pattern: str, stream: str) -> bool:
    """Whether a knob set for `pattern` means `stream`."""
    if pattern == stream or pattern == "*":
        return True
    return pattern.startswith("*") and pattern[1:] in stream


@dataclass
class Faults:
    """Knobs of one running exchange. `seed` decides what is dropped or doubled by chance and how windows are mixed."""

    seed: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    """How many of a stream's next messages vanish."""
    drop_chance: dict[str, float] = field(default_factory=dict)
    stalled: set[str] = field(default_factory=set)
    """Streams that stay silent while their connection lives on; what they would have said is lost."""
    repeating: set[str] = field(default_factory=set)
    """Streams that say their last message again and again instead of anything new."""
    retired: set[str] = field(default_factory=set)
    """Streams that are acknowledged and silent for ever: `heal` does not bring them back."""
    doubles: dict[str, int] = field(default_factory=dict)
    """How many of a stream's next messages are sent twice."""
    shuffles: dict[str, int] = field(default_factory=dict)
    """Streams whose next so many messages leave in another order."""
    delays: dict[str, float] = field(default_factory=dict)
    """Seconds by which a stream is late."""
    spoils: dict[str, deque[tuple[str, str]]] = field(default_factory=dict)
    """What is done to a stream's next messages, one entry each: (kind of damage, its word)."""
    bursts: dict[str, int] = field(default_factory=dict)
    """How many times as many trades and quotes a stream says."""
    skew_ms: int = 0
    microseconds: bool = False
    dropped: dict[str, int] = field(default_factory=dict)
    """How many messages each stream has lost to these knobs."""
    spoilt: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(f"faults {self.seed}")
        self._window: dict[str, list[bytes]] = {}
        self._late: dict[str, deque[tuple[int, bytes]]] = {}
        self._last: dict[str, bytes] = {}
        self._trade_shift: dict[str, int] = {}

    def drop(self, stream: str, count: int = 1) -> None:
        self.drops[stream] = self.drops.get(stream, 0) + count

    def stall(self, stream: str = "*") -> None:
        self.stalled.add(stream)

    def spoil(self, stream: str, kind: str, text: str = "", count: int = 1) -> None:
        """Damage the next `count` messages of `stream`; `kind` is one of `DAMAGES`."""
        if kind not in DAMAGES:
            raise ValueError(f"no damage {kind!r}; there are {', '.join(DAMAGES)}")
        self.spoils.setdefault(stream, deque()).extend([(kind, text)] * count)

    def heal(self) -> None:
        """All knobs back to nothing; losses stay counted, what was held back is lost, the retired stay silent."""
        fresh = Faults(self.seed, retired=self.retired, dropped=self.dropped, spoilt=self.spoilt)
        for stream in [*self._window, *self._late]:
            self._note_lost(stream, len(self._window.get(stream, ())) + len(self._late.get(stream, ())))
        fresh._trade_shift, fresh._last, fresh._random = self._trade_shift, self._last, self._random
        self.__dict__.update(fresh.__dict__)

    @property
    def are_idle(self) -> bool:
        knobs = (self.drops, self.drop_chance, self.stalled, self.repeating, self.retired, self.doubles, self.shuffles)
        more = (self.delays, self.spoils, self.bursts, self._window, self._late, self._trade_shift)
        return not (any(knobs) or any(more) or self.skew_ms or self.microseconds)

    def deliver(self, stream: str, data: bytes, now_ns: int = 0) -> tuple[bytes, ...]:
        """What leaves instead of `data`: nothing, itself, or several messages."""
        if self.are_idle:
            return (data,)
        if any(names_stream(pattern, stream) for pattern in self.repeating):
            self._note_lost(stream)
            return (self._last.setdefault(stream, self._rewritten(data)),)
        if self._lost(stream):
            self._note_lost(stream)
            return ()
        parts = [self._rewritten(part) for part in self._multiplied(stream, data)]
        parts[0] = self._last[stream] = self._spoilt(stream, parts[0])
        if self._take_one(self.doubles, stream):
            parts.append(parts[-1])
        return self._held(stream, self._mixed(stream, parts), now_ns)

    def due(self, now_ns: int) -> list[tuple[str, bytes]]:
        """Messages that were held back until now, in the order of their streams."""
        ready: list[tuple[str, bytes]] = []
        for stream, waiting in list(self._late.items()):
            while waiting and waiting[0][0] <= now_ns:
                ready.append((stream, waiting.popleft()[1]))
            if not waiting:
                del self._late[stream]
        return ready

    def _note_lost(self, stream: str, count: int = 1) -> None:
        self.dropped[stream] = self.dropped.get(stream, 0) + count

    def _lost(self, stream: str) -> bool:
        if any(names_stream(pattern, stream) for pattern in (*self.stalled, *self.retired)):
            return True
        if self._take_one(self.drops, stream):
            return True
        chance = max((p for pattern, p in self.drop_chance.items() if names_stream(pattern, stream)), default=0.0)
        return chance > 0.0 and self._random.random() < chance

    @staticmethod
    def _take_one(counts: dict[str, int], stream: str) -> bool:
        for pattern in [pattern for pattern in counts if names_stream(pattern, stream)]:
            if counts[pattern] > 0:
                counts[pattern] -= 1
                return True
            del counts[pattern]
        return False

    def _multiplied(self, stream: str, data: bytes) -> list[bytes]:
        """A flash crowd: more trades, each with an id of its own, and the same quotes more often."""
        factor = max((n for pattern, n in self.bursts.items() if names_stream(pattern, stream)), default=1)
        if stream.endswith("@aggTrade"):
            shift = self._trade_shift.get(stream, 0)
            if factor > 1:
                self._trade_shift[stream] = shift + factor - 1
            return [renumber_trade(data, shift + n) for n in range(factor)] if shift or factor > 1 else [data]
        return [data] * (factor if stream.endswith("@bookTicker") else 1)

    def _rewritten(self, data: bytes) -> bytes:
        if self.skew_ms:
            data = shift_times(data, self.skew_ms)
        return to_microseconds(data) if self.microseconds else data

    def _spoilt(self, stream: str, data: bytes) -> bytes:
        for pattern, waiting in self.spoils.items():
            if waiting and names_stream(pattern, stream):
                kind, text = waiting.popleft()
                if not waiting:
                    del self.spoils[pattern]
                self.spoilt[stream] = self.spoilt.get(stream, 0) + 1
                return DAMAGES[kind](data, text)
        return data

    def _mixed(self, stream: str, parts: list[bytes]) -> list[bytes]:
        """Collect a window of messages and let it go in another order."""
        pattern = next((p for p in self.shuffles if names_stream(p, stream)), None)
        if pattern is None:
            return parts
        window = self._window.setdefault(stream, [])
        window += parts
        if len(window) < self.shuffles[pattern]:
            return []
        del self.shuffles[pattern], self._window[stream]
        ordered = list(window)
        while window == ordered and len(set(ordered)) > 1:
            self._random.shuffle(window)
        return window

    def _held(self, stream: str, parts: list[bytes], now_ns: int) -> tuple[bytes, ...]:
        late_s = max((s for pattern, s in self.delays.items() if names_stream(pattern, stream)), default=0.0)
        if not late_s and stream not in self._late:
            return tuple(parts)
        waiting = self._late.setdefault(stream, deque(maxlen=MAX_HELD))
        waiting.extend((now_ns + round(late_s * 1e9), part) for part in parts)
        return ()
