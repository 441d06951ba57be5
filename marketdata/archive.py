"""DOOR to ClickHouse: every score and every decision, kept for study; writing the same rows twice changes nothing."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes, ServerException
from clickhouse_driver.util.helpers import parse_url

CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 10
DAYS_KEPT = 30
MOST_DAYS_KEPT = 3650  # far above this the end of a row's life lies past 2106, where DateTime begins anew
Columns = Mapping[str, np.ndarray | str | float | int]

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WORD, _TEXT, _NUMBER = "LowCardinality(String)", "String", "Float64"
_TICK = "Int64 CODEC(Delta, ZSTD)"
_MOMENT = "DateTime64(3, 'UTC')"
_NOT_THERE = "start the engines with ./surge up, or correct SURGE_CLICKHOUSE_URL"
_AUTHENTICATION_FAILED = 516  # newer than the driver's list
_ADVICE = {
    _AUTHENTICATION_FAILED: "correct the user and the password in SURGE_CLICKHOUSE_URL",
    ErrorCodes.NETWORK_ERROR: _NOT_THERE,
    ErrorCodes.SOCKET_TIMEOUT: _NOT_THERE,
    ErrorCodes.TIMEOUT_EXCEEDED: "ask for a shorter span, or try again when the machine is less busy",
    ErrorCodes.NOT_ENOUGH_SPACE: "free some space on the disk of ClickHouse",
    ErrorCodes.MEMORY_LIMIT_EXCEEDED: "ask for a shorter span, or write smaller batches",
}


class ArchiveError(Exception):
    """The archive could not do it; the text says why and what to do."""


@dataclass(frozen=True)
class _Table:
    """`ts` is always made from `tick_ns`, so a row and its repetition meet in one partition and merge."""

    name: str
    columns: Mapping[str, str]
    key: Sequence[str]

    def ddl(self, days_kept: int) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return (
            f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) ENGINE = ReplacingMergeTree(written_ns) "
            f"PARTITION BY toYYYYMMDD(ts) ORDER BY ({', '.join(self.key)}) "
            f"TTL toDateTime(ts) + INTERVAL {days_kept:d} DAY"
        )


_SCORES = _Table(
    "scores",
    {
        **dict.fromkeys(("mode", "market"), _WORD),
        **{"symbol": _TEXT, "tick_ns": _TICK, "ts": _MOMENT},
        **dict.fromkeys(("mid", "p", "p_sl", "utility_bps", "spread_bps"), _NUMBER),
        "written_ns": "Int64",
    },
    key=("mode", "market", "symbol", "tick_ns"),
)
_DECISIONS = _Table(
    "decisions",
    {
        **dict.fromkeys(("mode", "market"), _WORD),
        **{"symbol": _TEXT, "strategy": _TEXT, "tick_ns": _TICK, "ts": _MOMENT},
        **dict.fromkeys(("p", "p_sl", "utility_bps", "cost_bps"), _NUMBER),
        **{"action": _WORD, "reason": _WORD, "model_version": _TEXT, "written_ns": "Int64"},
    },
    key=("mode", "market", "symbol", "strategy", "tick_ns"),
)
_SCORE_ROW = ("tick_ns", "mid", "p", "p_sl", "utility_bps", "spread_bps")


class Archive:
    """One connection to ClickHouse: not thread-safe, so one Archive per thread or process, made after a fork.

    Batches are mappings from column name to numpy array; a plain value stands for a whole column of it, and so
    do `mode` and `market`. `ts` is made from `tick_ns`, and `written_ns` is now unless it is given. NaN is a value
    like any other. Tables that are not there yet are made when they are first needed.
    """

    def __init__(self, url: str, *, days_kept: int = DAYS_KEPT) -> None:
        try:
            self._host, options = parse_url(url)
        except ValueError as failure:
            raise ArchiveError(f"SURGE_CLICKHOUSE_URL cannot be read ({failure}): write it as {_FORM}") from None
        self._database = options.get("database") or "default"
        if not self._host or not url.startswith(("clickhouse://", "clickhouses://")):
            raise ArchiveError(f"SURGE_CLICKHOUSE_URL is no address of ClickHouse: write it as {_FORM}")
        if not _NAME.fullmatch(self._database):
            raise ArchiveError(f"{self._database!r} is no name for a database: use letters, digits and underscores")
        if not 0 < days_kept <= MOST_DAYS_KEPT:
            raise ArchiveError(f"Rows cannot be kept for {days_kept} days: choose 1 to {MOST_DAYS_KEPT}")
        timeouts = {"connect_timeout": CONNECT_TIMEOUT_S, "send_receive_timeout": ANSWER_TIMEOUT_S}
        self._options = {**options, **timeouts, "sync_request_timeout": CONNECT_TIMEOUT_S}
        # The server gives up before the client stops listening; our batches are big enough without async_insert.
        self._options["settings"] = {"use_numpy": True, "async_insert": 0, "max_execution_time": ANSWER_TIMEOUT_S - 2}
        self._client = Client(self._host, **self._options)
        self._days_kept = days_kept

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()

    def create_tables(self) -> None:
        """Make the database and the tables where they are missing; calling it again changes nothing."""
        with self._errors("make the tables"):
            with Client(self._host, **{**self._options, "database": "default"}) as client:
                client.execute(f"CREATE DATABASE IF NOT EXISTS {self._database}")
            for table in (_SCORES, _DECISIONS):
                self._client.execute(table.ddl(self._days_kept))

    def append_scores(self, columns: Columns, *, mode: str | None = None, market: str | None = None) -> int:
        """Write a batch of scores; return its number of rows. One row per mode, market, symbol and tick counts."""
        return self._append(_SCORES, _with(columns, mode=mode, market=market))

    def append_decisions(self, columns: Columns, *, mode: str | None = None, market: str | None = None) -> int:
        """Write a batch of decisions; return its number of rows. The strategy is part of the key."""
        return self._append(_DECISIONS, _with(columns, mode=mode, market=market))

    def read_scores(
        self,
        symbol: str,
        since_ns: int,
        until_ns: int,
        limit: int = 10_000,
        *,
        mode: str | None = None,
        market: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the newest `limit` scores of [since_ns, until_ns), oldest first, as arrays by column name."""
        where, values = _span(since_ns, until_ns, mode=mode, market=market, symbol=symbol)
        sql = f"SELECT {', '.join(_SCORE_ROW)} FROM scores FINAL WHERE {where} ORDER BY tick_ns DESC LIMIT %(limit)s"
        found = self._execute("read scores", sql, {**values, "limit": int(limit)}, columnar=True)
        if not found:
            return {name: np.empty(0, np.int64 if name == "tick_ns" else np.float64) for name in _SCORE_ROW}
        return {name: np.asarray(column)[::-1].copy() for name, column in zip(_SCORE_ROW, found, strict=True)}

    def decision_counts(
        self,
        since_ns: int,
        until_ns: int,
        *,
        mode: str | None = None,
        market: str | None = None,
        symbol: str | None = None,
        strategy: str | None = None,
    ) -> dict[tuple[str, str], int]:
        """Return how many decisions of [since_ns, until_ns) there are for each (action, reason)."""
        where, values = _span(since_ns, until_ns, mode=mode, market=market, symbol=symbol, strategy=strategy)
        sql = f"SELECT action, reason, count() FROM decisions FINAL WHERE {where} GROUP BY action, reason"
        rows = self._execute("count decisions", sql, values)
        return {(str(action), str(reason)): int(count) for action, reason, count in rows}

    def _append(self, table: _Table, columns: Columns) -> int:
        batch = _batch(table, columns)
        rows = len(batch[0])
        if rows:
            sql = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES"
            self._execute(f"write {table.name}", sql, batch, columnar=True)
        return rows

    def _execute(self, what: str, *arguments: Any, **options: Any) -> Any:
        with self._errors(what):
            try:
                return self._client.execute(*arguments, **options)
            except ServerException as failure:
                if failure.code not in (ErrorCodes.UNKNOWN_TABLE, ErrorCodes.UNKNOWN_DATABASE):
                    raise
        self.create_tables()
        with self._errors(what):
            return self._client.execute(*arguments, **options)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except Error as failure:
            self._client.disconnect()
            raise ArchiveError(f"The archive could not {what}: {_reason(failure)}.") from failure
        except (OSError, EOFError) as failure:
            self._client.disconnect()
            raise ArchiveError(f"The archive could not {what}, ClickHouse has gone: {_NOT_THERE}.") from failure


