"""DOOR: the socket client. A pool of connections that keeps every stream coming and says when one was lost.

What happens when is decided by `keeper.Keeper`, which knows no sockets; this room carries its decisions out. A frame is
handed over inside the socket's own callback, stamped there: no queue, no task and no coroutine switch lies between the
network and `on_frame`, so a slow consumer slows the socket (TCP holds the rest back) and order is kept.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from marketdata.binance.keeper import CONNECTS_PER_5_MIN, Keeper
from marketdata.binance.link import Link
from marketdata.binance.pacing import RateWindow
from marketdata.binance.pool_state import Close, Deliver, Effect, KeeperSettings, Lost, Open, Send
from marketdata.binance.routes import shards
from marketdata.events import Market

LOOK_S = 0.25
_DATA_HEAD = b'{"stream":"'

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

_connect_budgets: dict[str, RateWindow] = {}
"""One per address: Binance counts the connects of all pools of this process together."""

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
        Called with the streams that were lost, before any later frame of them. A planned change loses none.
    clock_ns : callable
        Wall clock for `recv_ns`; what comes out never decreases, whichever connection a frame came by.
    cap_per_connection : int
        Most streams one connection carries.
    silence_s : float
        A connection that says nothing for so long is replaced.
    stream_silence_s : float
        The least patience with a single stream; a slow one has twenty of its usual pauses.
    first_frame_s : float
        A stream without a first frame is asked for again after so long, three times, then moved.
    life_s : float
        A connection is replaced before it is so old (Binance hangs up after 24 h).
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
        stream_silence_s: float = 10.0,
        first_frame_s: float = 5.0,
        life_s: float = 23 * 3600.0,
        ends_with: str | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not base_url.startswith(("ws://", "wss://")):
            raise ValueError(f"the stream address {base_url!r} must begin with ws:// or wss://")
        self._base_url = base_url.rstrip("/")
        budget = _connect_budgets.setdefault(urlsplit(base_url).netloc, RateWindow(CONNECTS_PER_5_MIN, 300.0))
        settings = KeeperSettings(
            silence_s=silence_s,
            stream_silence_s=stream_silence_s,
            first_frame_s=first_frame_s,
            life_s=life_s,
            life_jitter_s=min(1800.0, life_s / 24),
        )
        self._keeper = Keeper(
            market, shards(market, streams, cap_per_connection), cap_per_connection, settings, draw, budget
        )
        self._on_frame = on_frame
        self._on_disconnect = on_disconnect
        self._clock_ns = clock_ns
        self._look_s = min(LOOK_S, silence_s / 4)
        self._ends_with = ends_with
        self._report_s = 3.0 * first_frame_s
        self._last_ns = 0
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._lines: dict[Link, _Line] = {}
        self._frames_before = 0

    @property
    def statistics(self) -> Counter[str]:
        """Counts of what happened, by name."""
        return self._keeper.statistics

    @property
    def connected(self) -> int:
        """Connections that are open now."""
        return sum(line.is_open for line in self._lines.values())

    @property
    def frames(self) -> int:
        """Data frames received since `run`, those that came twice included."""
        return self._frames_before + sum(link.frames for link in self._lines)

    def pending(self) -> dict[str, float]:
        """Streams that were subscribed to and do not deliver, each with its wait in seconds."""
        return self._keeper.pending(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Receive until `stop`, or until every connection ended with `ends_with`."""
        loop = asyncio.get_running_loop()
        report_s = loop.time() + self._report_s
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                while not (self._stopping.is_set() or self._keeper.is_over):
                    self._carry_out(self._keeper.look(loop.time()))
                    if loop.time() >= report_s:
                        report_s = loop.time() + self._report_s
                        self._report_pending()
                    await self._wait(self._look_s)
                    if self._failure is not None:
                        raise self._failure
            finally:
                self._stopping.set()
                for line in self._lines.values():
                    line.task.cancel()

    async def stop(self) -> None:
        """Hang up; `run` returns."""
        self._stopping.set()
        await asyncio.gather(*(line.hang_up() for line in list(self._lines.values())))

    def _report_pending(self) -> None:
        late = self._keeper.pending(asyncio.get_running_loop().time(), self._report_s)
        if late:
            log.warning("no frame yet from %d streams, such as %s", len(late), ", ".join(sorted(late)[:5]))

    async def _wait(self, seconds: float) -> None:
        """Sleep, but wake up for `stop`."""
        with_stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([with_stop], timeout=seconds)
        with_stop.cancel()

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Open(link):
                    self._lines[link] = line = _Line(self, link, f"{self._base_url}{link.route}/stream")
                    line.task = self._group.create_task(line.live())
                case Send(link, method, streams):
                    self._lines[link].ask(method, streams)
                case Close(link, why):
                    log.warning("leaving connection %d: it %s", link.number, why)
                    self._lines[link].tear()
                case Lost(streams):
                    self._on_disconnect(list(streams))
                case Deliver(frames):
                    self._hand_over(self._stamp(), frames)

    def _hand_over(self, recv_ns: int, frames: tuple[bytes, ...] | list[bytes]) -> None:
        try:
            for frame in frames:
                self._on_frame(recv_ns, frame)
        except Exception as error:  # asyncio would swallow it in a socket's callback: carry it to run()
            self._failure = error
            for line in self._lines.values():
                line.tear()

    def _stamp(self) -> int:
        self._last_ns = max(self._last_ns, self._clock_ns())
        return self._last_ns

    def _opened(self, line: "_Line") -> None:
        self._carry_out(self._keeper.opened(line.link, asyncio.get_running_loop().time()))

    def _closed(self, line: "_Line", reason: str) -> None:
        """A connection is gone; unless it was ourselves who hung up, the keeper decides what follows."""
        self._frames_before += line.link.frames
        del self._lines[line.link]
        if self._stopping.is_set():
            return
        over = self._ends_with is not None and reason == self._ends_with
        self._carry_out(self._keeper.closed(line.link, asyncio.get_running_loop().time(), for_ever=over))


