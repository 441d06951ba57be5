"""The parts of the bridge that need no process: statements, types, bytes, frames, settings."""

import doctest
import struct
import threading
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surge_site.engines.clickhouse_bridge import columns, request
from surge_site.engines.clickhouse_bridge.cancel_watch import LOOK_EVERY_S, CancelWatch
from surge_site.engines.clickhouse_bridge.columns import column_plan, type_parts
from surge_site.engines.clickhouse_bridge.compression import FRAME_BYTES, Method, read_frame, write_frames
from surge_site.engines.clickhouse_bridge.errors import ClientGone, MalformedStream, ServerError
from surge_site.engines.clickhouse_bridge.request import Setting, unquoted
from surge_site.engines.clickhouse_bridge.settings import SettingsOverlay, settings_wanted
from surge_site.engines.clickhouse_bridge.statements import Kind, parse_statement, tokens_of
from surge_site.engines.clickhouse_bridge.wire import ByteReader, string, varint

steady = settings(deadline=None, derandomize=True)  # a busy machine is no failure


def drip(data: bytes, step: int) -> ByteReader:
    """A reader whose bytes arrive `step` at a time."""
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    return ByteReader(lambda missing: pieces.pop(0) if pieces else b"")


@steady
@given(st.integers(0, 2**64 - 1), st.integers(1, 10))
def test_a_number_is_read_as_it_was_written(number: int, step: int) -> None:
    assert drip(varint(number), step).varint() == number


@steady
@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 400))
def test_strings_are_passed_over_however_they_arrive(strings: list[bytes], step: int) -> None:
    data = b"".join(map(string, strings))
    reader = drip(data + b"end", step)
    reader.skip_strings(len(strings))
    assert reader.cut(0) == data
    assert reader.raw(3) == b"end"


def test_bytes_that_end_early_are_noticed() -> None:
    with pytest.raises(ClientGone):
        drip(string(b"x" * 200)[:-1], 7).skip_strings(1)


def test_more_than_the_limit_is_refused_before_it_is_read() -> None:
    reader = ByteReader(lambda missing: pytest.fail("it asked for more"), limit=100)
    with pytest.raises(MalformedStream):
        reader.skip(101)


@pytest.mark.parametrize("method", [Method.LZ4, Method.ZSTD])
@steady
@given(data=st.binary(max_size=2000))
def test_a_frame_unpacks_to_what_was_packed(method: Method, data: bytes) -> None:
    packed = b"".join(write_frames(method, data + b"!"))
    assert read_frame(drip(packed, 100)) == data + b"!"


@pytest.mark.parametrize("method", [Method.LZ4, Method.ZSTD])
def test_big_data_becomes_several_frames(method: Method) -> None:
    data = bytes(range(256)) * (FRAME_BYTES // 100)
    reader = drip(b"".join(write_frames(method, data)), 1 << 16)
    found = b""
    while len(found) < len(data):
        found += read_frame(reader)
    assert found == data


@steady
@given(st.data())
def test_a_frame_with_one_changed_byte_is_refused(data: st.DataObject) -> None:
    packed = bytearray(b"".join(write_frames(Method.LZ4, b"some rows of a block" * 5)))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedStream, ClientGone)):
        read_frame(drip(bytes(packed), 1000))


@pytest.mark.parametrize(
    ("type_name", "parts"),
    [
        ("UInt8", ("UInt8", [])),
        ("Decimal(18, 4)", ("Decimal", ["18", "4"])),
        ("DateTime64(3, 'UTC')", ("DateTime64", ["3", "'UTC'"])),
        ("Enum8('a,b)' = 1, 'it\\'s (' = 2)", ("Enum8", ["'a,b)' = 1", "'it\\'s (' = 2"])),
        ("Tuple(`a, (b` UInt8, c Array(String))", ("Tuple", ["`a, (b` UInt8", "c Array(String)"])),
        ("Map(String, Map(String, UInt8))", ("Map", ["String", "Map(String, UInt8)"])),
    ],
)
def test_a_type_is_taken_apart(type_name: str, parts: tuple[str, list[str]]) -> None:
    assert type_parts(type_name) == parts


@pytest.mark.parametrize(
    ("type_name", "data", "rows"),
    [
        ("Tuple(`a, (b` UInt8, c UInt16)", bytes(6), 2),
        ("Tuple()", bytes(3), 3),
        ("Nullable(Nothing)", bytes(4), 2),
        ("Nullable(FixedString(5))", bytes(12), 2),
        ("Nested(a UInt8, b String)", struct.pack("<QQ", 1, 2) + bytes(2) + string("x") + string(""), 2),
        ("Array(Array(UInt8))", struct.pack("<QQQ", 0, 1, 3) + bytes(3), 2),
        ("IntervalSecond", bytes(16), 2),
        ("LowCardinality(UInt16)", struct.pack("<QQQ", 1, 0x600, 1) + bytes(2) + struct.pack("<Q", 3) + bytes(3), 3),
        # the second part of one column has 2-byte indexes
        (
            "LowCardinality(String)",
            struct.pack("<QQQ", 1, 0x600, 1)
            + string("a")
            + struct.pack("<QB", 1, 0)
            + struct.pack("<QQ", 0x601, 1)
            + string("b")
            + struct.pack("<QHH", 2, 0, 0),
            3,
        ),
    ],
)
def test_a_column_ends_where_its_type_says(type_name: str, data: bytes, rows: int) -> None:
    plan = column_plan(type_name)
    reader = ByteReader.over(data + b"next")
    reader.skip(plan.prefix)
    plan.skip(reader, rows)
    assert reader.unread == len(b"next")


