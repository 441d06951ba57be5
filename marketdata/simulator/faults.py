"""What goes wrong on purpose: every message passes here on its way out. A new knob is a field and a line here."""

from dataclasses import dataclass, field


@dataclass
class Faults:
    """Knobs of one running exchange. A stream is named as subscribers name it; "*" stands for all streams."""

    drops: dict[str, int] = field(default_factory=dict)
    """How many of a stream's next messages vanish."""
    stalled: set[str] = field(default_factory=set)
    """Streams that stay silent while their connection lives on; what they would have said is lost."""
    dropped: dict[str, int] = field(default_factory=dict)
    """How many messages each stream has lost to these knobs."""

    def drop(self, stream: str, count: int = 1) -> None:
        self.drops[stream] = self.drops.get(stream, 0) + count

    def stall(self, stream: str = "*") -> None:
        self.stalled.add(stream)

    def heal(self) -> None:
        """All knobs back to nothing; the losses stay counted."""
        self.drops.clear()
        self.stalled.clear()

    def deliver(self, stream: str, data: bytes) -> tuple[bytes, ...]:
        """What leaves instead of `data`: nothing, itself, or several messages."""
        if not self.drops and not self.stalled:
            return (data,)
        if self._lost(stream):
            self.dropped[stream] = self.dropped.get(stream, 0) + 1
            return ()
        return (data,)

    def _lost(self, stream: str) -> bool:
        if stream in self.stalled or "*" in self.stalled:
            return True
        for name in (stream, "*"):
            if self.drops.get(name, 0) > 0:
                self.drops[name] -= 1
                return True
        return False