class _Line:
    """The life of one connection."""

    task: asyncio.Task[None]

    def __init__(self, pool: StreamPool, link: Link, url: str) -> None:
        self.link = link
        self._pool = pool
        self._url = url
        self._socket: MarketSocket | None = None
        self._requests: asyncio.Queue[str] = asyncio.Queue()
        self._last_request = 0

    @property
    def is_open(self) -> bool:
        return self._socket is not None and self._socket.state is State.OPEN

    def ask(self, method: str, streams: tuple[str, ...]) -> None:
        self._last_request += 1
        request = {"method": method, "params": list(streams), "id": self._last_request}
        self._requests.put_nowait(json.dumps(request, ensure_ascii=False))

    def tear(self) -> None:
        if self._socket is not None:
            self._socket.transport.abort()

    async def hang_up(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def live(self) -> None:
        """Connect, send what is asked, until the connection is gone; frames arrive by `_take` meanwhile."""
        reason = ""
        try:
            async with connect(self._url, **self._settings()) as socket:
                assert isinstance(socket, MarketSocket)
                self._socket = socket
                self._pool._opened(self)
                await self._converse(socket)
                reason = socket.close_reason or ""
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            log.warning("cannot connect to %s: %s", self._url, error or type(error).__name__)
        finally:
            keeper = asyncio.current_task()
            if keeper is None or not keeper.cancelling():
                self._pool._closed(self, reason)

    def _settings(self) -> dict[str, Any]:
        return _SETTINGS | {"create_connection": self._new_socket}

    def _new_socket(self, *args: Any, **kwargs: Any) -> MarketSocket:
        socket = MarketSocket(*args, **kwargs)
        socket.take = self._take
        return socket

    async def _converse(self, socket: MarketSocket) -> None:
        speaker = asyncio.ensure_future(self._speak(socket))
        try:
            await socket.wait_closed()
        finally:
            speaker.cancel()
            await asyncio.gather(speaker, return_exceptions=True)

    async def _speak(self, socket: MarketSocket) -> None:
        try:
            while True:
                await socket.send(await self._requests.get())
        except ConnectionClosed:
            return  # `wait_closed` tells the rest

    def _take(self, frame: bytes) -> None:
        """One whole message, inside the socket's callback."""
        pool = self._pool
        verdict = self.link.take(frame)
        if verdict is True:
            pool._last_ns = recv_ns = max(pool._last_ns, pool._clock_ns())
            try:
                pool._on_frame(recv_ns, frame)
            except Exception as error:  # asyncio would swallow it here: carry it to run()
                pool._failure = error
                self.tear()
        elif verdict is False:
            self._take_notice(frame)
        else:
            pool._hand_over(pool._stamp(), verdict)

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
        elif b"serverShutdown" in frame[:200]:
            self._pool._keeper.shutting_down(self.link)
        elif frame.startswith(_DATA_HEAD):
            statistics["strays"] += 1  # still on its way when its stream was taken down
        elif "error" in notice or "code" in notice:
            statistics["refusals"] += 1
            log.warning("the exchange refused a request: %s", frame[:300].decode(errors="replace"))
        elif "result" in notice:
            statistics["acknowledged"] += 1
        else:
            statistics["unreadable"] += 1
            log.warning("a frame that is no message: %r", frame[:80])
