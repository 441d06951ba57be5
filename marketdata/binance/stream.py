"""DOOR: the socket client. A pool of connections that keeps every stream coming and says when one was lost.

A frame is handed over inside the socket's own callback, stamped there: no queue, no task and no coroutine switch lies
between the network and `on_frame`, so a slow consumer slows the socket (TCP holds the rest back) and order is kept.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from marketdata.binance.pacing import Backoff, FirstFrames, RateWindow, SilenceWatch, batches
from marketdata.binance.routes import Shard, shards
from marketdata.events import Market

SUBSCRIBE_BATCH = 200
SUBSCRIBES_PER_S = 3
"""Spot closes a socket at the sixth message a second, pings and pongs included: half of that leaves room for them."""

CONNECTS_PER_5_MIN = 60
"""A fifth of what Binance allows an address, because other processes share it."""

HEALTHY_AFTER_S = 10.0
CHECK_S = 0.25
_DATA_HEAD = b'{"stream":"'
_HEAD_LENGTH = len(_DATA_HEAD)
_SHUTDOWN_STREAM = b'{"stream":"!serverShutdown"'

# Measured settings (reliability B7): a frozen peer is noticed after 10 s, a closing one is not waited for.
_SETTINGS: dict[str, Any] = {
    "ping_interval": 5,
    "ping_timeout": 5,
    "close_timeout": 1,
    "max_queue": 1024,
    "max_size": 4 << 20,
    "compression": None,
    "proxy": None,
    "open_timeout": 10,
}

log = logging.getLogger(__name__)


class MarketSocket(ClientConnection):
    """A connection that gives each data message away the moment it is complete."""

    take: Callable[[bytes], None]
    _parts: list[bytes]

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._take_frame(event)
        else:
            super().process_event(event)

    def _take_frame(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.fin and frame.opcode is not Opcode.CONT:
            self.take(data)
            return
        if frame.opcode is not Opcode.CONT:
            self._parts = []
        self._parts.append(data)
        if frame.fin:
            self.take(b"".join(self._parts))


class StreamPool:
    """Receives `streams` of one market over as many connections as they need, until `stop`.

    Parameters
    ----------
    base_url : str
        Such as wss://stream.binance.com:9443; futures routes and /stream are added here.
    on_frame : callable
        Called with (recv_ns, frame bytes) for each combined frame, without acknowledgements. What it raises ends `run`.
    on_disconnect : callable
        Called with the list of streams of a connection that was lost, before any later frame of them.
    clock_ns : callable
        Wall clock for `recv_ns`; what comes out never decreases, whichever connection a frame came by.
    cap_per_connection : int
        Most streams one connection carries.
    silence_s : float
        A connection that says nothing for so long is replaced.
    first_frame_s : float
        Streams without a first frame for so long are reported in the log.
    ends_with : str or None
        A close reason after which `run` returns instead of coming back ("capture over" of the simulated exchange).
    draw : callable
        Uniform numbers in [0, 1) for the backoff's jitter.
    """

    def __init__(
        self,
        base_url: str,
        market: Market,
        streams: list[str],
        *,
        on_frame: Callable[[int, bytes], None],
        on_disconnect: Callable[[list[str]], None],
        clock_ns: Callable[[], int] = time.time_ns,
        cap_per_connection: int = 200,
        silence_s: float = 4.5,
        first_frame_s: float = 15.0,
        ends_with: str | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not base_url.startswith(("ws://", "wss://")):
            raise ValueError(f"the stream address {base_url!r} must begin with ws:// or wss://")
        self.statistics: Counter[str] = Counter()
        self._base_url = base_url.rstrip("/")
        self._shards = shards(market, streams, cap_per_connection)
        self._on_frame = on_frame
        self._on_disconnect = on_disconnect
        self._clock_ns = clock_ns
        self._silence_s = silence_s
        self._first_frame_s = first_frame_s
        self._ends_with = ends_with
        self._draw = draw
        self._last_ns = 0
        self._first_frames = FirstFrames()
        self._connects = RateWindow(CONNECTS_PER_5_MIN, 300.0)
        self._stopping = asyncio.Event()
        self._lines: list[_Line] = []

    @property
    def connected(self) -> int:
        """Connections that are open now."""
        return sum(line.is_open for line in self._lines)

    @property
    def frames(self) -> int:
        """Data frames received since `run`."""
        return sum(line.frames for line in self._lines)

    def pending(self) -> dict[str, float]:
        """Streams that were subscribed to and have not delivered a frame, each with its wait in seconds."""
        return self._first_frames.pending(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Receive until `stop`, or until every connection ended with `ends_with`."""
        self._lines = [_Line(self, shard) for shard in self._shards]
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._report_pending())
            keepers = [group.create_task(line.keep()) for line in self._lines]
            await asyncio.gather(*keepers)
            watch.cancel()

    async def stop(self) -> None:
        """Hang up; `run` returns."""
        self._stopping.set()
        await asyncio.gather(*(line.hang_up() for line in self._lines))

    async def _report_pending(self) -> None:
        while True:
            await asyncio.sleep(self._first_frame_s)
            late = self._first_frames.pending(asyncio.get_running_loop().time(), self._first_frame_s)
            if late:
                log.warning("no frame yet from %d streams, such as %s", len(late), ", ".join(sorted(late)[:5]))

    async def _wait(self, seconds: float) -> bool:
        """Sleep, but wake up for `stop`; True when it is time to stop."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _wait_to_connect(self, wait_s: float) -> bool:
        """The backoff, and then this address's connect budget; True when it is time to stop."""
        if await self._wait(wait_s):
            return True
        loop = asyncio.get_running_loop()
        while (budget_s := self._connects.wait_s(loop.time())) > 0.0:
            if await self._wait(budget_s):
                return True
        self._connects.note(loop.time())
        return False

    def _stamp(self) -> int:
        self._last_ns = max(self._last_ns, self._clock_ns())
        return self._last_ns


