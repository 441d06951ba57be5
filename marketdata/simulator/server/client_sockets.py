"""DOOR: all connections of the exchange, and what can be done to them on purpose."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

from websockets.protocol import State

from marketdata.simulator.server.client_socket import ClientSocket

CONTINUATION, TEXT, BINARY = 0, 1, 2
INJECTED = ("binary", "empty", "text", "number", "fragmented", "not_utf8", "big")
PUMP_S = 0.01


class ClientSockets:
    """The connections that are open now. `lifetime_s` is what a new one may live."""

    def __init__(self, lifetime_s: float, now_ms: Callable[[], int], close_doors: Callable[[float], None]) -> None:
        self.lifetime_s = lifetime_s
        self.frozen = False
        self.connects = 0
        self.closed = 0
        self._fastest = 0
        self._now_ms = now_ms
        self._close_doors = close_doors
        self._sockets: set[ClientSocket] = set()
        self._bytes_per_flush = 0
        self._acks: deque[str] = deque()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._endings: set[asyncio.TimerHandle] = set()

    def __iter__(self) -> Iterator[ClientSocket]:
        return iter(list(self._sockets))

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, socket: ClientSocket) -> None:
        self.connects += 1
        socket.bytes_per_flush = self._bytes_per_flush
        socket.live_for(self.lifetime_s)
        self._sockets.add(socket)

    def discard(self, socket: ClientSocket) -> None:
        if socket.end_of_life is not None:
            socket.end_of_life.cancel()
        self.closed += socket in self._sockets
        self._fastest = self.fastest_client
        self._sockets.discard(socket)

    @property
    def fastest_client(self) -> int:
        """Most frames that one client ever sent within a second."""
        return max([self._fastest, *(socket.rate.most for socket in self if socket.rate is not None)])

    def wait_thawed(self) -> Awaitable[object]:
        return self._thawed.wait()

    def take_ack_fault(self) -> str:
        return self._acks.popleft() if self._acks else ""

    # Knobs

    def cut(self, code: int, symbol: str = "") -> int:
        chosen = self._listening(symbol)
        for socket in chosen:
            if code == 1006:
                socket.tear()
            else:
                socket.say_farewell(code, "cut")
        return len(chosen)

    def reset(self, symbol: str = "") -> int:
        chosen = self._listening(symbol)
        for socket in chosen:
            socket.reset()
        return len(chosen)

    def _listening(self, symbol: str) -> list[ClientSocket]:
        prefix = symbol.lower() + "@"
        return [one for one in self if not symbol or any(name.startswith(prefix) for name in one.session.streams)]

    def freeze(self) -> None:
        self.frozen = True
        self._thawed.clear()
        for socket in self:
            socket.freeze()

    def thaw(self) -> None:
        self.frozen = False
        self._thawed.set()
        for socket in self:
            socket.thaw()

    def announce_shutdown(self, after_s: float, shape: str = "own") -> int:
        if shape not in ("own", "raw", "combined"):
            raise ValueError(f"no shape {shape!r}; there are own, raw and combined")
        event = {"e": "serverShutdown", "E": self._now_ms()}
        told = list(self)
        for socket in told:
            combined = shape == "combined" or (shape == "own" and socket.session.route.combined)
            payload = {"stream": "!serverShutdown", "data": event} if combined else event
            socket.queue(json.dumps(payload, separators=(",", ":")).encode())
            socket.flush()
            socket.loop.call_later(after_s, socket.say_farewell, 1001, "server shutdown")
        return len(told)

    def inject(self, kind: str, count: int = 1, size: int = 2 << 20, stream: str = "*") -> int:
        if kind not in INJECTED:
            raise ValueError(f"no frame {kind!r}; there are {', '.join(INJECTED)}")
        told = [one for one in self if stream == "*" or stream in one.session.streams]
        for socket in told:
            for _ in range(count):
                _inject(socket, kind, size, stream)
            socket.flush()
        return len(told)

    def trickle(self, bytes_per_s: int) -> None:
        self._bytes_per_flush = max(1, int(bytes_per_s * PUMP_S)) if bytes_per_s else 0
        for socket in self:
            socket.bytes_per_flush = self._bytes_per_flush

    def ping(self, count: int) -> int:
        for socket in self:
            for number in range(count):
                socket.queue_frame(9, b"%d" % number)
            socket.flush()
        return len(self)

    def live_for(self, seconds: float) -> None:
        self.lifetime_s = seconds
        for socket in self:
            socket.live_for(seconds)

    def go_down(self, for_s: float) -> None:
        self._close_doors(for_s)

    def fault_acks(self, kind: str, count: int) -> None:
        self._acks.extend([kind] * count)

    def heal(self) -> None:
        self._acks.clear()
        self.trickle(0)
        self.thaw()

    # The server's own business

    def flush(self, max_unsent_bytes: int) -> None:
        """Send what waits, and cut off whoever lets too much wait."""
        for socket in self:
            socket.flush()
            if socket.protocol.state is State.OPEN and socket.waiting_bytes > max_unsent_bytes:
                socket.tear()


def _inject(socket: ClientSocket, kind: str, size: int, stream: str) -> None:
    name = stream if stream != "*" else next(iter(socket.session.streams), "none@aggTrade")
    padded = b'{"stream":"%b","data":{"e":"padding","pad":"%b"}}' % (name.encode(), b"x" * max(0, size - 60))
    if kind == "binary":
        socket.queue_frame(BINARY, bytes(range(256)))
    elif kind == "empty":
        socket.queue_frame(TEXT, b"")
    elif kind == "number":
        socket.queue_frame(TEXT, b"12345")
    elif kind == "not_utf8":
        socket.queue_frame(TEXT, b'{"stream":"\xff\xfe","data":{}}')
    elif kind == "big":
        socket.queue_frame(TEXT, padded)
    elif kind == "fragmented":
        text = b'{"stream":"%b","data":{"e":"in pieces"}}' % name.encode()
        socket.queue_frame(TEXT, text[:9], fin=False)
        socket.queue_frame(CONTINUATION, text[9:20], fin=False)
        socket.queue_frame(CONTINUATION, text[20:])
    else:
        socket.queue_frame(TEXT, b"Service temporarily unavailable")