@pytest.mark.parametrize(
    "type_name", ["AggregateFunction(sum, UInt8)", "JSON", "Wonder", "Array(", "Decimal", "FixedString(x)", ""]
)
def test_a_type_that_cannot_be_walked_is_refused(type_name: str) -> None:
    with pytest.raises(ServerError) as failure:
        column_plan(type_name)
    assert failure.value.code == 50


def test_a_low_cardinality_part_without_rows_ends_the_walk() -> None:
    part = struct.pack("<QQQ", 0x600, 0, 0)
    with pytest.raises(MalformedStream):
        column_plan("LowCardinality(String)").skip(ByteReader.over(part * 10), 1)


@pytest.mark.parametrize(
    ("sql", "kind", "text"),
    [
        ("SELECT 1", Kind.ROWS, "SELECT 1"),
        ("  -- note;\n/* SELECT; */ (SELECT 1) ;; ", Kind.ROWS, "  -- note;\n/* SELECT; */ (SELECT 1) "),
        ("WITH 1 AS a SELECT a", Kind.ROWS, "WITH 1 AS a SELECT a"),
        ("SELECT ';', \"a;b\", `c;d` FROM t # ; end", Kind.ROWS, "SELECT ';', \"a;b\", `c;d` FROM t # ; end"),
        ("SELECT 1 FORMAT JSON", Kind.ROWS, "SELECT 1 "),
        ("SELECT 1 FORMAT JSON SETTINGS a = 1", Kind.ROWS, "SELECT 1  SETTINGS a = 1"),
        ("SELECT format FROM t", Kind.ROWS, "SELECT format FROM t"),
        ("SELECT format('{}', x) FROM (SELECT 1 AS x)", Kind.ROWS, "SELECT format('{}', x) FROM (SELECT 1 AS x)"),
        ("SHOW TABLES", Kind.WHOLE, "SHOW TABLES"),
        ("INSERT INTO t SELECT * FROM s", Kind.WHOLE, "INSERT INTO t SELECT * FROM s"),
        ("INSERT INTO t VALUES (1, ';')", Kind.WHOLE, "INSERT INTO t VALUES (1, ';')"),
        ("INSERT INTO file (a) SELECT 1", Kind.WHOLE, "INSERT INTO file (a) SELECT 1"),
        ("CREATE TABLE url (a Int8) ENGINE = Memory", Kind.WHOLE, "CREATE TABLE url (a Int8) ENGINE = Memory"),
    ],
)
def test_a_statement_is_understood(sql: str, kind: Kind, text: str) -> None:
    statement = parse_statement(sql)
    assert (statement.kind, statement.text) == (kind, text)


@pytest.mark.parametrize(
    ("sql", "table", "columns", "excluded"),
    [
        ("INSERT INTO t VALUES", "t", (), ()),
        ("insert into table db.t (a, `b c`, n.x) values ;", "db.t", ("a", "b c", "n.x"), ()),
        ("INSERT INTO `odd ``t` (*) FORMAT Native", "`odd ``t`", (), ()),
        ("INSERT INTO t (* EXCEPT(a, b)) VALUES -- rows follow", "t", (), ("a", "b")),
        ("INSERT INTO t (* EXCEPT a) VALUES", "t", (), ("a",)),
        ("INSERT INTO FUNCTION null('a Int8') (a) VALUES", "null('a Int8')", ("a",), ()),
        ("INSERT INTO values (a) SETTINGS async_insert = 0 VALUES", "values", ("a",), ()),
        ("INSERT INTO table VALUES", "table", (), ()),
    ],
)
def test_an_insert_names_its_target(sql: str, table: str, columns: tuple[str, ...], excluded: tuple[str, ...]) -> None:
    statement = parse_statement(sql)
    assert statement.kind is Kind.INSERT
    assert statement.target is not None
    assert (statement.target.table, statement.target.columns, statement.target.excluded) == (table, columns, excluded)
    assert sql.startswith(statement.target.sql)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("", 62),
        (" -- only a note", 62),
        ("SELECT 1; DROP TABLE t", 62),
        ("INSERT INTO t VALUES (1); DROP TABLE t", 62),
        ("INSERT INTO t FORMAT CSV 1,2", 48),
        ("INSERT INTO t (COLUMNS('a')) VALUES", 48),
        ("SELECT file('/etc/passwd')", 497),
        ("SELECT * FROM `FILE` ('x')", 497),
        ("SELECT * FROM/**/url('http://x')", 497),
        ("SELECT * FROM Python(os)", 497),
        ("SELECT * FROM s3Cluster('c', 'x')", 497),
        ("SELECT * FROM deltaLakeAzure('x')", 497),
        ("CREATE TABLE t (a Int8) ENGINE = File(CSV)", 497),
        ("CREATE TABLE t AS remote('h', db.t)", 497),
        ("DESCRIBE TABLE file('x')", 497),
        ("INSERT INTO FUNCTION file('x', CSV) VALUES", 497),
        ("INSERT INTO t VALUES (file('/etc/passwd'))", 497),
        ("SELECT * FROM '/etc/passwd'", 497),
        ('SELECT * FROM default."/etc/passwd"', 497),
        ("SELECT * FROM a JOIN `../x` ON 1", 497),
        ("SELECT 1 INTO OUTFILE 'x'", 497),
        ("INSERT INTO t FROM INFILE 'x' FORMAT CSV", 497),
        ("system shutdown", 48),
    ],
)
def test_what_a_server_does_not_do_is_refused(sql: str, code: int) -> None:
    with pytest.raises(ServerError) as failure:
        parse_statement(sql)
    assert failure.value.code == code


