"""Bytes as the protocol writes them: a cursor that reads what arrives piece by piece, and the writers."""

import struct
from collections.abc import Callable

from surge_site.engines.clickhouse_bridge.errors import ClientGone, MalformedStream

MAX_TEXT_BYTES = 64 << 20
MAX_UNREAD_BYTES = 1 << 30
_LONGEST_VARINT_BITS = 63


class ByteReader:
    """A cursor over bytes; `fill(missing)` brings at least one more byte, or none when the source has ended."""

    __slots__ = ("_fill", "buffer", "limit", "position")

    def __init__(self, fill: Callable[[int], bytes], limit: int = MAX_UNREAD_BYTES) -> None:
        self.buffer: bytearray | bytes = bytearray()
        self.position = 0
        self.limit = limit
        self._fill = fill

    @classmethod
    def over(cls, data: bytes) -> "ByteReader":
        """Read bytes that are all here; `cut` then hands out views instead of copies."""
        reader = cls(_nothing_more)
        reader.buffer = data
        return reader

    @property
    def unread(self) -> int:
        return len(self.buffer) - self.position

    def next_byte(self) -> int | None:
        """The first byte that has arrived and is not read yet."""
        return self.buffer[self.position] if self.unread else None

    def need(self, size: int) -> None:
        missing = size - self.unread
        if missing > 0 and self.position + size > self.limit:
            raise MalformedStream(f"{size} bytes in one piece, the limit is {self.limit}")
        while missing > 0:
            piece = self._fill(missing)
            if not piece:
                raise ClientGone("the bytes end in the middle of a value")
            self.buffer += piece
            missing -= len(piece)

    def forget(self) -> None:
        """Drop what was read, so that the buffer does not grow for ever."""
        del self.buffer[: self.position]  # type: ignore[union-attr]  # only called on growing buffers
        self.position = 0

    def skip(self, size: int) -> None:
        self.need(size)
        self.position += size

    def cut(self, start: int) -> bytes | memoryview:
        """What was read since `start`."""
        view = memoryview(self.buffer)[start : self.position]
        return view if isinstance(self.buffer, bytes) else bytes(view)

    def raw(self, size: int) -> bytes:
        self.skip(size)
        return bytes(memoryview(self.buffer)[self.position - size : self.position])

    def byte(self) -> int:
        self.skip(1)
        return self.buffer[self.position - 1]

    def uint64(self) -> int:
        return int.from_bytes(self.raw(8), "little")

    def varint(self) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7
            if shift > _LONGEST_VARINT_BITS:
                raise MalformedStream("a number longer than 64 bits")

    def string(self, limit: int = MAX_TEXT_BYTES) -> bytes:
        size = self.varint()
        if size > limit:
            raise MalformedStream(f"a text of {size} bytes, the limit is {limit}")
        return self.raw(size)

    def text(self, limit: int = MAX_TEXT_BYTES) -> str:
        return self.string(limit).decode("utf-8", errors="replace")

    def skip_strings(self, count: int) -> None:
        """Pass over `count` strings: a length and so many bytes each. The hot loop of String columns."""
        while count > 0:
            count -= self._skip_arrived_strings(count)
            if count > 0:  # a long one, or one that has not arrived yet
                self.skip(self.varint())
                count -= 1

    def _skip_arrived_strings(self, count: int) -> int:
        buffer, position, end = self.buffer, self.position, len(self.buffer)
        for done in range(count):
            if position >= end or buffer[position] > 0x7F or position + buffer[position] >= end:
                self.position = position
                return done
            position += buffer[position] + 1
        self.position = position
        return count


def _nothing_more(missing: int) -> bytes:
    return b""


def varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def string(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(len(data)) + data


def int32(number: int) -> bytes:
    return struct.pack("<i", number)


def uint64(number: int) -> bytes:
    return struct.pack("<Q", number)
