"""Who hears which stream, and what has been said: the messages of the exchange meet their subscribers here."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from marketdata.simulator.ledger import Ledger
from marketdata.simulator.subscriptions import Session, route_carries


class Listener(Protocol):
    """One client's connection."""

    session: Session

    def queue(self, payload: bytes) -> None: ...


class Switchboard:
    def __init__(self) -> None:
        self.listeners: dict[str, list[Listener]] = {}
        self.sent: Counter[str] = Counter()
        """Messages per stream that at least one subscriber got."""
        self.unheard = 0
        """Messages that nobody had subscribed to."""
        self.ledger: Ledger | None = None

    def connect(self, listener: Listener) -> None:
        """Put a client's subscriptions, as they are now, in the place of those it had."""
        self.disconnect(listener)
        session = listener.session
        for stream in session.streams:
            if route_carries(session.market, session.route.name, stream):
                self.listeners.setdefault(stream, []).append(listener)

    def disconnect(self, listener: Listener) -> None:
        for stream, listeners in list(self.listeners.items()):
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                del self.listeners[stream]

    def hears_any(self, prefix: str) -> bool:
        return any(stream.startswith(prefix) for stream in self.listeners)

    def hears_all(self, streams: Iterable[str]) -> bool:
        return self.listeners.keys() >= set(streams)

    def dispatch(self, stream: str, data: bytes, combined: bytes) -> None:
        listeners = self.listeners.get(stream)
        if not listeners:
            self.unheard += 1
            return
        self.sent[stream] += 1
        if self.ledger is not None:
            self.ledger.note_sent(stream, data)
        for listener in listeners:
            listener.queue(combined if listener.session.route.combined else data)