class _Line:
    """One connection of the pool, again and again."""

    def __init__(self, pool: StreamPool, shard: Shard) -> None:
        self._pool = pool
        self._shard = shard
        self._streams = list(shard.streams)
        self._expected = {stream.encode() for stream in shard.streams}
        self._unheard: set[bytes] = set()
        self._socket: MarketSocket | None = None
        self._watch = SilenceWatch(pool._silence_s, 0.0)
        self.frames = 0
        self._frames_checked = 0
        self._shutting_down = False
        self._failure: BaseException | None = None
        self._last_request = 0

    @property
    def is_open(self) -> bool:
        return self._socket is not None and self._socket.state is State.OPEN

    async def hang_up(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def keep(self) -> None:
        """Connect, receive, come back; returns at `stop` or after the close reason that ends the run."""
        pool, backoff, wait_s = self._pool, Backoff(), 0.0
        loop = asyncio.get_running_loop()
        while not await pool._wait_to_connect(wait_s):
            began = loop.time()
            reason = await self._connect_once()
            if self._failure is not None:
                raise self._failure
            if pool._ends_with is not None and reason == pool._ends_with:
                return
            if loop.time() - began > HEALTHY_AFTER_S:
                backoff.note_healthy()
            wait_s = backoff.next_wait_s(pool._draw())

    async def _connect_once(self) -> str:
        """Live through one connection; returns the reason its close frame gave, "" without one."""
        pool = self._pool
        try:
            async with connect(f"{pool._base_url}{self._shard.route}/stream", **self._settings()) as socket:
                assert isinstance(socket, MarketSocket)
                self._socket = socket
                pool.statistics["connects"] += 1
                try:
                    await self._receive(socket)
                finally:
                    self._lose()
                return socket.close_reason or ""
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            pool.statistics["failed_connects"] += 1
            log.warning("cannot connect to %s: %s", pool._base_url, error or type(error).__name__)
            return ""

    def _settings(self) -> dict[str, Any]:
        return _SETTINGS | {"create_connection": self._new_socket}

    def _new_socket(self, *args: Any, **kwargs: Any) -> MarketSocket:
        socket = MarketSocket(*args, **kwargs)
        socket.take = self._take
        return socket

    async def _receive(self, socket: MarketSocket) -> None:
        """Subscribe, then watch until the connection is gone; frames arrive by `_take` meanwhile."""
        now_s = asyncio.get_running_loop().time()
        self._unheard = set(self._expected)
        self._shutting_down = False
        self._watch = SilenceWatch(self._pool._silence_s, now_s)
        self._pool._first_frames.expect(self._streams, now_s)
        closed = asyncio.ensure_future(socket.wait_closed())
        try:
            await self._subscribe(socket)
            while not closed.done():
                await asyncio.wait([closed], timeout=min(CHECK_S, self._pool._silence_s / 4))
                self._check(socket)
        except ConnectionClosed:
            return
        finally:
            closed.cancel()

    async def _subscribe(self, socket: MarketSocket) -> None:
        loop, pace = asyncio.get_running_loop(), RateWindow(SUBSCRIBES_PER_S, 1.0)
        for names in batches(self._streams, SUBSCRIBE_BATCH):
            await asyncio.sleep(pace.wait_s(loop.time()))
            pace.note(loop.time())
            self._last_request += 1
            request = {"method": "SUBSCRIBE", "params": names, "id": self._last_request}
            await socket.send(json.dumps(request, ensure_ascii=False))

    def _check(self, socket: MarketSocket) -> None:
        """Tear the line when it is silent or the server announced its end: the next try brings another server."""
        now_s = asyncio.get_running_loop().time()
        if self.frames != self._frames_checked:
            self._frames_checked = self.frames
            self._watch.note_frame(now_s)
        if socket.state is not State.OPEN:
            return
        silent = self._watch.is_silent(now_s)
        if silent or self._shutting_down:
            self._pool.statistics["silent" if silent else "server_shutdowns"] += 1
            log.warning("leaving a connection that %s", "is silent" if silent else "is about to shut down")
            socket.transport.abort()

    def _lose(self) -> None:
        """Tell the world that the streams are gone, unless it was ourselves who hung up."""
        self._socket = None
        self._pool._first_frames.forget(self._streams)
        keeper = asyncio.current_task()
        cancelled = keeper is not None and keeper.cancelling() > 0
        if not cancelled and not self._pool._stopping.is_set():
            self._pool.statistics["disconnects"] += 1
            self._pool._on_disconnect(list(self._streams))

    def _take(self, frame: bytes) -> None:
        """One whole message, inside the socket's callback."""
        recv_ns = self._pool._stamp()
        if frame.startswith(_DATA_HEAD) and not frame.startswith(_SHUTDOWN_STREAM):
            self.frames += 1
            if self._unheard:
                self._prove(frame)
            self._hand_over(recv_ns, frame)
        else:
            self._take_notice(frame)

    def _hand_over(self, recv_ns: int, frame: bytes) -> None:
        try:
            self._pool._on_frame(recv_ns, frame)
        except Exception as error:  # asyncio would swallow it here: carry it to run()
            self._failure = error
            if self._socket is not None:
                self._socket.transport.abort()

    def _prove(self, frame: bytes) -> None:
        """The first frame of a stream proves that it delivers; an acknowledgement does not."""
        name = frame[_HEAD_LENGTH : frame.find(b'"', _HEAD_LENGTH)]
        if name in self._unheard:
            self._unheard.discard(name)
            self._pool._first_frames.note(name.decode())

    def _take_notice(self, frame: bytes) -> None:
        """Acknowledgements, errors and the shutdown notice (raw or combined): rare, so parsed in full."""
        statistics = self._pool.statistics
        try:
            notice = json.loads(frame)
        except ValueError:
            notice = None
        if not isinstance(notice, dict):
            statistics["unreadable"] += 1
            log.warning("a frame that is no message: %r", frame[:80])
        elif b"serverShutdown" in frame:
            self._shutting_down = True
        elif "error" in notice or "code" in notice:
            statistics["refusals"] += 1
            log.warning("the exchange refused a request: %s", frame[:300].decode(errors="replace"))
        elif "result" in notice:
            statistics["acknowledged"] += 1
        else:
            statistics["unreadable"] += 1
            log.warning("a frame that is no message: %r", frame[:80])
