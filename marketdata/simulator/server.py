"""DOOR: the simulated exchange on loopback, REST and websockets on one port; a living market or a capture played again.

REST is answered during the websocket handshake (`process_request`), so one address serves both, and every REST request
has its own connection. Frames are written to the transport in batches, without a coroutine per message: 20,000 messages
a second must leave the same small machine that receives them.
"""

import asyncio
import email.utils
import http
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Data

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.control_desk import ControlDesk
from marketdata.simulator.faults import Faults
from marketdata.simulator.market import Message
from marketdata.simulator.rest_desk import RestDesk
from marketdata.simulator.subscriptions import (
    POLICY_VIOLATION,
    MessageRate,
    Route,
    Session,
    messages_per_s,
    parse_route,
)
from marketdata.simulator.switchboard import Switchboard
from marketdata.simulator.tape import TapeFrame, tape_frames
from marketdata.simulator.target import Answer, Target
from marketdata.simulator.venue import LivingVenue, TapeVenue, Venue

PUMP_S = 0.01
DAY_S = 86_400.0
MAX_UNSENT_BYTES = 64 << 20
"""A client that lets more than this wait is cut off, as by the real exchange."""

TAPE_BATCH = 256
_SOCKET_LOG = logging.getLogger(f"{__name__}.sockets")
_SOCKET_LOG.setLevel(logging.WARNING)  # or each REST request would be three lines of the operator's log

_SERVER_PINGS_S = {Market.SPOT: (20.0, 60.0), Market.USDM: (180.0, 600.0)}


class ClientSocket(ServerConnection):
    """One client's connection: frames go out in batches, frames that come in are counted."""

    session: Session
    rate: MessageRate | None = None
    unsent: list[bytes]
    _farewell: asyncio.Task[None] | None = None

    def process_event(self, event: object) -> None:
        counts = isinstance(event, Frame) and event.opcode is not Opcode.CLOSE
        if counts and self.rate is not None and self.rate.is_too_fast(self.loop.time()):
            self.say_farewell(POLICY_VIOLATION, "too many messages")
        super().process_event(event)  # type: ignore[arg-type]

    def queue(self, payload: bytes) -> None:
        self.unsent.append(frame_head(len(payload)))
        self.unsent.append(payload)

    def flush(self) -> None:
        if self.unsent and self.protocol.state is State.OPEN:
            self.transport.write(b"".join(self.unsent))
        self.unsent.clear()

    def say_farewell(self, code: int, reason: str) -> None:
        """Close with `code`; what was written before still arrives."""
        self.flush()
        if self._farewell is None:
            self._farewell = self.loop.create_task(self.close(code, reason))