_FORM = "clickhouse://user:password@host:port/database"


def _reason(failure: Error) -> str:
    said = str(failure.message or failure).split("Stack trace:")[0].strip().rstrip(".")
    return f"{said}; {_ADVICE.get(failure.code, 'see the log of ClickHouse')}"


def _with(columns: Columns, **same: str | None) -> Columns:
    return {**columns, **{name: value for name, value in same.items() if value is not None}}


def _span(since_ns: int, until_ns: int, **equal: str | None) -> tuple[str, dict[str, Any]]:
    """The condition and its values: ticks of [since_ns, until_ns), and equality for what is given."""
    values = {name: value for name, value in equal.items() if value is not None}
    terms = ["tick_ns >= %(since_ns)s", "tick_ns < %(until_ns)s", *(f"{name} = %({name})s" for name in values)]
    return " AND ".join(terms), {"since_ns": int(since_ns), "until_ns": int(until_ns), **values}


def _batch(table: _Table, columns: Columns) -> list[np.ndarray]:
    """The columns as the table has them: all there, in its order and types, equally long."""
    unknown = set(columns) - set(table.columns) | ({"ts"} & set(columns))
    if unknown:
        raise ArchiveError(f"{table.name} does not take {', '.join(sorted(unknown))}: leave that out")
    given = {"written_ns": time.time_ns(), **columns}
    missing = set(table.columns) - set(given) - {"ts"}
    if missing:
        raise ArchiveError(f"A batch of {table.name} lacks {', '.join(sorted(missing))}: add that")
    lengths = {len(value) for value in given.values() if isinstance(value, np.ndarray)}
    if len(lengths) != 1:
        raise ArchiveError(
            f"The arrays of a batch of {table.name} differ in length or are none: make them equally long"
        )
    rows = lengths.pop()
    arrays = {name: _array(table.columns[name], value, rows, name) for name, value in given.items()}
    return [_moments(arrays["tick_ns"]) if name == "ts" else arrays[name] for name in table.columns]


def _array(kind: str, value: np.ndarray | str | float | int, rows: int, name: str) -> np.ndarray:
    whole = value if isinstance(value, np.ndarray) else np.full(rows, value, object if isinstance(value, str) else None)
    return _CONVERT[kind.split(" ")[0]](whole, name)


def _moments(tick_ns: np.ndarray) -> np.ndarray:
    return tick_ns.astype("datetime64[ns]")


def _texts(values: np.ndarray, name: str) -> np.ndarray:
    texts = values.astype(object)
    if not all(isinstance(text, str) for text in texts):
        raise ArchiveError(f"The column {name} holds something that is no text: convert it with str()")
    return texts


def _integers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise ArchiveError(f"The column {name} holds {values.dtype}: it must be whole nanoseconds (int64)")
    return values.astype(np.int64)


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise ArchiveError(f"The column {name} holds {values.dtype}: it must be numbers (float64)")
    return values.astype(np.float64)


_CONVERT: dict[str, Callable[[np.ndarray, str], np.ndarray]] = {
    _WORD: _texts,
    _TEXT: _texts,
    _NUMBER: _numbers,
    "Int64": _integers,
}
