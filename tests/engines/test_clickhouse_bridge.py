"""clickhouse-driver against a real bridge process: queries, inserts, settings, errors, cancelling."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from clickhouse_driver import Client
from clickhouse_driver.compression import get_decompressor_cls
from clickhouse_driver.errors import ServerException

from tests.engines.bridge_process import PASSWORD, BridgeProcess

MILLION = 1_000_000
HEAVY = "SELECT sum(sipHash64(number)) FROM numbers(20000000000)"  # minutes of work
REVISIONS = (54429, 54441, 54442, 54448, 54449, 54453, 54454, 54456, 54458, 54459, 54460, 54461, 54462, 54463, 54464)


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    process = BridgeProcess(tmp_path_factory.mktemp("bridge")).start()
    yield process
    process.close()


@pytest.fixture
def client(bridge: BridgeProcess) -> Iterator[Client]:
    with bridge.client() as client:
        yield client


@pytest.fixture
def numbers(client: Client) -> Iterator[str]:
    """An empty table of numbers."""
    client.execute("CREATE TABLE numbers_table (n UInt64, s String DEFAULT 'none') ENGINE = MergeTree ORDER BY n")
    yield "numbers_table"
    client.execute("DROP TABLE numbers_table")


def error_of(client: Client, sql: str, *arguments: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(ServerException) as failure:
        client.execute(sql, *arguments, **options)
    return failure.value.code, str(failure.value)


def test_it_answers_with_names_types_and_rows(client: Client) -> None:
    rows, columns = client.execute("SELECT number AS n, toString(n) AS s FROM numbers(2)", with_column_types=True)
    assert rows == [(0, "0"), (1, "1")]
    assert columns == [("n", "UInt64"), ("s", "String")]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT number AS n, 'a' AS s FROM numbers(0)", [("n", "UInt64"), ("s", "String")]),
        ("SHOW TABLES LIKE 'no such table'", [("name", "String")]),
    ],
)
def test_an_empty_answer_still_names_its_columns(client: Client, sql: str, columns: list[Any]) -> None:
    assert client.execute(sql, with_column_types=True) == ([], columns)


def test_ping_is_answered(client: Client) -> None:
    client.execute("SELECT 1")
    assert client.connection.ping() is True


def test_the_server_tells_who_it_is(client: Client) -> None:
    client.execute("SELECT 1")
    info = client.connection.server_info
    ((version, timezone),) = client.execute("SELECT version(), timezone()")
    assert version.startswith(".".join(map(str, info.version_tuple())) + ".")
    assert timezone == info.timezone
    assert info.timezone == "UTC"
    assert info.version_tuple() >= (24, 0, 0)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("compression", [False, "lz4"])
def test_older_clients_are_understood(bridge: BridgeProcess, revision: int, compression: Any) -> None:
    with bridge.client(client_revision=revision, compression=compression) as old:
        old.execute("CREATE TEMPORARY TABLE t (n UInt64, s LowCardinality(String))")
        old.execute("INSERT INTO t VALUES", [(1, "a"), (2, "b")])
        progress = old.execute_with_progress("SELECT n, s FROM t ORDER BY n")
        assert progress.get_result() == [(1, "a"), (2, "b")]


def test_a_client_too_old_is_told_so(bridge: BridgeProcess) -> None:
    with bridge.client(client_revision=54428) as old:
        assert error_of(old, "SELECT 1")[0] == 48


@pytest.mark.parametrize("options", [{"password": "wrong"}, {"password": ""}, {"user": "root"}])
def test_a_stranger_is_refused(bridge: BridgeProcess, options: dict[str, str]) -> None:
    with bridge.client(**options) as stranger:
        code, text = error_of(stranger, "SELECT 1")
    assert code == 516
    assert "Authentication failed" in text
    assert PASSWORD not in text


def test_an_unknown_database_is_refused(bridge: BridgeProcess) -> None:
    with bridge.client(database="nowhere") as lost:
        assert error_of(lost, "SELECT 1")[0] == 81


def test_the_database_of_the_hello_is_used(bridge: BridgeProcess, client: Client) -> None:
    client.execute("CREATE DATABASE IF NOT EXISTS `odd ``name`")
    with bridge.client(database="odd `name") as other:
        assert other.execute("SELECT currentDatabase()") == [("odd `name",)]


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELEKT 1", 62, "SYNTAX_ERROR"),
        ("", 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"),
        ("SELECT nothing FROM system.one", 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT noFunction(1)", 46, "UNKNOWN_FUNCTION"),
        ("SELECT dummy = 'x' FROM system.one", 53, "TYPE_MISMATCH"),
        ("SELECT 'a' + 1", 43, "ILLEGAL_TYPE_OF_ARGUMENT"),
        ("SELECT toInt8('abc')", 6, "CANNOT_PARSE_TEXT"),
        ("SELECT throwIf(number = 100000) FROM numbers(200000)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("INSERT INTO nowhere VALUES", 60, "UNKNOWN_TABLE"),
        ("CREATE TABLE system.one (a Int8) ENGINE = Memory", 57, "TABLE_ALREADY_EXISTS"),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115, "UNKNOWN_SETTING"),
        ("SELECT * FROM file('/etc/passwd', 'LineAsString')", 497, "ACCESS_DENIED"),
        ("SYSTEM SHUTDOWN", 48, "NOT_IMPLEMENTED"),
    ],
)
def test_a_failure_has_the_code_and_the_name_of_clickhouse(client: Client, sql: str, code: int, name: str) -> None:
    found, text = error_of(client, sql)
    assert (found, f"({name})" in text) == (code, True), text
    assert client.execute("SELECT 1") == [(1,)]


def test_ddl_and_insert_select_work(client: Client, numbers: str) -> None:
    assert client.execute(f"INSERT INTO {numbers} (n) SELECT number FROM numbers(10)") == []
    client.execute(f"ALTER TABLE {numbers} ADD COLUMN extra LowCardinality(String) DEFAULT 'x'")
    assert client.execute(f"SELECT count(), any(extra), any(s) FROM {numbers}") == [(10, "x", "none")]


def test_rows_inside_of_the_query_are_inserted(client: Client, numbers: str) -> None:
    client.execute(f"INSERT INTO {numbers} VALUES (1, 'it''s; (a)'), (2, 'b')")
    assert client.execute(f"SELECT * FROM {numbers}") == [(1, "it's; (a)"), (2, "b")]


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ("", (1, "a"), (1, "a")),
        ("(*)", (1, "a"), (1, "a")),
        ("(n)", (1,), (1, "none")),
        ("(`s`, n)", ("a", 1), (1, "a")),
        ("(* EXCEPT(s))", (1,), (1, "none")),
    ],
)
def test_an_insert_names_the_columns_it_wants(
    client: Client, numbers: str, columns: str, row: tuple[Any, ...], expected: tuple[Any, ...]
) -> None:
    assert client.execute(f"INSERT INTO {numbers} {columns} VALUES", [row]) == 1
    assert client.execute(f"SELECT * FROM {numbers}") == [expected]


def test_computed_columns_are_not_asked_for(client: Client) -> None:
    client.execute(
        "CREATE TABLE computed (a UInt8, m UInt8 MATERIALIZED a + 1, l UInt8 ALIAS a + 2, e UInt8 EPHEMERAL,"
        " d UInt8 DEFAULT e + 3) ENGINE = Memory"
    )
    client.execute("INSERT INTO computed VALUES", [(1, 10)])
    client.execute("INSERT INTO computed (a, e) VALUES", [(2, 20)])
    assert client.execute("SELECT a, m, l, d FROM computed ORDER BY a") == [(1, 2, 3, 10), (2, 3, 4, 23)]
    assert error_of(client, "INSERT INTO computed (nope) VALUES", [(1,)])[0] == 16


def test_an_insert_that_the_engine_refuses_leaves_no_rows(client: Client) -> None:
    client.execute("CREATE TABLE strict (n Int8, CONSTRAINT positive CHECK n > 0) ENGINE = MergeTree ORDER BY n")
    code, _ = error_of(client, "INSERT INTO strict VALUES", [(1,), (-1,)])
    assert code == 469
    assert client.execute("SELECT count() FROM strict") == [(0,)]


def test_an_insert_that_fails_early_is_told_while_rows_still_come(bridge: BridgeProcess) -> None:
    with bridge.client(settings={"use_numpy": True, "insert_block_size": 300_000}) as client:
        client.execute("CREATE TEMPORARY TABLE early (n Int8, CONSTRAINT positive CHECK n > 0) ENGINE = Memory")
        values = np.concatenate([np.zeros(1, "i1"), np.ones(5 * MILLION, "i1")])
        assert error_of(client, "INSERT INTO early VALUES", [values], columnar=True)[0] == 469
        assert client.execute("SELECT 1", columnar=True)[0].tolist() == [1]


def test_an_insert_cut_off_in_the_middle_leaves_no_rows(bridge: BridgeProcess, client: Client, numbers: str) -> None:
    def rows() -> Iterator[tuple[int, str]]:
        yield from ((n, "x") for n in range(5))
        wait_for_query(client, "INSERT INTO numbers_table", is_running=True)
        raise KeyboardInterrupt

    with bridge.client() as hasty, pytest.raises(KeyboardInterrupt):
        hasty.execute(f"INSERT INTO {numbers} VALUES", rows(), settings={"insert_block_size": 2})
    wait_for_query(client, "INSERT INTO numbers_table", is_running=False)
    assert client.execute(f"SELECT count() FROM {numbers}") == [(0,)]
    assert client.execute(f"INSERT INTO {numbers} VALUES", [(1, "a")]) == 1


@pytest.mark.parametrize("compression", [False, "lz4", "zstd"])
def test_a_million_rows_go_in_and_out(bridge: BridgeProcess, compression: Any) -> None:
    draw = np.random.default_rng(7)
    symbols = np.array([f"COIN{n}USDT" for n in range(200)], dtype=object)
    columns = [np.arange(MILLION), draw.normal(size=MILLION), symbols[draw.integers(0, 200, MILLION)]]
    with bridge.client(compression=compression, settings={"use_numpy": True}) as client:
        client.execute("CREATE OR REPLACE TABLE million (t Int64, x Float64, s String) ENGINE = MergeTree ORDER BY t")
        client.execute("INSERT INTO million VALUES", columns, columnar=True)
        found = client.execute("SELECT t, x, s FROM million ORDER BY t", columnar=True)
        client.execute("DROP TABLE million")
    for sent, received in zip(columns, found, strict=True):
        assert np.array_equal(sent, received)


def test_a_giant_answer_is_streamed(client: Client) -> None:
    rows = client.execute_iter("SELECT number FROM numbers(50000000000)", chunk_size=100_000)
    assert [len(next(rows)) for _ in range(3)] == [100_000] * 3
    client.disconnect()
    assert client.execute("SELECT 1") == [(1,)]


def test_data_frames_go_in_and_out(bridge: BridgeProcess) -> None:
    frame = pd.DataFrame({"n": np.arange(5, dtype="u8"), "s": ["a", "b", "c", "d", "e"]})
    with bridge.client(settings={"use_numpy": True}) as client:
        client.execute("CREATE TEMPORARY TABLE frame (n UInt64, s String)")
        assert client.insert_dataframe("INSERT INTO frame VALUES", frame) == 5
        pd.testing.assert_frame_equal(
            client.query_dataframe("SELECT * FROM frame ORDER BY n"), frame, check_dtype=False
        )


def test_clients_work_at_the_same_time(bridge: BridgeProcess, client: Client, numbers: str) -> None:
    def work(number: int) -> int:
        with bridge.client(compression=(False, "lz4", "zstd")[number % 3]) as own:
            for step in range(10):
                own.execute(f"INSERT INTO {numbers} VALUES", [(number * 10 + step, str(number))] * 3)
                own.execute("SELECT sum(number) FROM numbers(10000)")
            return int(own.execute(f"SELECT count() FROM {numbers} WHERE s = '{number}'")[0][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [30] * 8
    assert client.execute(f"SELECT count(), uniqExact(n) FROM {numbers}") == [(240, 80)]


def test_a_slow_query_holds_up_nobody_else(bridge: BridgeProcess, client: Client) -> None:
    with bridge.client() as slow, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.execute, "SELECT sleep(2)")
        client.execute("SELECT 1")
        assert not waiting.done()
        waiting.result()


def test_sessions_do_not_share_state(bridge: BridgeProcess, client: Client) -> None:
    client.execute("CREATE TEMPORARY TABLE mine (n Int8)")
    client.execute("SET max_block_size = 777")
    with bridge.client() as other:
        assert error_of(other, "SELECT * FROM mine")[0] == 60
        assert other.execute("SELECT getSetting('max_block_size')") != [(777,)]
    assert client.execute("SELECT getSetting('max_block_size')") == [(777,)]


def test_max_execution_time_is_honoured(client: Client) -> None:
    started = time.monotonic()
    assert error_of(client, HEAVY, settings={"max_execution_time": 0.5})[0] == 159
    assert time.monotonic() - started < 20  # minutes without the limit


def test_max_result_rows_is_honoured(client: Client) -> None:
    assert error_of(client, "SELECT number FROM numbers(11)", settings={"max_result_rows": 10})[0] == 396
    assert len(client.execute("SELECT number FROM numbers(10)", settings={"max_result_rows": 10})) == 10


def test_limits_are_for_the_query_not_for_the_bridge(client: Client) -> None:
    limits = {"max_result_rows": 1, "limit": 1}
    empty = client.execute("SELECT 1 AS a, 2 AS b WHERE 0", settings=limits, with_column_types=True)
    assert empty == ([], [("a", "UInt8"), ("b", "UInt8")])


def test_a_setting_is_gone_after_its_query(client: Client) -> None:
    sql = "SELECT getSetting('max_block_size')"
    before = client.execute(sql)
    assert client.execute(sql, settings={"max_block_size": 999}) == [(999,)]
    assert client.execute(sql) == before
    client.execute("SET max_block_size = 888")
    assert client.execute(sql, settings={"max_block_size": 999}) == [(999,)]
    assert client.execute(sql) == [(888,)]


@pytest.mark.parametrize(("wanted", "used"), [({}, 0x82), ({"network_compression_method": "zstd"}, 0x90)])
def test_the_client_chooses_how_answers_are_packed(
    bridge: BridgeProcess, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str], used: int
) -> None:
    methods = set()

    def spy(method: int) -> Any:
        methods.add(method)
        return get_decompressor_cls(method)

    monkeypatch.setattr("clickhouse_driver.streams.compressed.get_decompressor_cls", spy)
    with bridge.client(compression="lz4") as client:
        assert client.execute("SELECT 1", settings=wanted) == [(1,)]
    assert methods == {used}


def test_a_bad_value_of_a_setting_does_no_lasting_harm(client: Client) -> None:
    code, _ = error_of(client, "SELECT 1", settings={"max_block_size": 999, "max_execution_time": "soon"})
    assert code in (27, 72)
    assert client.execute("SELECT getSetting('max_block_size') != 999") == [(1,)]


def test_an_unknown_setting_is_left_out_unless_it_is_important(bridge: BridgeProcess) -> None:
    with bridge.client(settings={"no_such_setting": 1}) as careless:
        assert careless.execute("SELECT 1") == [(1,)]
    with bridge.client(settings={"no_such_setting": 1}, settings_is_important=True) as careful:
        code, text = error_of(careful, "SELECT 1")
    assert code == 115
    assert "no_such_setting" in text


def test_readonly_refuses_writes_and_lets_go_again(client: Client, numbers: str) -> None:
    for sql in (f"INSERT INTO {numbers} VALUES", f"DROP TABLE {numbers}", f"INSERT INTO {numbers} SELECT 1, ''"):
        assert error_of(client, sql, settings={"readonly": 1})[0] == 164
    assert client.execute(f"SELECT count() FROM {numbers}", settings={"readonly": 1}) == [(0,)]
    assert client.execute(f"INSERT INTO {numbers} VALUES", [(1, "a")]) == 1


def test_the_session_zone_reaches_the_client(client: Client) -> None:
    sql = "SELECT toDateTime(0)"
    assert client.execute(sql) == [(datetime(1970, 1, 1),)]
    zone = {"session_timezone": "Asia/Tokyo"}
    assert client.execute(sql, settings=zone) == [(datetime(1970, 1, 1, 9),)]
    client.execute("SET session_timezone = 'Asia/Tokyo'")
    assert client.execute(sql) == [(datetime(1970, 1, 1, 9),)]


@pytest.mark.parametrize("value", ["it's", "a\\b\n\t\0é", "'); DROP TABLE x; --", "", "\\N", "日本"])
def test_parameters_of_both_sides_arrive_as_they_were(client: Client, value: str) -> None:
    assert client.execute("SELECT %(x)s", {"x": value}) == [(value,)]
    if value != "\\N":
        server_side = {"server_side_params": True}
        assert client.execute("SELECT {x:String}", {"x": value}, settings=server_side) == [(value,)]


def test_server_side_parameters_have_types(client: Client) -> None:
    server_side = {"server_side_params": True}
    values = {"n": -5, "f": 0.5, "l": ["a'b", "c"], "t": datetime(2026, 1, 2, 3, 4, 5), "d": "system"}
    sql = (
        "SELECT {n:Int32}, {f:Float64}, {l:Array(String)}, {t:DateTime('UTC')}, name FROM {d:Identifier}.one, "
        "system.databases WHERE name = {d:String}"
    )
    moment = values["t"].replace(tzinfo=UTC)  # type: ignore[attr-defined]
    assert client.execute(sql, values, settings=server_side) == [(-5, 0.5, ["a'b", "c"], moment, "system")]
    assert error_of(client, "SELECT {n:Int32}", {"n": "x"}, settings=server_side)[0] in (27, 72, 457)
    assert error_of(client, "SELECT {n:Int32}", {}, settings=server_side)[0] == 456


def test_external_tables_are_refused_with_advice(client: Client) -> None:
    table = {"name": "ext", "structure": [("n", "Int32")], "data": [{"n": 1}]}
    code, text = error_of(client, "SELECT * FROM ext", external_tables=[table])
    assert code == 48
    assert "CREATE TEMPORARY TABLE" in text


def test_a_format_clause_is_the_clients_affair(client: Client) -> None:
    assert client.execute("SELECT 1 AS format FORMAT JSON") == [(1,)]
    assert client.execute("SELECT 1 FORMAT TSV SETTINGS max_threads = 1;") == [(1,)]


def test_progress_grows_while_a_query_runs(client: Client) -> None:
    result = client.execute_with_progress("SELECT sum(sipHash64(number)) FROM numbers(15000000)")
    steps = list(result)
    assert len(steps) > 1
    assert steps == sorted(steps)
    assert steps[-1] == (15_000_000, 15_000_000)
    assert client.last_query.progress.rows == 15_000_000


def test_profile_and_progress_of_an_insert_are_told(client: Client, numbers: str) -> None:
    client.execute(f"INSERT INTO {numbers} VALUES", [(n, "x") for n in range(100)])
    assert client.last_query.progress.written_rows == 100
    client.execute(f"SELECT * FROM {numbers}")
    assert client.last_query.profile_info.rows == 100


def test_cancel_in_the_middle_of_an_answer(client: Client) -> None:
    rows = client.execute_iter("SELECT number FROM numbers(50000000000)")
    assert next(rows) == (0,)
    client.cancel()
    assert client.execute("SELECT 1") == [(1,)]


def test_cancel_stops_the_work_of_the_engine(bridge: BridgeProcess, client: Client) -> None:
    with bridge.client() as busy:
        busy.execute_with_progress(HEAVY)
        wait_for_query(client, is_running=True)
        busy.cancel()
        wait_for_query(client, is_running=False)
        assert busy.execute("SELECT 1") == [(1,)]


def test_the_work_stops_when_the_client_leaves(bridge: BridgeProcess, client: Client) -> None:
    with bridge.client() as busy:
        busy.execute_with_progress(HEAVY)
        wait_for_query(client, is_running=True)
        busy.disconnect()
    wait_for_query(client, is_running=False)


def test_a_query_killed_by_another_client_fails_as_cancelled(bridge: BridgeProcess, client: Client) -> None:
    with bridge.client() as busy, ThreadPoolExecutor(1) as pool:
        failure = pool.submit(error_of, busy, HEAVY)
        wait_for_query(client, is_running=True)
        client.execute("KILL QUERY WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%KILL%' SYNC")
        assert failure.result()[0] == 394


def wait_for_query(client: Client, part: str = "sipHash64", *, is_running: bool) -> None:
    """Until a query with this part is, or is no longer, among the engine's processes."""
    sql = f"SELECT count() FROM system.processes WHERE query LIKE '%{part}%' AND query NOT LIKE '%processes%'"
    deadline = time.monotonic() + 10
    while client.execute(sql) != [(int(is_running),)]:
        assert time.monotonic() < deadline, f"the query should {'run' if is_running else 'have ended'}"
        threading.Event().wait(0.02)


