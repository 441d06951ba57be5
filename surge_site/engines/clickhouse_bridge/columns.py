"""Where a column ends: how many bytes each ClickHouse type takes in the Native format.

The format carries no lengths, so to find the next column one must understand the type of this one.
A column is first the prefixes of all its LowCardinality parts, then its data.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from surge_site.engines.clickhouse_bridge.errors import Code, MalformedStream, ServerError
from surge_site.engines.clickhouse_bridge.wire import ByteReader

_TYPE_PIECE = re.compile(r"'(?:[^'\\]|\\.)*+'|`(?:[^`\\]|\\.)*+`|[(),\s]|[^(),\s'`]+|.", re.DOTALL)
_FIXED_BYTES = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "BFloat16", "Date", "Enum16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "Time", "IPv4", "Decimal32"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Time64", "Decimal64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6", "Decimal128"), 16),
    **dict.fromkeys(("UInt256", "Int256", "Decimal256"), 32),
}
_ALIASES = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}
_PREFIX_BYTES = 8
_INDEX_BYTES = (1, 2, 4, 8)


class ColumnPlan(NamedTuple):
    """How to walk over a column: so many bytes of prefix, then `skip` over the data of n rows."""

    prefix: int
    skip: Callable[[ByteReader, int], None]


@lru_cache(maxsize=4096)
def column_plan(type_name: str) -> ColumnPlan:
    """Return the plan for one type.

    >>> column_plan("Array(LowCardinality(String))").prefix
    8
    """
    try:
        return _plan(type_name)
    except (RecursionError, ValueError, IndexError):
        raise _unsupported(type_name[:200]) from None


def type_parts(type_name: str) -> tuple[str, list[str]]:
    """Split a type into its name and its arguments; quotes and inner brackets are respected.

    >>> type_parts("Map(String, Array(Enum8('a,(' = 1)))")
    ('Map', ['String', "Array(Enum8('a,(' = 1))"])
    """
    name, bracket, rest = type_name.strip().partition("(")
    if not bracket:
        return name, []
    if not rest.endswith(")"):
        raise ValueError(type_name)
    return name, _split(rest[:-1], ",")


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside of quotes and brackets."""
    depth, parts = 0, [""]
    for piece in _TYPE_PIECE.findall(text):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if depth == 0 and piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def _plan(type_name: str) -> ColumnPlan:
    name, arguments = type_parts(type_name)
    if name in _ALIASES:
        return _plan(_ALIASES[name])
    if name.startswith("Interval"):
        return _fixed(8)
    if name in _FIXED_BYTES:
        return _fixed(_FIXED_BYTES[name])
    if name in _COMPOUND:
        return _COMPOUND[name](arguments)
    raise _unsupported(type_name)


def _unsupported(type_name: str) -> ServerError:
    return ServerError.own(
        Code.UNKNOWN_TYPE,
        f"The embedded ClickHouse cannot send or receive a column of type {type_name}: convert it, "
        "for example with toString(), or with finalizeAggregation() when it is an aggregate state",
    )


def _fixed(size: int) -> ColumnPlan:
    return ColumnPlan(0, lambda reader, rows: reader.skip(size * rows))


def _string(arguments: list[str]) -> ColumnPlan:
    return ColumnPlan(0, ByteReader.skip_strings)


def _fixed_string(arguments: list[str]) -> ColumnPlan:
    return _fixed(int(arguments[0]))


def _decimal(arguments: list[str]) -> ColumnPlan:
    precision = int(arguments[0])
    return _fixed(4 if precision <= 9 else 8 if precision <= 18 else 16 if precision <= 38 else 32)


def _nullable(arguments: list[str]) -> ColumnPlan:
    inner = _plan(arguments[0])

    def skip(reader: ByteReader, rows: int) -> None:
        reader.skip(rows)
        inner.skip(reader, rows)

    return ColumnPlan(inner.prefix, skip)


def _array(arguments: list[str]) -> ColumnPlan:
    return _repeated(_plan(arguments[0]))


def _map(arguments: list[str]) -> ColumnPlan:
    return _repeated(_tuple(arguments))


def _nested(arguments: list[str]) -> ColumnPlan:
    return _repeated(_tuple(arguments))


def _repeated(inner: ColumnPlan) -> ColumnPlan:
    """Offsets of the rows' ends, then the elements of all rows in one column."""

    def skip(reader: ByteReader, rows: int) -> None:
        if rows:
            reader.skip(8 * rows - 8)
            inner.skip(reader, reader.uint64())

    return ColumnPlan(inner.prefix, skip)


def _tuple(arguments: list[str]) -> ColumnPlan:
    if not any(arguments):  # Tuple() travels as one byte a row
        return _fixed(1)
    plans = [_plan(_split(argument, " ")[-1]) for argument in arguments]  # elements may be named: `price Float64`

    def skip(reader: ByteReader, rows: int) -> None:
        for plan in plans:
            plan.skip(reader, rows)

    return ColumnPlan(sum(plan.prefix for plan in plans), skip)


def _low_cardinality(arguments: list[str]) -> ColumnPlan:
    name, inner = type_parts(arguments[0])
    dictionary = _plan(inner[0] if name == "Nullable" else arguments[0])  # null is the dictionary's first key

    def skip(reader: ByteReader, rows: int) -> None:
        while rows > 0:
            index_bytes = _INDEX_BYTES[reader.uint64() & 0x3]
            dictionary.skip(reader, reader.uint64())
            part = reader.uint64()
            if not 0 < part <= rows:
                raise MalformedStream(f"a LowCardinality part of {part} rows where {rows} are left")
            reader.skip(index_bytes * part)
            rows -= part

    return ColumnPlan(_PREFIX_BYTES, skip)


def _simple_aggregate(arguments: list[str]) -> ColumnPlan:
    return _plan(arguments[-1])


_COMPOUND: dict[str, Callable[[list[str]], ColumnPlan]] = {
    "String": _string,
    "FixedString": _fixed_string,
    "Decimal": _decimal,
    "Nullable": _nullable,
    "Array": _array,
    "Map": _map,
    "Nested": _nested,
    "Tuple": _tuple,
    "LowCardinality": _low_cardinality,
    "SimpleAggregateFunction": _simple_aggregate,
}
