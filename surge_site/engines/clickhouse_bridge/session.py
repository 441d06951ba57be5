"""One client's session with chdb: rows as a stream of blocks, whole statements, inserts, and a way to stop them."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from surge_site.engines.clickhouse_bridge.blocks import Block, Column, native_blocks
from surge_site.engines.clickhouse_bridge.columns import column_plan
from surge_site.engines.clickhouse_bridge.errors import Code, ServerError
from surge_site.engines.clickhouse_bridge.inserts import Insert, Written
from surge_site.engines.clickhouse_bridge.quoting import quoted, quoted_name
from surge_site.engines.clickhouse_bridge.settings import LOG_COMMENT, SESSION_TIMEZONE, SettingsOverlay
from surge_site.engines.clickhouse_bridge.statements import InsertTarget, Statement
from surge_site.engines.clickhouse_bridge.wire import ByteReader

logger = logging.getLogger(__name__)
NATIVE = "Native"
# Limits of the client's query are not for the questions that the bridge asks on the side.
_UNLIMITED = "SETTINGS max_result_rows = 0, max_result_bytes = 0, limit = 0, offset = 0"
_BARE_DATETIME = "DateTime"
_NOT_INSERTABLE = ("MATERIALIZED", "ALIAS")

Parameters = Mapping[str, str]


class EngineSession:
    def __init__(self, connect: Callable[[], Any], kill: Callable[[str], None], tag: str) -> None:
        self._connect = connect
        self._kill = kill
        self._tag = tag
        self._connection = connect()
        self._side: Any = None
        self._database = ""
        self._execute(f"SET {LOG_COMMENT} = {quoted(tag)}")
        self._connection.set_progress_callback(self._report)
        self.overlay = SettingsOverlay(self._execute, self._changed_settings, tag)
        self.on_progress: Callable[[dict[str, int]], None] | None = None

    def use(self, database: str) -> None:
        self._execute(f"USE {quoted_name(database)}")
        self._database = database

    def rows(self, sql: str, parameters: Parameters) -> Generator[Block, None, None]:
        """The answer of a SELECT, block by block: first one without rows, that names the columns."""
        with _as_server_error():
            stream = self._connection.send_query(sql, NATIVE, params=dict(parameters))
            types: list[str] = []
            try:
                for chunk in stream:
                    for block in native_blocks(chunk.bytes()):
                        if not types:
                            types = self._full_types(block, sql, parameters)
                            yield block.with_types(types).header
                        yield block.with_types(types)
            finally:
                stream.close()
            if not types:
                yield Block(0, self._described(self._connection, f"({sql}\n)", parameters))

    def whole(self, statement: Statement, parameters: Parameters) -> list[Block]:
        """Run what is no SELECT; most of it answers with nothing."""
        if statement.keyword == "SET":
            self.overlay.lift()
            self.overlay.session_was_set = True
        with _as_server_error():
            result = self._connection.query(statement.text, NATIVE, params=dict(parameters))
            blocks = list(native_blocks(result.bytes()))
            if statement.keyword == "SET" and LOG_COMMENT in statement.text.lower():
                self._execute(f"SET {LOG_COMMENT} = {quoted(self._tag)}")  # without it the session cannot be stopped
            if statement.keyword == "USE":
                self._database = str(self._connection.query("SELECT currentDatabase()", "TSVRaw")).strip()
            if not blocks and statement.only_reads:
                blocks = self._header_alone(statement, parameters)
            return blocks

    def insert_columns(self, target: InsertTarget) -> tuple[Column, ...]:
        """The columns that an INSERT waits for, in its order."""
        with _as_server_error():
            rows = self._description(self._connection, f"TABLE {target.table}", {})
        found = {name: Column(name.encode(), kind) for name, kind, default in rows if default not in _NOT_INSERTABLE}
        missing = [name for name in target.columns if name not in found]
        if missing:
            raise ServerError.own(
                Code.NO_SUCH_COLUMN_IN_TABLE, f"No such column {missing[0]} in table {target.table} to insert into"
            )
        ephemeral = {name for name, _, default in rows if default == "EPHEMERAL"}
        names = target.columns or [name for name in found if name not in ephemeral and name not in target.excluded]
        for name in names:
            column_plan(found[name].type_name)  # refuses now what could not be read later
        return tuple(found[name] for name in names)

    @contextmanager
    def insert(self, target: InsertTarget, columns: Iterable[Column]) -> Iterator[Insert]:
        """Open an INSERT; it is given up unless it was finished."""
        insert = Insert(self._execute, target.sql, columns)
        try:
            yield insert
        finally:
            insert.abort()

    def timezone(self) -> str:
        """The zone that the client chose for itself, empty when it did not."""
        if self.overlay[SESSION_TIMEZONE] or not self.overlay.session_was_set:
            return self.overlay[SESSION_TIMEZONE]
        return self._changed_settings([SESSION_TIMEZONE]).get(SESSION_TIMEZONE, "")

    def interrupt(self) -> None:
        """Stop the running query; may be called from another thread."""
        try:
            self._kill(self._tag)
        except RuntimeError as failure:
            logger.warning("A running query could not be stopped: %s", failure)

    def close(self) -> None:
        self._connection.close()
        if self._side is not None:
            self._side.close()

    def _report(self, values: dict[str, int]) -> None:
        if self.on_progress is not None:
            self.on_progress(values)

    def _execute(self, sql: str) -> Written:
        with _as_server_error():
            result = self._connection.query(sql, "Null")
        return Written(result.rows_written(), result.bytes_written())

    def _changed_settings(self, names: Iterable[str]) -> dict[str, str]:
        wanted = ", ".join(quoted(name) for name in names)
        sql = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({wanted}) {_UNLIMITED}"
        with _as_server_error():
            return {row[0]: row[1] for row in _texts(self._connection.query(sql, NATIVE).bytes())}

    def _full_types(self, block: Block, sql: str, parameters: Parameters) -> list[str]:
        """The engine drops the zone of a plain DateTime from its blocks: ask again for such columns.

        Asked in a second session, because a question would end the stream of this one.
        """
        types = [column.type_name for column in block.columns]
        if _BARE_DATETIME not in types:
            return types
        try:
            described = self._described(self._side_session(), f"({sql}\n)", parameters)
        except RuntimeError as failure:  # a temporary table, say: it lives in the first session only
            logger.debug("The zone of a DateTime column stays unknown: %s", failure)
            return types
        full = [column.type_name for column in described]
        return full if len(full) == len(types) else types

    def _side_session(self) -> Any:
        if self._side is None:
            self._side = self._connect()
        self._side.query(f"USE {quoted_name(self._database)}", "Null")
        return self._side

    def _described(self, connection: Any, what: str, parameters: Parameters) -> tuple[Column, ...]:
        rows = self._description(connection, f"TABLE {what}", parameters)
        return tuple(Column(name.encode(), type_name) for name, type_name, _ in rows)

    def _description(self, connection: Any, what: str, parameters: Parameters) -> list[tuple[str, ...]]:
        data = connection.query(f"DESCRIBE {what} {_UNLIMITED}", NATIVE, params=dict(parameters)).bytes()
        return [row[:3] for row in _texts(data)]

    def _header_alone(self, statement: Statement, parameters: Parameters) -> list[Block]:
        """An answer without rows has no block either: this format names its columns all the same."""
        result = self._connection.query(statement.text, "RowBinaryWithNamesAndTypes", params=dict(parameters))
        if not result.size():
            return []
        reader = ByteReader.over(result.bytes())
        names = [reader.string() for _ in range(reader.varint())]
        return [Block(0, tuple(Column(name, reader.text()) for name in names))]


def _texts(native: bytes) -> Iterator[tuple[str, ...]]:
    """Rows of a result whose columns are all String."""
    for block in native_blocks(native):
        readers = [ByteReader.over(bytes(column.data)) for column in block.columns]
        for _ in range(block.rows):
            yield tuple(reader.text() for reader in readers)


@contextmanager
def _as_server_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as failure:  # chdb's errors; ChdbError is one
        raise ServerError.from_engine(failure) from failure
