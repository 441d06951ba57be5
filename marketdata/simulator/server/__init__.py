"""DOOR: the simulated exchange on loopback, REST and websockets on one port; a living market or a capture played again.

REST is answered during the websocket handshake (`process_request`), so one address serves both, and every REST request
has its own connection. Frames are written to the transport in batches, without a coroutine per message: 20,000 messages
a second must leave the same small machine that receives them.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Data

from marketdata.events import NS_PER_S, Market
from marketdata.simulator.control_desk import ControlDesk
from marketdata.simulator.faults import Faults
from marketdata.simulator.knobs import turn
from marketdata.simulator.ledger import Ledger, ids_of
from marketdata.simulator.mark_arrays import STREAM as MARK_ARRAY
from marketdata.simulator.mark_arrays import MarkArrays
from marketdata.simulator.market import Message
from marketdata.simulator.penalties import Penalties
from marketdata.simulator.rest_desk import RestDesk
from marketdata.simulator.schedule import PlannedFault
from marketdata.simulator.server.client_socket import ClientSocket
from marketdata.simulator.server.client_sockets import PUMP_S, ClientSockets
from marketdata.simulator.server.handshake import read_target, written
from marketdata.simulator.server.tape_player import TapePlayer
from marketdata.simulator.subscriptions import (
    POLICY_VIOLATION,
    MessageRate,
    Route,
    Session,
    messages_per_s,
    parse_route,
)
from marketdata.simulator.switchboard import Switchboard
from marketdata.simulator.tape import TapeFrame
from marketdata.simulator.target import Answer, Target
from marketdata.simulator.venue import LivingVenue, TapeVenue, Venue
from marketdata.simulator.wire import NS_PER_MS

DAY_S = 86_400.0
MAX_UNSENT_BYTES = 64 << 20
"""A client that lets more than this wait is cut off, as by the real exchange."""

log = logging.getLogger(__name__)
_SOCKET_LOG = logging.getLogger(f"{__name__}.sockets")
_SOCKET_LOG.setLevel(logging.CRITICAL)  # or each REST request would be three lines of the operator's log

_SERVER_PINGS_S = {Market.SPOT: (20.0, 60.0), Market.USDM: (180.0, 600.0)}


class ExchangeServer:
    """Serves `venue` on 127.0.0.1. `async with ExchangeServer(venue) as exchange: ... exchange.rest_url`.

    Parameters
    ----------
    speed : float or None
        How many times faster than life; None plays a capture as fast as its clients read, and nothing is lost.
    tape : callable
        Gives the lines of the capture again; only with a `TapeVenue`.
    lifetime_s : float
        How long a websocket may live, in the exchange's seconds: at speed 3600 its day takes 24 s.
    settle_s, snapshot_hold_s : float
        A capture starts when all its streams have a subscriber, or nobody has subscribed for `settle_s`. At a recorded
        snapshot it waits at most `snapshot_hold_s` for a subscriber of that symbol to fetch REST depth.
    schedule : sequence of PlannedFault
        Faults that happen by themselves, at seconds of the exchange's time after its start.
    seed : int
        Decides what knobs of chance do.
    keeps_ledger : bool
        Whether every id made and sent is written down (off for load tests).
    state_file : Path or None
        Where bans and used weight survive a restart of the exchange.
    tls : SSLContext or None
        Serve https and wss with this certificate.
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
        schedule: Sequence[PlannedFault] = (),
        seed: int = 0,
        keeps_ledger: bool = True,
        state_file: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.venue = venue
        self.faults = Faults(seed)
        self.switchboard = Switchboard()
        self.ledger = self.switchboard.ledger = Ledger() if keeps_ledger else None
        self.rest_desk = RestDesk(venue, lambda: venue.now_ns, self.faults, speed or 1.0)
        self.sockets = ClientSockets(lifetime_s / (speed or 1.0), lambda: venue.now_ns // NS_PER_MS, self._go_down)
        self.control_desk = ControlDesk(self)
        self.finished = asyncio.Event()
        self.paused = False
        self.happened: list[tuple[int, str, dict[str, Any]]] = []
        """The faults that were made: exchange time, knob, parameters."""
        self.watchers: list[Callable[[int, str, bytes], None]] = []
        """Called with everything that happens on a living market, before any fault: what an oracle needs."""
        self._port = port
        self._speed = speed
        self._schedule = list(schedule)
        self._state_file = state_file
        self._saved = Penalties()
        self._tls = tls
        self._marks = MarkArrays()
        self._player = (
            TapePlayer(
                venue,
                tape,
                self.sockets,
                self.switchboard,
                say=self._say_frame,
                is_paused=lambda: self.paused,
                speed=speed,
                settle_s=settle_s,
                snapshot_hold_s=snapshot_hold_s,
            )
            if isinstance(venue, TapeVenue) and tape is not None
            else None
        )
        self._server: Server | None = None
        self._pump: asyncio.Task[None] | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._restore()
        await self._open_doors()
        self._pump = asyncio.create_task(self._play() if self._player is not None else self._live())

    async def stop(self) -> None:
        self.sockets.thaw()
        for task in (self._pump, self._reopening):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def wait_over(self) -> None:
        """Return when a capture has been played; raise what ended the exchange otherwise."""
        assert self._pump is not None
        await asyncio.shield(self._pump)

    @property
    def rest_url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._port}"

    @property
    def stream_url(self) -> str:
        return f"ws{'s' if self._tls else ''}://127.0.0.1:{self._port}"

    async def _open_doors(self) -> None:
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
            open_timeout=None,
            ssl=self._tls,
            logger=_SOCKET_LOG,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    def _go_down(self, for_s: float) -> None:
        """End everything and refuse connections for so long."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for socket in self.sockets:
            socket.tear()
        self._reopening = asyncio.create_task(self._reopen(for_s))

    async def _reopen(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._open_doors()

    # What tests, schedules and the /sim/ address can do to the exchange

    def fault(self, name: str, **parameters: Any) -> object:
        """Turn a knob of `knobs.py` by its name."""
        self.happened.append((self.venue.now_ns, name, parameters))
        return turn(self, name, parameters)

    def cut(self, code: int = 1006, symbol: str = "") -> int:
        """Hang up on every client, or on those who listen to `symbol`; 1006 tears the line without a close frame."""
        return self.sockets.cut(code, symbol)

    def pause(self) -> None:
        """Stop the exchange's time: nothing is sent and nothing happens."""
        self.paused = True

    def pause_for(self, seconds: float) -> None:
        self.pause()
        asyncio.get_running_loop().call_later(seconds, self.resume)

    def resume(self) -> None:
        self.paused = False

    def state(self) -> dict[str, object]:
        return {
            "market": str(self.venue.market),
            "now_ns": self.venue.now_ns,
            "symbols": list(self.venue.symbols),
            "clients": len(self.sockets),
            "connects": self.sockets.connects,
            "streams": sorted(self.switchboard.listeners),
            "sent": dict(self.switchboard.sent),
            "unheard": self.switchboard.unheard,
            "dropped": self.faults.dropped,
            "spoilt": self.faults.spoilt,
            "paused": self.paused,
            "frozen": self.sockets.frozen,
            "over": self.finished.is_set(),
            "used_weight": self.rest_desk.used_weight,
            "bans": self.rest_desk.penalties.bans,
            "early_calls": self.rest_desk.penalties.early,
            "happened": self.happened,
        }

    # A living market

    async def _live(self) -> None:
        """Let the market live in step with the clock."""
        assert isinstance(self.venue, LivingVenue)
        loop, speed = asyncio.get_running_loop(), self._speed or 1.0
        started_ns = self.venue.now_ns
        last = loop.time()
        while True:
            await asyncio.sleep(PUMP_S)
            now = loop.time()
            if not self.paused:
                self._send(self.venue.advance(self.venue.now_ns + int((now - last) * speed * NS_PER_S)))
                self._follow_schedule((self.venue.now_ns - started_ns) / NS_PER_S)
            last = now

    def _follow_schedule(self, now_s: float) -> None:
        while self._schedule and self._schedule[0].at_s <= now_s:
            planned = self._schedule.pop(0)
            try:
                self.fault(planned.fault, **planned.parameters)
            except ValueError as error:  # such as a symbol that was delisted meanwhile
                log.warning("%s was not possible: %s", planned.fault, error)

    def _send(self, messages: list[Message]) -> None:
        now_ns = self.venue.now_ns
        for ts_ns, stream, data in messages:
            self._witness(ts_ns, stream, data)
            for payload in self.faults.deliver(stream, data, now_ns):
                self._say(stream, payload)
        for stream, payload in self.faults.due(now_ns):
            self._say(stream, payload)
        self.sockets.flush(MAX_UNSENT_BYTES)

    def _witness(self, ts_ns: int, stream: str, data: bytes) -> None:
        if self.ledger is not None:
            self.ledger.note_made(stream, data)
        if stream.endswith("@aggTrade"):
            span = ids_of(stream, data)
            if span is not None:
                self.rest_desk.note_trade(stream.partition("@")[0].upper(), span[0], data)
        elif stream.endswith("@markPrice@1s") and MARK_ARRAY in self.switchboard.listeners:
            for frame in self._marks.add(data):
                self._say(MARK_ARRAY, frame)
        for watcher in self.watchers:
            watcher(ts_ns, stream, data)

    def _say(self, stream: str, payload: bytes) -> None:
        combined = b'{"stream":"%b","data":%b}' % (stream.encode(), payload)
        self.switchboard.dispatch(stream, payload, combined)

    # A capture

    async def _play(self) -> None:
        """Play the capture once, then hang up on everybody."""
        assert self._player is not None
        await self._player.play()
        self.finished.set()
        await asyncio.gather(*(socket.close(1000, "capture over") for socket in self.sockets))

    def _say_frame(self, frame: TapeFrame) -> None:
        for payload in self.faults.deliver(frame.stream, frame.data, self.venue.now_ns):
            if payload is frame.data:
                self.switchboard.dispatch(frame.stream, payload, frame.frame)
            else:
                self._say(frame.stream, payload)

    # Clients

    async def _attend(self, connection: ServerConnection) -> None:
        assert isinstance(connection, ClientSocket) and connection.request is not None
        market = self.venue.market
        route = parse_route(market, read_target(connection.request.path)) or Route("", False, ())
        connection.session, connection.unsent = Session(market, route), []
        connection.rate = MessageRate(messages_per_s(market))
        self.sockets.add(connection)
        try:
            self._note_subscriptions(connection)
            if connection.session.is_full:
                connection.say_farewell(POLICY_VIOLATION, "too many streams")
            async for message in connection:
                self._converse(connection, message)
        except ConnectionClosed:
            return  # a torn line is the client's business; he comes back or not
        finally:
            self.sockets.discard(connection)
            self.switchboard.disconnect(connection)

    def _converse(self, socket: ClientSocket, message: Data) -> None:
        reply = socket.session.handle(message, self.sockets.take_ack_fault())
        if reply.text:
            socket.queue(reply.text.encode())
        socket.flush()
        if reply.close_code:
            socket.say_farewell(reply.close_code, reply.close_reason)
        self._note_subscriptions(socket)

    def _note_subscriptions(self, socket: ClientSocket) -> None:
        self.switchboard.connect(socket)
        if socket.session.streams and self._player is not None:
            self._player.note_subscription(socket.loop.time())

    # HTTP

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        target = read_target(request.path)
        if target.path.startswith("/sim/"):
            return written(self._command(target))
        await self.sockets.wait_thawed()
        if target.path.startswith(("/api/", "/fapi/")):
            return await self._rest(target)
        if parse_route(self.venue.market, target) is None:
            return written(Answer(404, b'{"code":-1,"msg":"nothing is served here"}'))
        if not self.rest_desk.penalties.may_connect(self.venue.now_ns):
            return written(Answer(429, b'{"code":-1003,"msg":"too many connections"}'))
        return None

    def _command(self, target: Target) -> Answer:
        self.happened.append((self.venue.now_ns, target.path, target.query))
        return self.control_desk.answer(target)

    async def _rest(self, target: Target) -> Response:
        answer = self.rest_desk.answer(target)
        self._save()
        if answer.status == 200 and target.path.endswith("/depth") and self._player is not None:
            self._player.note_depth_served(target.query["symbol"])
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        return written(answer)

    # What survives a restart

    def _restore(self) -> None:
        if self._state_file is not None and self._state_file.exists():
            self.rest_desk.penalties = Penalties.from_dict(json.loads(self._state_file.read_text()))

    def _save(self) -> None:
        penalties = self.rest_desk.penalties
        if self._state_file is not None and penalties != self._saved:
            self._state_file.write_text(json.dumps(penalties.as_dict()))
            self._saved = Penalties.from_dict(penalties.as_dict())
