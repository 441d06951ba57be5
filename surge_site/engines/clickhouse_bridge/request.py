"""The Query packet: the SQL, its settings and its parameters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from surge_site.engines.clickhouse_bridge.errors import Code, MalformedStream, ServerError
from surge_site.engines.clickhouse_bridge.protocol import STAGE_COMPLETE, Revision
from surge_site.engines.clickhouse_bridge.wire import ByteReader

MAX_QUERY_BYTES = 256 << 20
_MAX_SETTINGS = 10_000
_IMPORTANT = 0x1
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)|''", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "r": "\r", "n": "\n", "t": "\t", "0": "\0", "a": "\a", "v": "\v"}


@dataclass(frozen=True)
class Setting:
    name: str
    value: str
    is_important: bool


@dataclass(frozen=True)
class QueryRequest:
    text: str
    settings: tuple[Setting, ...]
    parameters: dict[str, str]
    is_compressed: bool


def read_query(reader: ByteReader, revision: int) -> QueryRequest:
    reader.string()  # query id: the engine makes its own
    _skip_client_info(reader, revision)
    settings = tuple(_read_settings(reader))
    if revision >= Revision.INTERSERVER_SECRET:
        reader.string()
    stage, compression = reader.varint(), reader.varint()
    text = reader.text(MAX_QUERY_BYTES)
    parameters = tuple(_read_settings(reader)) if revision >= Revision.PARAMETERS else ()
    if stage != STAGE_COMPLETE:
        raise MalformedStream(f"query stage {stage}: only complete queries are served")
    return QueryRequest(text, settings, {item.name: unquoted(item.value) for item in parameters}, bool(compression))


def unquoted(literal: str) -> str:
    r"""Undo the one level of quotes that parameters travel in.

    >>> unquoted(r"'it\'s'")
    "it's"
    """
    if len(literal) < 2 or literal[0] != "'" or literal[-1] != "'":
        raise ServerError.own(Code.SYNTAX_ERROR, f"A query parameter is not a quoted text: {literal[:100]}")
    return _ESCAPE.sub(_unescape, literal[1:-1])


def _unescape(found: re.Match[str]) -> str:
    what = found[1]
    if what is None:
        return "'"
    return chr(int(what[1:], 16)) if len(what) == 3 else _ESCAPED.get(what, what)


def _skip_client_info(reader: ByteReader, revision: int) -> None:
    if reader.byte() == 0:  # no query kind: nothing follows
        return
    for _ in range(3):  # initial user, query id, address
        reader.string()
    if revision >= Revision.INITIAL_QUERY_START_TIME:
        reader.skip(8)
    reader.byte()  # interface
    for _ in range(3):  # system user, host, client name
        reader.string()
    for _ in range(3):  # client version and revision
        reader.varint()
    reader.string()  # quota key
    if revision >= Revision.DISTRIBUTED_DEPTH:
        reader.varint()
    reader.varint()  # patch version
    if revision >= Revision.OPENTELEMETRY and reader.byte():
        reader.skip(16 + 8)
        reader.string()
        reader.skip(1)
    if revision >= Revision.PARALLEL_REPLICAS:
        for _ in range(3):
            reader.varint()


def _read_settings(reader: ByteReader) -> Iterator[Setting]:
    for _ in range(_MAX_SETTINGS):
        name = reader.text()
        if not name:
            return
        flags = reader.varint()
        yield Setting(name, reader.text(), bool(flags & _IMPORTANT))
    raise MalformedStream(f"more than {_MAX_SETTINGS} settings")