@steady
@given(st.text(alphabet="ab'\"`;\\$-#/*() \n", max_size=40))
def test_tokens_lose_nothing_but_space_and_notes(sql: str) -> None:
    position = 0
    for token in tokens_of(sql):
        assert token.start >= position
        assert sql[token.start : token.end] == token.text
        position = token.end


@steady
@given(st.text(max_size=30))
def test_a_parameter_loses_its_quotes_only(value: str) -> None:
    literal = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert unquoted(literal) == value


@pytest.mark.parametrize("literal", ["", "'", "x", "'x"])
def test_a_parameter_without_quotes_is_refused(literal: str) -> None:
    with pytest.raises(ServerError):
        unquoted(literal)


class FakeSession:
    """Keeps settings as the engine would: understands `SET name = 'value', name = DEFAULT`."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.statements = 0

    def execute(self, sql: str) -> None:
        self.statements += 1
        for assignment in sql.removeprefix("SET ").split(", "):
            name, value = assignment.split(" = ")
            if value == "DEFAULT":
                self.values.pop(name, None)
            else:
                self.values[name] = value.strip("'")

    def look_up(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self.values[name] for name in names if name in self.values}

    def overlay(self) -> SettingsOverlay:
        return SettingsOverlay(self.execute, self.look_up, "tag")


settings_of_a_query = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]))


@steady
@given(st.lists(settings_of_a_query), st.dictionaries(st.sampled_from(["a", "b"]), st.just("own"), min_size=1))
def test_settings_of_a_query_are_on_top_of_the_sessions_own(queries: list[dict[str, str]], own: dict[str, str]) -> None:
    session = FakeSession()
    session.values, overlay = dict(own), session.overlay()
    overlay.session_was_set = True
    for wanted in queries:
        overlay.lay(wanted)
        assert session.values == own | wanted
    overlay.lift()
    assert session.values == own


def test_the_same_settings_again_cost_nothing() -> None:
    session = FakeSession()
    overlay = session.overlay()
    for _ in range(3):
        overlay.lay({"a": "1"})
    assert session.statements == 1


def test_the_tag_survives_a_comment_of_the_client() -> None:
    session = FakeSession()
    overlay = session.overlay()
    overlay.lay({"log_comment": "mine"})
    assert session.values == {"log_comment": "tag mine"}
    overlay.lift()
    assert session.values == {"log_comment": "tag"}


def test_settings_that_would_break_the_bridge_are_refused() -> None:
    name = "output_format_native_encode_types_in_binary_format"
    known = frozenset({name})
    with pytest.raises(ServerError):
        settings_wanted([Setting(name, "1", False)], known)
    assert settings_wanted([Setting(name, "0", False)], known) == ({name: "0"}, [])


def test_a_query_that_ends_is_never_looked_after_later() -> None:
    watch, looking, let_go, calls = CancelWatch(), threading.Event(), threading.Event(), []

    def look() -> None:
        looking.set()
        assert let_go.wait(5)
        calls.append(is_over)

    is_over = False
    watch.start()
    try:
        with watch.over(look):
            assert looking.wait(5)
            threading.Timer(0.2, let_go.set).start()
        is_over = True
        looking.clear()
        assert not looking.wait(3 * LOOK_EVERY_S)
    finally:
        watch.stop()
    assert calls == [False]


@pytest.mark.parametrize("module", [columns, request])
def test_the_examples_in_the_documentation_are_true(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert (result.failed, result.attempted > 0) == (0, True)
