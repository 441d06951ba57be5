"""DOOR: one client's connection. Frames go out in batches, frames that come in are counted, and the line can be bad."""

import asyncio
import socket as sockets
import struct

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, State

from marketdata.simulator.subscriptions import POLICY_VIOLATION, MessageRate, Session

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends RST."""


class ClientSocket(ServerConnection):
    session: Session
    rate: MessageRate | None = None
    unsent: list[bytes]
    frozen: bool = False
    bytes_per_flush: int = 0
    """How much leaves at once; 0: everything."""
    end_of_life: asyncio.TimerHandle | None = None
    _farewell: asyncio.Task[None] | None = None

    def process_event(self, event: object) -> None:
        counts = isinstance(event, Frame) and event.opcode is not Opcode.CLOSE
        if counts and self.rate is not None and self.rate.is_too_fast(self.loop.time()):
            self.say_farewell(POLICY_VIOLATION, "too many messages")
        super().process_event(event)  # type: ignore[arg-type]

    def send_data(self) -> None:
        """Let control frames out: in their turn behind a half-sent frame, and not at all while frozen."""
        if self.frozen:
            return
        if not (self.bytes_per_flush and self.unsent):
            super().send_data()
            return
        for data in self.protocol.data_to_send():
            if data is SEND_EOF:
                self.transport.write_eof()
            else:
                self.unsent.append(data)

    def queue(self, payload: bytes) -> None:
        self.unsent.append(frame_head(len(payload)))
        self.unsent.append(payload)

    def queue_frame(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        self.unsent.append(frame_head(len(payload), (0x80 if fin else 0) | opcode))
        self.unsent.append(payload)

    def flush(self) -> None:
        if self.protocol.state is not State.OPEN:
            self.unsent.clear()
        elif self.unsent and not self.frozen:
            data = b"".join(self.unsent)
            self.unsent.clear()
            if self.bytes_per_flush and len(data) > self.bytes_per_flush:
                self.unsent.append(data[self.bytes_per_flush :])
                data = data[: self.bytes_per_flush]
            self.transport.write(data)

    @property
    def waiting_bytes(self) -> int:
        return self.transport.get_write_buffer_size() + sum(map(len, self.unsent))

    def say_farewell(self, code: int, reason: str) -> None:
        """Close with `code`; what was written before still arrives."""
        self.bytes_per_flush = 0
        self.flush()
        if self._farewell is None:
            self._farewell = self.loop.create_task(self.close(code, reason))

    def tear(self) -> None:
        """End TCP without a close frame."""
        self.transport.abort()

    def reset(self) -> None:
        """End TCP with RST."""
        line = self.transport.get_extra_info("socket")
        line.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
        self.transport.abort()

    def freeze(self) -> None:
        self.frozen = True
        self.transport.pause_reading()

    def thaw(self) -> None:
        self.frozen = False
        if self.protocol.state is State.OPEN:
            self.transport.resume_reading()
            self.flush()
            self.send_data()

    def live_for(self, seconds: float) -> None:
        """Hang up after so long; a new term replaces the old one."""
        if self.end_of_life is not None:
            self.end_of_life.cancel()
        self.end_of_life = self.loop.call_later(seconds, self.say_farewell, 1001, "24 hours are over")


def frame_head(length: int, first: int = 0x81) -> bytes:
    """The head of an unmasked frame; without `first` that of an unfragmented text (RFC 6455, section 5.2)."""
    if length < 126:
        return bytes((first, length))
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
