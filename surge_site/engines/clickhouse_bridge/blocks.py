"""Blocks: some columns with the same number of rows, read and written without looking at the values."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from surge_site.engines.clickhouse_bridge.columns import column_plan
from surge_site.engines.clickhouse_bridge.errors import ClientGone, MalformedStream
from surge_site.engines.clickhouse_bridge.wire import ByteReader, int32, string, varint

MAX_COLUMNS = 10_000
MAX_NAME_BYTES = 1 << 20

BLOCK_INFO = varint(1) + b"\0" + varint(2) + int32(-1) + varint(0)
_NO_CUSTOM_SERIALIZATION = b"\0"


@dataclass(frozen=True, slots=True)
class Column:
    name: bytes
    type_name: str
    data: bytes | memoryview = b""

    @property
    def head(self) -> bytes:
        return string(self.name) + string(self.type_name)


@dataclass(frozen=True, slots=True)
class Block:
    rows: int
    columns: tuple[Column, ...]

    @property
    def header(self) -> "Block":
        """The same columns without rows: what a client is sent first."""
        return Block(0, tuple(replace(column, data=b"") for column in self.columns))

    @property
    def size(self) -> int:
        return sum(len(column.data) for column in self.columns)

    def pieces(self, *, with_flag: bool) -> Iterator[bytes | memoryview]:
        """The block in the Native format; newer revisions put a flag between a column's type and its data."""
        flag = _NO_CUSTOM_SERIALIZATION if with_flag else b""
        yield varint(len(self.columns)) + varint(self.rows)
        yield from chain.from_iterable((column.head + flag, column.data) for column in self.columns)

    def with_types(self, type_names: list[str]) -> "Block":
        named = zip(self.columns, type_names, strict=True)
        return replace(self, columns=tuple(replace(column, type_name=name) for column, name in named))


EMPTY_BLOCK = Block(0, ())


def read_block_info(reader: ByteReader) -> None:
    while field := reader.varint():
        if field not in (1, 2):
            raise MalformedStream(f"unknown field {field} before a block")
        reader.skip(1 if field == 1 else 4)


def read_block(reader: ByteReader, *, with_flag: bool) -> Block:
    count, rows = reader.varint(), reader.varint()
    if count > MAX_COLUMNS:
        raise MalformedStream(f"a block of {count} columns, the limit is {MAX_COLUMNS}")
    return Block(rows, tuple(_read_column(reader, rows, with_flag) for _ in range(count)))


def native_blocks(data: bytes) -> Iterator[Block]:
    """The blocks of bytes that chdb wrote in its format Native."""
    reader = ByteReader.over(data)
    try:
        while reader.unread:
            yield read_block(reader, with_flag=False)
    except ClientGone:
        raise MalformedStream("the engine's block ends early") from None


def _read_column(reader: ByteReader, rows: int, with_flag: bool) -> Column:
    name = reader.string(MAX_NAME_BYTES)
    type_name = reader.text(MAX_NAME_BYTES)
    if with_flag and reader.byte():
        raise MalformedStream("a column with custom serialization: this server offered none")
    plan = column_plan(type_name)
    start = reader.position
    if rows:
        reader.skip(plan.prefix)
        plan.skip(reader, rows)
    return Column(name, type_name, reader.cut(start))