def test_a_comment_of_the_client_does_not_hide_a_query_from_cancel(bridge: BridgeProcess, client: Client) -> None:
    with bridge.client(settings={"log_comment": "mine"}) as busy:
        busy.execute_with_progress(HEAVY)
        wait_for_query(client, is_running=True)
        busy.cancel()
        wait_for_query(client, is_running=False)
        busy.execute("SET log_comment = 'mine'", settings={"log_comment": ""})
        busy.execute_with_progress(HEAVY)
        wait_for_query(client, is_running=True)
        busy.disconnect()
    wait_for_query(client, is_running=False)


def test_asof_join_takes_the_row_before(client: Client) -> None:
    client.execute("CREATE TEMPORARY TABLE quotes (s String, t DateTime64(3, 'UTC'), bid Float64)")
    client.execute("CREATE TEMPORARY TABLE trades (s String, t DateTime64(3, 'UTC'))")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    at = [start + timedelta(milliseconds=milliseconds) for milliseconds in (0, 10, 20)]
    client.execute("INSERT INTO quotes VALUES", [("A", at[0], 1.0), ("A", at[2], 2.0), ("B", at[0], 9.0)])
    client.execute("INSERT INTO trades VALUES", [("A", at[1]), ("A", at[2]), ("B", at[2])])
    sql = "SELECT s, bid FROM trades ASOF LEFT JOIN quotes USING (s, t) ORDER BY s, t"
    assert client.execute(sql) == [("A", 1.0), ("A", 2.0), ("B", 9.0)]


def test_window_functions_work(client: Client) -> None:
    sql = "SELECT sum(number) OVER (ORDER BY number ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM numbers(4)"
    assert client.execute(sql) == [(0,), (1,), (3,), (5,)]


def test_codecs_ttl_and_partitions_work(client: Client) -> None:
    client.execute(
        "CREATE TABLE aging (tick_ns Int64 CODEC(Delta, ZSTD), ts DateTime64(3, 'UTC'), x Float64 CODEC(Gorilla, LZ4))"
        " ENGINE = ReplacingMergeTree ORDER BY tick_ns PARTITION BY toYYYYMMDD(ts)"
        " TTL toDateTime(ts) + INTERVAL 1 DAY DELETE"
    )
    now = datetime.now(UTC).replace(microsecond=0)
    client.execute("INSERT INTO aging VALUES", [(1, now - timedelta(days=3), 1.0), (2, now, 2.0)])
    client.execute("OPTIMIZE TABLE aging FINAL")
    assert client.execute("SELECT tick_ns FROM aging FINAL") == [(2,)]
