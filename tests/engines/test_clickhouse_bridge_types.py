"""Every column type goes through the bridge and comes back the same, in each compression, plain and numpy."""

import ipaddress
import itertools
import math
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from clickhouse_driver import Client

from tests.engines.bridge_process import BridgeProcess

TABLE_NUMBERS = itertools.count()
COMPRESSIONS = (False, "lz4", "zstd")
LONG = "é" * 70_000  # its length needs three bytes
MOMENT = datetime(2026, 11, 22, 7, 57, 1, tzinfo=UTC)
MILLISECOND = datetime(2026, 11, 22, 7, 57, 1, 123000, tzinfo=UTC)
MICROSECOND = datetime(2026, 11, 22, 7, 57, 1, 123456, tzinfo=UTC)
U1 = uuid.UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
ENUM = "Enum8('buy, (now)' = -1, 'it\\'s' = 2)"


def limits(bits: int, signed: bool) -> list[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return [low, high, 0, 1, high // 3]


INTEGERS = {
    f"{'' if signed else 'U'}Int{bits}": limits(bits, signed)
    for bits, signed in itertools.product((8, 16, 32, 64, 128, 256), (True, False))
}
SCALARS: dict[str, list[Any]] = {
    **INTEGERS,
    "Float32": [0.0, -1.5, math.inf, 0.1875],
    "Float64": [0.0, -1.5e300, -math.inf, 0.1, 5e-324],
    "Bool": [True, False],
    "String": ["", "a", "x" * 127, "x" * 128, LONG, "line\nbreak\0 \\ '\"`"],
    "FixedString(3)": ["abc", "é1", "\x01\x02\x03"],
    "Date": [date(1970, 1, 1), date(2149, 6, 6), date(2026, 11, 22)],
    "Date32": [date(1900, 1, 1), date(2299, 12, 31), date(2026, 11, 22)],
    "DateTime('UTC')": [MOMENT, datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)],
    "DateTime64(3, 'UTC')": [MILLISECOND, datetime(1970, 1, 1, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC)],
    "DateTime64(6, 'UTC')": [MICROSECOND, MOMENT],
    "Decimal(9, 4)": [Decimal("12345.6789"), Decimal("-99999.9999"), Decimal("0")],
    "Decimal(18, 8)": [Decimal("1234567890.12345678"), Decimal("-0.00000001")],
    "Decimal(38, 10)": [Decimal("1234567890123456789012345678.0123456789"), Decimal("-1")],
    "Decimal(76, 20)": [Decimal("-" + "9" * 56 + "." + "9" * 20), Decimal("0.5")],
    "Decimal32(2)": [Decimal("1.25")],
    "Decimal64(2)": [Decimal("-1.25")],
    "Decimal128(3)": [Decimal("1.125")],
    ENUM: ["buy, (now)", "it's"],
    "Enum16('up' = 300, 'down' = -300)": ["up", "down"],
    "UUID": [U1, uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "IPv4": [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv4Address("255.255.255.255")],
    "IPv6": [ipaddress.IPv6Address("::1"), ipaddress.IPv6Address("2001:db8::ff")],
}
COMPOUND: dict[str, list[Any]] = {
    "Nullable(Int64)": [None, -1, None, 7],
    "Nullable(String)": [None, "", "a", None],
    "Nullable(Decimal(18, 2))": [None, Decimal("1.25")],
    "Nullable(DateTime64(3, 'UTC'))": [None, MILLISECOND],
    f"Nullable({ENUM})": [None, "it's"],
    "LowCardinality(String)": ["a", "b", "a", "", LONG],
    "LowCardinality(Nullable(String))": [None, "a", "b", None, "a"],
    "LowCardinality(FixedString(2))": ["ab", "cd", "ab"],
    "Array(Int32)": [[], [1, 2, 3], [-1], []],
    "Array(String)": [["a", "", LONG], [], ["b"]],
    "Array(Nullable(String))": [[None, "a"], [], [None, None], ["b"]],
    "Array(Array(Nullable(Int8)))": [[[1, None], []], [], [[None]]],
    "Array(LowCardinality(String))": [["a", "b", "a"], [], ["c"]],
    "Array(LowCardinality(Nullable(String)))": [[None, "a", "a"], [], ["b", None]],
    "Array(DateTime64(3, 'UTC'))": [[MILLISECOND, MOMENT], []],
    "Tuple(Int8, String)": [(1, "a"), (-1, "")],
    "Tuple(price Float64, side LowCardinality(String))": [(1.5, "buy"), (2.5, "sell"), (3.5, "buy")],
    "Tuple(Array(Nullable(Int16)), Tuple(Bool, UUID))": [([1, None], (True, U1)), ([], (False, U1))],
    "Map(String, UInt64)": [{}, {"a": 1, "b": 2}, {"": 3}],
    "Map(String, Array(LowCardinality(String)))": [{"a": ["x", "y", "x"], "b": []}, {}, {"c": ["y"]}],
    "Map(LowCardinality(String), Nullable(Float64))": [{"a": None, "b": 0.5}, {"a": 1.0}],
    "Array(Map(String, UInt8))": [[{"a": 1}, {}], [], [{"b": 2}]],
    "Array(Tuple(String, Array(UInt8)))": [[("a", [1, 2]), ("b", [])], []],
    "SimpleAggregateFunction(max, Int64)": [1, -5],
    "Point": [(1.0, 2.0), (0.0, -1.0)],
    "Polygon": [[[(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)]], []],
}
NUMPY: dict[str, np.ndarray] = {
    **{f"Int{bits}": np.array(limits(bits, True), f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": np.array(limits(bits, False), f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    "Float32": np.array([0.0, -1.5, np.inf, np.nan], "f4"),
    "Float64": np.array([0.0, -1.5e300, np.nan, 5e-324]),
    "Bool": np.array([True, False, True]),
    "String": np.array(["", "a", "x" * 300, "é"], dtype=object),
    "FixedString(3)": np.array(["abc", "xyz"], dtype=object),
    "LowCardinality(String)": np.array(["a", "b", "a", ""], dtype=object),
    "Nullable(Float64)": np.array([None, 1.5, None], dtype=object),
    "Nullable(String)": np.array([None, "a", "b"], dtype=object),
    "Date": np.array(["1970-01-01", "2026-11-22"], "datetime64[D]"),
    "DateTime64(3, 'UTC')": np.array(["2026-11-22T07:57:01.123", "1970-01-01T00:00:00"], "datetime64[ns]"),
    "DateTime64(9, 'UTC')": np.array(["2026-11-22T07:57:01.123456789"], "datetime64[ns]"),
}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    process = BridgeProcess(tmp_path_factory.mktemp("types")).start()
    yield process
    process.close()


@pytest.fixture(scope="module", params=COMPRESSIONS, ids=str)
def client(bridge: BridgeProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    with bridge.client(compression=request.param) as client:
        yield client


@pytest.fixture(scope="module", params=COMPRESSIONS, ids=str)
def numpy_client(bridge: BridgeProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    with bridge.client(compression=request.param, settings={"use_numpy": True}) as client:
        yield client


@pytest.fixture
def table(bridge: BridgeProcess) -> Iterator[Callable[[str], str]]:
    """Makes a table with one column `value` of the type, and `row` to sort by."""
    name = f"round_trip_{next(TABLE_NUMBERS)}"
    with bridge.client() as owner:

        def make(type_name: str) -> str:
            owner.execute(f"CREATE TABLE {name} (row UInt32, value {type_name}) ENGINE = MergeTree ORDER BY row")
            return name

        yield make
        owner.execute(f"DROP TABLE IF EXISTS {name}")


def insert(client: Client, table: str, values: list[Any]) -> list[Any]:
    """Insert the values as rows, in two blocks; return what the table holds then."""
    client.execute(
        f"INSERT INTO {table} (row, value) VALUES", list(enumerate(values)), settings={"insert_block_size": 2}
    )
    return [value for (value,) in client.execute(f"SELECT value FROM {table} ORDER BY row")]


@pytest.mark.parametrize("type_name", SCALARS)
def test_a_scalar_comes_back_the_same(client: Client, table: Callable[[str], str], type_name: str) -> None:
    values = SCALARS[type_name]
    found = insert(client, table(type_name), values)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("type_name", COMPOUND)
def test_a_compound_value_comes_back_the_same(client: Client, table: Callable[[str], str], type_name: str) -> None:
    assert insert(client, table(type_name), COMPOUND[type_name]) == COMPOUND[type_name]


@pytest.mark.parametrize("type_name", NUMPY)
def test_a_numpy_column_comes_back_the_same(numpy_client: Client, table: Callable[[str], str], type_name: str) -> None:
    values = NUMPY[type_name]
    name = table(type_name)
    rows = np.arange(len(values), dtype="u4")
    numpy_client.execute(f"INSERT INTO {name} (row, value) VALUES", [rows, values], columnar=True)
    (found,) = numpy_client.execute(f"SELECT value FROM {name} ORDER BY row", columnar=True)
    if values.dtype.kind == "f":
        np.testing.assert_array_equal(np.asarray(found, values.dtype), values)
    else:
        assert [None if value != value else value for value in found] == values.tolist() or all(found == values)


def test_a_nan_stays_a_nan(client: Client, table: Callable[[str], str]) -> None:
    (found,) = insert(client, table("Float64"), [math.nan])
    assert math.isnan(found)


def test_many_columns_of_all_types_share_one_block(client: Client) -> None:
    types = {**SCALARS, **COMPOUND}
    names = [f"c{number}" for number in range(len(types))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, types, strict=True))
    client.execute("DROP TABLE IF EXISTS wide")
    client.execute(f"CREATE TABLE wide (row UInt32, {columns}) ENGINE = Memory")
    rows = [(n, *(values[n % len(values)] for values in types.values())) for n in range(50)]
    client.execute("INSERT INTO wide VALUES", rows)
    assert client.execute("SELECT * FROM wide ORDER BY row") == rows


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("toInt256('-7')", -7),
        ("CAST((1, 'a'), 'Tuple(n Int8, s String)')", (1, "a")),
        ("map('k', [toLowCardinality('v')])", {"k": ["v"]}),
        ("[toNullable(1), NULL]", [1, None]),
        ("NULL", None),
        ("[]", []),
        ("toDateTime64('2026-11-22 07:57:01.123', 3, 'UTC')", MILLISECOND),
        ("toDateTime('2026-11-22 07:57:01', 'UTC')", MOMENT),
        ("toUUID('f81d4fae-7dec-11d0-a765-00a0c91e6bf6')", U1),
        ("toDecimal256('-0.5', 3)", Decimal("-0.500")),
        ("toIPv6('::1')", ipaddress.IPv6Address("::1")),
    ],
)
def test_a_value_made_by_the_engine_is_understood(client: Client, expression: str, expected: Any) -> None:
    assert client.execute(f"SELECT {expression}") == [(expected,)]


def test_the_engine_sees_what_the_client_meant(client: Client, table: Callable[[str], str]) -> None:
    name = table("Map(String, Array(LowCardinality(Nullable(String))))")
    insert(client, name, [{"a": ["x", None], "b": []}])
    expected = [("{'a':['x',NULL],'b':[]}", 2)]
    assert client.execute(f"SELECT toString(value), length(value) FROM {name}") == expected


def test_a_plain_datetime_keeps_its_zone(client: Client) -> None:
    sql = "SELECT toDateTime('2026-07-01 12:00:00', 'Europe/Berlin') AS t, 1 AS n"
    rows, columns = client.execute(sql, with_column_types=True)
    assert columns == [("t", "DateTime('Europe/Berlin')"), ("n", "UInt8")]
    assert rows[0][0].utcoffset() == timedelta(hours=2)


def test_an_aggregate_state_is_refused_with_advice(client: Client) -> None:
    with pytest.raises(Exception, match="finalizeAggregation") as failure:
        client.execute("SELECT sumState(1)")
    assert failure.value.code == 50


def test_random_nested_values_come_back_the_same(client: Client, table: Callable[[str], str]) -> None:
    draw = random.Random(20261122)

    def text() -> str:
        return "".join(draw.choices("ab\0é\n'\\", k=draw.randrange(4)) * draw.choice((1, 1, 1, 60)))

    def value() -> Any:
        return [
            ({text(): [draw.choice((None, text())) for _ in range(draw.randrange(4))]}, draw.getrandbits(64))
            for _ in range(draw.randrange(5))
        ]

    values = [value() for _ in range(2000)]
    name = table("Array(Tuple(Map(String, Array(LowCardinality(Nullable(String)))), UInt64))")
    client.execute(f"INSERT INTO {name} VALUES", list(enumerate(values)), settings={"insert_block_size": 700})
    assert [found for (found,) in client.execute(f"SELECT value FROM {name} ORDER BY row")] == values