def frame_head(length: int) -> bytes:
    """The head of an unmasked, unfragmented text frame (RFC 6455, section 5.2)."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


class ExchangeServer:
    """Serves `venue` on 127.0.0.1. `async with ExchangeServer(venue) as exchange: ... exchange.rest_url`.

    Parameters
    ----------
    speed : float or None
        How many times faster than life; None plays a capture as fast as its clients read, and nothing is lost.
    tape : callable
        Gives the lines of the capture again; only with a `TapeVenue`.
    lifetime_s : float
        How long a websocket may live.
    settle_s, snapshot_hold_s : float
        A capture starts when all its streams have a subscriber, or nobody has subscribed for `settle_s`. At a recorded
        snapshot it waits at most `snapshot_hold_s` for a subscriber of that symbol to fetch REST depth.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        port: int = 0,
        speed: float | None = 1.0,
        tape: Callable[[], Iterator[bytes]] | None = None,
        lifetime_s: float = DAY_S,
        settle_s: float = 1.0,
        snapshot_hold_s: float = 3.0,
    ) -> None:
        self.venue = venue
        self.faults = Faults()
        self.switchboard = Switchboard()
        self.rest_desk = RestDesk(venue, lambda: venue.now_ns)
        self.control_desk = ControlDesk(self)
        self.finished = asyncio.Event()
        self.paused = False
        self._port = port
        self._speed = speed
        self._tape = tape
        self._lifetime_s = lifetime_s
        self._settle_s = settle_s
        self._snapshot_hold_s = snapshot_hold_s
        self._sockets: set[ClientSocket] = set()
        self._subscribed = asyncio.Event()
        self._subscribed_at = 0.0
        self._depth_served: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._server: Server | None = None
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        ping_s, pong_s = _SERVER_PINGS_S[self.venue.market]
        self._server = await serve(
            self._attend,
            "127.0.0.1",
            self._port,
            process_request=self._process_request,
            create_connection=ClientSocket,
            compression=None,
            ping_interval=ping_s,
            ping_timeout=pong_s,
            close_timeout=1,
            logger=_SOCKET_LOG,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        self._pump = asyncio.create_task(self._play() if isinstance(self.venue, TapeVenue) else self._live())

    async def stop(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def wait_over(self) -> None:
        """Return when a capture has been played; raise what ended the exchange otherwise."""
        assert self._pump is not None
        await asyncio.shield(self._pump)

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    # What tests and the /sim/ address can do to the exchange

    def cut(self, code: int = 1006, symbol: str = "") -> int:
        """Hang up on every client, or on those who listen to `symbol`; 1006 tears the line without a close frame."""
        prefix = symbol.lower() + "@"
        chosen = [s for s in self._sockets if not symbol or any(n.startswith(prefix) for n in s.session.streams)]
        for socket in chosen:
            if code == 1006:
                socket.transport.abort()
            else:
                socket.say_farewell(code, "cut")
        return len(chosen)

    def pause(self) -> None:
        """Stop the exchange's time: nothing is sent and nothing happens."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def state(self) -> dict[str, object]:
        return {
            "market": str(self.venue.market),
            "now_ns": self.venue.now_ns,
            "symbols": list(self.venue.symbols),
            "clients": len(self._sockets),
            "streams": sorted(self.switchboard.listeners),
            "sent": dict(self.switchboard.sent),
            "unheard": self.switchboard.unheard,
            "dropped": self.faults.dropped,
            "paused": self.paused,
            "over": self.finished.is_set(),
            "used_weight": self.rest_desk.used_weight,
        }

    # A living market

    async def _live(self) -> None:
        """Let the market live in step with the clock."""
        assert isinstance(self.venue, LivingVenue)
        loop, speed = asyncio.get_running_loop(), self._speed or 1.0
        last = loop.time()
        while True:
            await asyncio.sleep(PUMP_S)
            now = loop.time()
            if not self.paused:
                self._send(self.venue.simulated.advance(self.venue.now_ns + int((now - last) * speed * NS_PER_S)))
            last = now

    def _send(self, messages: list[Message]) -> None:
        for _, stream, data in messages:
            for payload in self.faults.deliver(stream, data):
                combined = b'{"stream":"%b","data":%b}' % (stream.encode(), payload)
                self.switchboard.dispatch(stream, payload, combined)
        for socket in self._sockets:
            socket.flush()
            if socket.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                socket.transport.abort()

    # A capture

    async def _play(self) -> None:
        """Play the capture once, then hang up on everybody."""
        assert self._tape is not None
        await self._wait_for_clients()
        start, unflushed = asyncio.get_running_loop().time(), 0
        for frame in tape_frames(self._tape()):
            start += await self._wait_for_turn(frame, start)
            new_book = self._follow(frame)
            if frame.generated:
                start += await self._hold_for_snapshot(frame.symbol) if new_book else 0.0
                continue
            for payload in self.faults.deliver(frame.stream, frame.data):
                self.switchboard.dispatch(frame.stream, payload, frame.frame)
            unflushed += 1
            if unflushed == TAPE_BATCH:
                await self._flush_and_drain()
                unflushed = 0
        await self._flush_and_drain()
        self.finished.set()
        await asyncio.gather(*(socket.close(1000, "capture over") for socket in list(self._sockets)))

    def _follow(self, frame: TapeFrame) -> bool:
        assert isinstance(self.venue, TapeVenue)
        self.venue.now_ns = max(self.venue.now_ns, frame.recv_ns)
        return self.venue.books.follow(frame)

    async def _wait_for_clients(self) -> None:
        assert isinstance(self.venue, TapeVenue)
        await self._subscribed.wait()
        loop, wanted = asyncio.get_running_loop(), self.venue.survey.streams
        while loop.time() < self._subscribed_at + self._settle_s and not self.switchboard.hears_all(wanted):
            await asyncio.sleep(PUMP_S)

    async def _wait_for_turn(self, frame: TapeFrame, start: float) -> float:
        """Sleep until the frame is due; returns the seconds spent paused, by which the play is late from now on."""
        loop = asyncio.get_running_loop()
        assert isinstance(self.venue, TapeVenue)
        before = loop.time()
        while self.paused:
            await asyncio.sleep(PUMP_S)
        paused_s = loop.time() - before
        if self._speed is not None:
            due = start + paused_s + (frame.recv_ns - self.venue.survey.first_ns) / NS_PER_S / self._speed
            if due > loop.time() + 0.001:
                await self._flush_and_drain()
                await asyncio.sleep(due - loop.time())
        return paused_s

    async def _hold_for_snapshot(self, symbol: str) -> float:
        """Let a subscriber fetch the book that has just come to stand; returns the seconds spent."""
        if not self.switchboard.hears_any(symbol.lower() + "@depth"):
            return 0.0
        self._depth_served[symbol].clear()
        await self._flush_and_drain()
        loop = asyncio.get_running_loop()
        before = loop.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._depth_served[symbol].wait(), self._snapshot_hold_s)
        return loop.time() - before

    async def _flush_and_drain(self) -> None:
        """Wait until slow clients have read: nothing is ever thrown away."""
        for socket in list(self._sockets):
            socket.flush()
            with suppress(ConnectionError):
                await socket.drain()
        await asyncio.sleep(0)

    # Clients

    async def _attend(self, connection: ServerConnection) -> None:
        assert isinstance(connection, ClientSocket) and connection.request is not None
        market = self.venue.market
        route = parse_route(market, _target(connection.request.path)) or Route("", False, ())
        connection.session, connection.unsent = Session(market, route), []
        connection.rate = MessageRate(messages_per_s(market))
        end_of_life = connection.loop.call_later(self._lifetime_s, connection.say_farewell, 1001, "24 hours are over")
        self._sockets.add(connection)
        try:
            self._note_subscriptions(connection)
            if connection.session.is_full:
                connection.say_farewell(POLICY_VIOLATION, "too many streams")
            async for message in connection:
                self._converse(connection, message)
        except ConnectionClosed:
            return  # a torn line is the client's business; he comes back or not
        finally:
            end_of_life.cancel()
            self._sockets.discard(connection)
            self.switchboard.disconnect(connection)

    def _converse(self, socket: ClientSocket, message: Data) -> None:
        reply = socket.session.handle(message)
        socket.queue(reply.text.encode())
        socket.flush()
        if reply.close_code:
            socket.say_farewell(reply.close_code, reply.close_reason)
        self._note_subscriptions(socket)

    def _note_subscriptions(self, socket: ClientSocket) -> None:
        self.switchboard.connect(socket)
        if socket.session.streams:
            self._subscribed_at = socket.loop.time()
            self._subscribed.set()

    # HTTP

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = _target(request.path)
        if target.path.startswith(("/api/", "/fapi/")):
            answer = self.rest_desk.answer(target)
            if answer.status == 200 and target.path.endswith("/depth"):
                self._depth_served[target.query["symbol"]].set()
            return _response(answer)
        if target.path.startswith("/sim/"):
            return _response(self.control_desk.answer(target))
        if parse_route(self.venue.market, target) is None:
            return _response(Answer(404, b'{"code":-1,"msg":"nothing is served here"}'))
        return None


def _target(path: str) -> Target:
    parts = urlsplit(path)
    return Target(unquote(parts.path), {name: values[0] for name, values in parse_qs(parts.query).items()})


def _response(answer: Answer) -> Response:
    headers = Headers(
        [
            ("Date", email.utils.formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(answer.body))),
            ("Content-Type", "application/json;charset=UTF-8"),
            *answer.headers,
        ]
    )
    return Response(answer.status, http.HTTPStatus(answer.status).phrase, headers, answer.body)
