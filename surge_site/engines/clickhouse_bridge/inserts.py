"""One INSERT: the client's blocks go through a pipe into a statement that reads them as a file.

chdb has a call of its own for this (`send_insert`), but version 4.4 swallows what goes wrong while rows are
written (a violated constraint, too many partitions, a full disk): it reports success and the rows are gone.
A statement that selects from a pipe reports everything, takes constant memory, and is no slower.
"""

import fcntl
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from surge_site.engines.clickhouse_bridge.blocks import Block, Column
from surge_site.engines.clickhouse_bridge.errors import Code, ServerError
from surge_site.engines.clickhouse_bridge.quoting import quoted, quoted_name

_PIPE_BYTES = 1 << 20
_HALF_A_BLOCK = b"\x01"  # the engine fails on it: an end of the pipe between two blocks would be a success
# What a table was once allowed to have as a type, its INSERT must be allowed too.
_ANY_TYPE = "SETTINGS allow_suspicious_low_cardinality_types = 1, allow_suspicious_fixed_string_types = 1"


@dataclass(frozen=True)
class Written:
    rows: int
    size: int


class Insert:
    """Blocks on their way into a table. `finish` makes them count, `abort` does nothing after it.

    `execute` runs a statement to its end; it is called in a thread of its own.
    """

    def __init__(self, execute: Callable[[str], Written], insert_into: str, columns: Iterable[Column]) -> None:
        self._read_end, self._write_end = os.pipe()
        with suppress(OSError):  # the user may have used up the system's allowance: it only works more slowly
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        structure = ", ".join(f"{quoted_name(column.name.decode())} {column.type_name}" for column in columns)
        source = f"file('/dev/fd/{self._read_end}', 'Native', {quoted(structure)})"
        self._execute = execute
        self._sql = f"{insert_into} SELECT * FROM {source} {_ANY_TYPE}"
        self._written = Written(0, 0)
        self._failure: ServerError | None = ServerError.own(Code.UNKNOWN_EXCEPTION, "The INSERT came to no end")
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="insert", daemon=True)
        self._thread.start()

    def append(self, block: Block) -> None:
        try:
            for piece in block.pieces(with_flag=False):
                self._write(piece)
        except BrokenPipeError:
            self._end()
            raise ServerError.own(Code.UNKNOWN_EXCEPTION, "The engine did not read all rows of the INSERT") from None

    def finish(self) -> Written:
        self._end()
        return self._written

    def abort(self) -> None:
        if self._is_open:
            with suppress(BrokenPipeError):  # it has failed already
                self._write(_HALF_A_BLOCK)
            with suppress(ServerError):  # as it should
                self._end()

    def _run(self) -> None:
        try:
            self._written = self._execute(self._sql)
            self._failure = None
        except ServerError as failure:
            self._failure = failure
        finally:
            os.close(self._read_end)  # a writer that still waits gets a broken pipe

    def _write(self, piece: bytes | memoryview) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self._write_end, view) :]

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._write_end)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
