"""One client's socket as packets: what it sends is read here, what it is told is written here."""

import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from surge_site.engines.clickhouse_bridge.blocks import (
    BLOCK_INFO,
    EMPTY_BLOCK,
    Block,
    read_block,
    read_block_info,
)
from surge_site.engines.clickhouse_bridge.compression import Method, read_frame, write_frames
from surge_site.engines.clickhouse_bridge.errors import MalformedStream, ServerError
from surge_site.engines.clickhouse_bridge.handshake import HELLO_BYTES
from surge_site.engines.clickhouse_bridge.protocol import OLDEST_REVISION, ClientPacket, Revision
from surge_site.engines.clickhouse_bridge.protocol import ServerPacket as Packet
from surge_site.engines.clickhouse_bridge.wire import MAX_UNREAD_BYTES, ByteReader, int32, string, varint

HELLO_TIMEOUT_S = 10.0
TRANSFER_TIMEOUT_S = 300.0  # ClickHouse's send_timeout and receive_timeout
_RECEIVE_BYTES = 64 << 10
_MAX_RECEIVE_BYTES = 4 << 20
_STATIC = {packet: varint(packet) for packet in Packet}


class Channel:
    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(HELLO_TIMEOUT_S)
        self.reader = ByteReader(self._receive, limit=HELLO_BYTES)
        self.revision = int(OLDEST_REVISION)
        self.compression: Method | None = None

    def admit(self, revision: int) -> None:
        """The stranger has become a client: it may send much, and speaks this revision."""
        self.revision = revision
        self.reader.limit = MAX_UNREAD_BYTES
        self._socket.settimeout(TRANSFER_TIMEOUT_S)

    def next_packet(self) -> ClientPacket:
        number = self.reader.varint()
        try:
            return ClientPacket(number)
        except ValueError:
            raise MalformedStream(f"unknown packet {number} from the client") from None

    @contextmanager
    def without_haste(self) -> Iterator[None]:
        """Between queries a client may stay silent as long as it likes."""
        self.reader.forget()
        self._socket.settimeout(None)
        try:
            yield
        finally:
            self._socket.settimeout(TRANSFER_TIMEOUT_S)

    def read_data(self, is_compressed: bool) -> tuple[str, Block]:
        """The body of a Data packet: the name of an external table (mostly none) and a block."""
        table = self.reader.text()
        reader = ByteReader(lambda missing: read_frame(self.reader)) if is_compressed else self.reader
        read_block_info(reader)
        try:
            block = read_block(reader, with_flag=self._has(Revision.CUSTOM_SERIALIZATION))
        except ServerError as failure:  # a type never asked for: where the block ends is not known
            raise MalformedStream(failure.text) from failure
        if is_compressed and reader.unread:
            raise MalformedStream("bytes are left after a compressed block")
        self.reader.forget()
        return table, block

    def wants_to_stop(self) -> bool:
        """True when the client has sent Cancel, or has left, while it waits for an answer."""
        first = self.reader.next_byte()
        if first is None and self._is_readable():
            peeked = self._socket.recv(1, socket.MSG_PEEK)
            first = peeked[0] if peeked else ClientPacket.CANCEL
        return first == ClientPacket.CANCEL

    def hang_up(self, how: int = socket.SHUT_RDWR) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            return  # the client was faster

    def close(self) -> None:
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        self._socket.sendall(b"".join(pieces))

    def send_pong(self) -> None:
        self.send(_STATIC[Packet.PONG])

    def send_end(self) -> None:
        self.send(_STATIC[Packet.END_OF_STREAM])

    def send_block(self, block: Block) -> None:
        body = b"".join((BLOCK_INFO, *block.pieces(with_flag=self._has(Revision.CUSTOM_SERIALIZATION))))
        frames = write_frames(self.compression, body) if self.compression else (body,)
        self.send(_STATIC[Packet.DATA], string(""), *frames)

    def send_exception(self, failure: ServerError) -> None:
        texts = string("DB::Exception") + string(failure.text) + string("")
        self.send(_STATIC[Packet.EXCEPTION], int32(failure.code), texts, b"\0")

    def send_timezone(self, timezone: str) -> None:
        if timezone and self._has(Revision.TIMEZONE_UPDATES):
            self.send(_STATIC[Packet.TIMEZONE_UPDATE], string(timezone))

    def send_profile_events(self) -> None:
        """Newer clients wait for these after each block of an INSERT; the bridge counts none."""
        if self._has(Revision.PROFILE_EVENTS_IN_INSERT):
            body = b"".join(EMPTY_BLOCK.pieces(with_flag=False))
            self.send(_STATIC[Packet.PROFILE_EVENTS], string(""), BLOCK_INFO, body)

    def send_profile(self, rows: int, blocks: int, size: int) -> None:
        numbers = b"".join(map(varint, (rows, blocks, size)))
        self.send(_STATIC[Packet.PROFILE_INFO], numbers, b"\0", varint(0), b"\0")

    def send_progress(self, read: Iterable[int], written: Iterable[int], elapsed_ns: int) -> None:
        """read = rows, bytes, total rows, total bytes; written = rows, bytes. All since the last progress."""
        rows, size, total_rows, total_bytes = read
        numbers = [rows, size, total_rows]
        if self._has(Revision.TOTAL_BYTES_IN_PROGRESS):
            numbers.append(total_bytes)
        numbers += written
        if self._has(Revision.QUERY_TIME_IN_PROGRESS):
            numbers.append(elapsed_ns)
        self.send(_STATIC[Packet.PROGRESS], *map(varint, numbers))

    def _has(self, feature: Revision) -> bool:
        return self.revision >= feature

    def _receive(self, missing: int) -> bytes:
        return self._socket.recv(min(max(missing, _RECEIVE_BYTES), _MAX_RECEIVE_BYTES))

    def _is_readable(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))
