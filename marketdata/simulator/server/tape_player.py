"""DOOR: plays a capture to whoever listens, once, and lets nothing be lost."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

from marketdata.events import NS_PER_S
from marketdata.simulator.server.client_sockets import PUMP_S, ClientSockets
from marketdata.simulator.switchboard import Switchboard
from marketdata.simulator.tape import TapeFrame, tape_frames
from marketdata.simulator.venue import TapeVenue

TAPE_BATCH = 256


class TapePlayer:
    """`settle_s` and `snapshot_hold_s` as in `ExchangeServer`; `speed` None plays as fast as the clients read."""

    def __init__(
        self,
        venue: TapeVenue,
        tape: Callable[[], Iterator[bytes]],
        sockets: ClientSockets,
        switchboard: Switchboard,
        *,
        say: Callable[[TapeFrame], None],
        is_paused: Callable[[], bool],
        speed: float | None,
        settle_s: float,
        snapshot_hold_s: float,
    ) -> None:
        self._venue = venue
        self._tape = tape
        self._sockets = sockets
        self._switchboard = switchboard
        self._say = say
        self._is_paused = is_paused
        self._speed = speed
        self._settle_s = settle_s
        self._snapshot_hold_s = snapshot_hold_s
        self._subscribed = asyncio.Event()
        self._subscribed_at = 0.0
        self._depth_served: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def note_subscription(self, now_s: float) -> None:
        self._subscribed_at = now_s
        self._subscribed.set()

    def note_depth_served(self, symbol: str) -> None:
        self._depth_served[symbol].set()

    async def play(self) -> None:
        """Play the capture once."""
        await self._wait_for_clients()
        start, unflushed = asyncio.get_running_loop().time(), 0
        for frame in tape_frames(self._tape()):
            start += await self._wait_for_turn(frame, start)
            new_book = self._follow(frame)
            if frame.generated:
                start += await self._hold_for_snapshot(frame.symbol) if new_book else 0.0
                continue
            self._say(frame)
            unflushed += 1
            if unflushed == TAPE_BATCH:
                await self._flush_and_drain()
                unflushed = 0
        await self._flush_and_drain()

    def _follow(self, frame: TapeFrame) -> bool:
        self._venue.now_ns = max(self._venue.now_ns, frame.recv_ns)
        return self._venue.books.follow(frame)

    async def _wait_for_clients(self) -> None:
        await self._subscribed.wait()
        loop, wanted = asyncio.get_running_loop(), self._venue.survey.streams
        while loop.time() < self._subscribed_at + self._settle_s and not self._switchboard.hears_all(wanted):
            await asyncio.sleep(PUMP_S)

    async def _wait_for_turn(self, frame: TapeFrame, start: float) -> float:
        """Sleep until the frame is due; returns the seconds spent paused, by which the play is late from now on."""
        loop = asyncio.get_running_loop()
        before = loop.time()
        while self._is_paused():
            await asyncio.sleep(PUMP_S)
        paused_s = loop.time() - before
        if self._speed is not None:
            due = start + paused_s + (frame.recv_ns - self._venue.survey.first_ns) / NS_PER_S / self._speed
            if due > loop.time() + 0.001:
                await self._flush_and_drain()
                await asyncio.sleep(due - loop.time())
        return paused_s

    async def _hold_for_snapshot(self, symbol: str) -> float:
        """Let a subscriber fetch the book that has just come to stand; returns the seconds spent."""
        if not self._switchboard.hears_any(symbol.lower() + "@depth"):
            return 0.0
        self._depth_served[symbol].clear()
        await self._flush_and_drain()
        loop = asyncio.get_running_loop()
        before = loop.time()
        served: Awaitable[object] = self._depth_served[symbol].wait()
        with suppress(TimeoutError):
            await asyncio.wait_for(served, self._snapshot_hold_s)
        return loop.time() - before

    async def _flush_and_drain(self) -> None:
        """Wait until slow clients have read: nothing is ever thrown away."""
        for socket in self._sockets:
            socket.flush()
            with suppress(ConnectionError):
                await socket.drain()
        await asyncio.sleep(0)
