"""Compressed frames: a CityHash128 checksum, the method, two sizes, then LZ4 or ZSTD data."""

import struct
from collections.abc import Iterator
from enum import IntEnum

import lz4.block
import zstd
from clickhouse_cityhash.cityhash import CityHash128

from surge_site.engines.clickhouse_bridge.errors import MalformedStream
from surge_site.engines.clickhouse_bridge.wire import ByteReader

FRAME_BYTES = 1 << 20  # how much ClickHouse puts into one frame
MAX_FRAME_BYTES = 1 << 30  # DBMS_MAX_COMPRESSED_SIZE
_HEADER = struct.Struct("<BII")  # method, compressed size with this header, plain size
_CHECKSUM_BYTES = 16


class Method(IntEnum):
    NONE = 0x02
    LZ4 = 0x82
    ZSTD = 0x90


def read_frame(reader: ByteReader) -> bytes:
    """Return the plain bytes of the next frame.

    Raises MalformedStream when the checksum, a size or the compressed data itself is wrong.
    """
    checksum = reader.raw(_CHECKSUM_BYTES)
    header = reader.raw(_HEADER.size)
    method, packed_size, plain_size = _HEADER.unpack(header)
    if not _HEADER.size < packed_size <= MAX_FRAME_BYTES or plain_size > MAX_FRAME_BYTES:
        raise MalformedStream(f"a compressed frame of {packed_size} bytes for {plain_size}")
    packed = reader.raw(packed_size - _HEADER.size)
    reader.forget()
    if _checksum(header + packed) != checksum:
        raise MalformedStream("the checksum of a compressed frame is wrong")
    return _unpack(method, packed, plain_size)


def write_frames(method: Method, data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), FRAME_BYTES):
        plain = data[start : start + FRAME_BYTES]
        packed = zstd.compress(plain) if method is Method.ZSTD else lz4.block.compress(plain, store_size=False)
        frame = _HEADER.pack(method, _HEADER.size + len(packed), len(plain)) + packed
        yield _checksum(frame)
        yield frame


def _checksum(frame: bytes) -> bytes:
    number = CityHash128(frame)
    return struct.pack("<QQ", number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF)


def _unpack(method: int, packed: bytes, plain_size: int) -> bytes:
    try:
        plain = _plain(method, packed, plain_size)
    except (lz4.block.LZ4BlockError, zstd.Error, ValueError, OverflowError) as failure:
        raise MalformedStream(f"a compressed frame cannot be unpacked: {failure}") from failure
    if len(plain) != plain_size:
        raise MalformedStream(f"a compressed frame holds {len(plain)} bytes where {plain_size} were promised")
    return plain


def _plain(method: int, packed: bytes, plain_size: int) -> bytes:
    if method == Method.LZ4:
        return bytes(lz4.block.decompress(packed, uncompressed_size=plain_size))
    if method == Method.ZSTD:
        if _zstd_promises(packed) != plain_size:  # zstd believes its own header and would fill the memory
            raise ValueError("the two sizes disagree")
        return bytes(zstd.decompress(packed))
    if method == Method.NONE:
        return packed
    raise ValueError(f"unknown method {method:#x}")


def _zstd_promises(packed: bytes) -> int:
    """The plain size in a zstd frame's header (RFC 8878, 3.1.1.1); -1 when it has none."""
    if len(packed) < 6:
        raise ValueError("a zstd frame without a header")
    flags = packed[4]
    size_code, single_segment = flags >> 6, flags >> 5 & 1
    width = (single_segment, 2, 4, 8)[size_code]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[flags & 3]
    if width == 0:
        return -1
    return int.from_bytes(packed[start : start + width], "little") + (256 if width == 2 else 0)
