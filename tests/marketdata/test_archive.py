"""The archive against a real ClickHouse engine: what is written is read, twice is once, errors say what to do."""

import random
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from marketdata.archive import MOST_DAYS_KEPT, Archive, ArchiveError
from marketdata.events import NS_PER_S
from tests.engines.bridge_process import PASSWORD, BridgeProcess

NOON = 1_795_348_800 * NS_PER_S  # 2026-11-22 12:00 UTC
HOSTILE = ["BTCUSDT", "it's", "a\\b", "x'; DROP TABLE scores; --", "币安", "%(limit)s", "line\nbreak\0x"]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    process = BridgeProcess(tmp_path_factory.mktemp("archive")).start()
    yield process
    process.close()


def url_of(bridge: BridgeProcess, database: str = "surge_test", password: str = PASSWORD) -> str:
    return f"clickhouse://default:{quote(password, safe='')}@127.0.0.1:{bridge.port}/{database}"


@pytest.fixture
def archive(bridge: BridgeProcess) -> Iterator[Archive]:
    """An archive with empty tables, kept long enough for the test's own dates."""
    with Archive(url_of(bridge), days_kept=MOST_DAYS_KEPT) as archive:
        archive.create_tables()
        yield archive
    with bridge.client() as client:
        client.execute("DROP DATABASE surge_test")


def scores(count: int = 4, **changes: Any) -> dict[str, Any]:
    columns = {
        "symbol": np.array(["BTCUSDT"] * count, dtype=object),
        "tick_ns": NOON + np.arange(count) * 250_000_000,
        "mid": 100.0 + np.arange(count),
        "p": np.linspace(0, 1, count),
        "p_sl": np.linspace(1, 0, count),
        "utility_bps": np.full(count, -2.5),
        "spread_bps": np.full(count, 1.5),
    }
    return {**columns, "mode": "demo", "market": "spot", **changes}


def decisions(count: int = 4, **changes: Any) -> dict[str, Any]:
    columns = {
        name: scores(count)[name] for name in ("symbol", "tick_ns", "p", "p_sl", "utility_bps", "mode", "market")
    }
    extra = {"strategy": "A-tier", "cost_bps": 12.0, "action": "hold", "reason": "p", "model_version": "v1"}
    return {**columns, **extra, **changes}


def test_scores_are_read_as_they_were_written(archive: Archive) -> None:
    written = scores(utility_bps=np.array([np.nan, 1e-300, -np.inf, 0.1]))
    assert archive.append_scores(written) == 4
    found = archive.read_scores("BTCUSDT", NOON, NOON + NS_PER_S)
    assert list(found) == ["tick_ns", "mid", "p", "p_sl", "utility_bps", "spread_bps"]
    for name, column in found.items():
        np.testing.assert_array_equal(column, written[name])
        assert column.dtype == (np.int64 if name == "tick_ns" else np.float64)


def test_mode_and_market_can_be_given_for_the_whole_batch(archive: Archive) -> None:
    columns = {name: column for name, column in scores().items() if name not in ("mode", "market")}
    archive.append_scores(columns, mode="production", market="usdm")
    span = ("BTCUSDT", NOON, NOON + NS_PER_S, 10)
    assert len(archive.read_scores(*span, mode="production", market="usdm")["p"]) == 4
    assert len(archive.read_scores(*span, mode="demo", market="usdm")["p"]) == 0
    assert len(archive.read_scores(*span, mode="production", market="spot")["p"]) == 0


def test_writing_twice_changes_nothing(archive: Archive) -> None:
    for _ in range(3):
        archive.append_scores(scores())
        archive.append_decisions(decisions())
    assert len(archive.read_scores("BTCUSDT", NOON, NOON + NS_PER_S)["p"]) == 4
    assert archive.decision_counts(NOON, NOON + NS_PER_S) == {("hold", "p"): 4}


def test_the_row_written_last_wins(archive: Archive) -> None:
    archive.append_scores(scores(p=0.9, written_ns=2))
    archive.append_scores(scores(p=0.1, written_ns=1))
    assert archive.read_scores("BTCUSDT", NOON, NOON + NS_PER_S)["p"].tolist() == [0.9] * 4


def test_a_span_has_its_start_and_not_its_end(archive: Archive) -> None:
    archive.append_scores(scores())
    ticks = scores()["tick_ns"]
    found = archive.read_scores("BTCUSDT", int(ticks[1]), int(ticks[3]))
    assert found["tick_ns"].tolist() == ticks[1:3].tolist()


def test_a_limit_keeps_the_newest_in_time_order(archive: Archive) -> None:
    archive.append_scores(scores())
    found = archive.read_scores("BTCUSDT", 0, NOON * 2, limit=2)
    assert found["tick_ns"].tolist() == scores()["tick_ns"][2:].tolist()


def test_nothing_found_is_empty_arrays(archive: Archive) -> None:
    found = archive.read_scores("NOSUCHCOIN", 0, NOON)
    assert {name: (column.dtype.kind, len(column)) for name, column in found.items()} == {
        "tick_ns": ("i", 0),
        **dict.fromkeys(("mid", "p", "p_sl", "utility_bps", "spread_bps"), ("f", 0)),
    }
    assert archive.decision_counts(0, NOON) == {}


def test_an_empty_batch_is_no_work(archive: Archive) -> None:
    assert archive.append_scores(scores(0)) == 0
    assert archive.append_decisions(decisions(0)) == 0


@pytest.mark.parametrize("symbol", HOSTILE)
def test_any_symbol_is_only_a_symbol(archive: Archive, symbol: str) -> None:
    archive.append_scores(scores(symbol=symbol))
    archive.append_decisions(decisions(strategy=symbol))
    assert len(archive.read_scores(symbol, 0, NOON * 2)["p"]) == 4
    assert len(archive.read_scores(symbol + "x", 0, NOON * 2)["p"]) == 0
    assert archive.decision_counts(0, NOON * 2, strategy=symbol) == {("hold", "p"): 4}


def test_decisions_are_counted_by_action_and_reason(archive: Archive) -> None:
    action = np.array(["fire", "hold", "hold", "hold"], dtype=object)
    reason = np.array(["", "p", "utility", "p"], dtype=object)
    archive.append_decisions(decisions(action=action, reason=reason))
    archive.append_decisions(decisions(strategy="B-tier"))
    both = archive.decision_counts(0, NOON * 2, mode="demo", market="spot", symbol="BTCUSDT")
    assert both == {("fire", ""): 1, ("hold", "p"): 6, ("hold", "utility"): 1}
    assert archive.decision_counts(0, NOON * 2, strategy="B-tier") == {("hold", "p"): 4}
    assert archive.decision_counts(0, NOON * 2, mode="production") == {}


def test_ticks_of_several_days_go_to_several_partitions(archive: Archive, bridge: BridgeProcess) -> None:
    days = NOON + np.arange(4) * 86_400 * NS_PER_S
    archive.append_scores(scores(tick_ns=days))
    with bridge.client() as client:
        sql = "SELECT uniqExact(partition) FROM system.parts WHERE database = 'surge_test' AND active"
        assert client.execute(sql) == [(4,)]
        sql = "SELECT min(ts), toUnixTimestamp64Milli(max(ts)) FROM surge_test.scores"
        first, last_ms = client.execute(sql)[0]
    assert first.isoformat() == "2026-11-22T12:00:00+00:00"
    assert last_ms == days[-1] // 1_000_000


def test_old_scores_are_let_go(bridge: BridgeProcess) -> None:
    with Archive(url_of(bridge, "short"), days_kept=1) as archive, bridge.client() as client:
        archive.append_scores(scores(tick_ns=NS_PER_S + np.arange(4)))
        client.execute("OPTIMIZE TABLE short.scores FINAL")
        assert client.execute("SELECT count() FROM short.scores") == [(0,)]


def test_making_the_tables_again_changes_nothing(archive: Archive) -> None:
    archive.append_scores(scores())
    archive.create_tables()
    assert len(archive.read_scores("BTCUSDT", 0, NOON * 2)["p"]) == 4


@pytest.mark.parametrize("database", ["never_made_read", "never_made_write"])
def test_missing_tables_are_made_when_needed(bridge: BridgeProcess, database: str) -> None:
    with Archive(url_of(bridge, database), days_kept=MOST_DAYS_KEPT) as archive:
        if database.endswith("write"):
            archive.append_scores(scores())
        found = archive.read_scores("BTCUSDT", 0, NOON * 2)
    assert len(found["p"]) == (4 if database.endswith("write") else 0)


def test_a_hundred_thousand_rows_of_many_symbols(archive: Archive) -> None:
    draw = random.Random(3)
    names = np.array([f"COIN{draw.randrange(50)}" for _ in range(100_000)], dtype=object)
    batch = scores(100_000, symbol=names)
    archive.append_scores(batch)
    found = archive.read_scores("COIN7", 0, NOON * 2, limit=100_000)
    assert found["tick_ns"].tolist() == batch["tick_ns"][names == "COIN7"].tolist()
    assert found["mid"].tolist() == batch["mid"][names == "COIN7"].tolist()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"surprise": 1.0}, "does not take surprise"),
        ({"ts": np.zeros(4)}, "does not take ts"),
        ({"p": np.zeros(3)}, "differ in length"),
        ({"p": np.array(["x"] * 4)}, "must be numbers"),
        ({"p": None}, "must be numbers"),
        ({"tick_ns": np.zeros(4)}, "whole nanoseconds"),
        ({"symbol": np.arange(4)}, "no text"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_before_it_is_sent(changes: dict[str, Any], said: str) -> None:
    with Archive("clickhouse://default:x@127.0.0.1:1/default") as unreachable:
        with pytest.raises(ArchiveError, match=said):
            unreachable.append_scores(scores(**changes))
        with pytest.raises(ArchiveError, match="lacks p, p_sl"):
            unreachable.append_scores({name: scores()[name] for name in scores() if not name.startswith("p")})


def test_nobody_there_says_how_to_start_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    url = f"clickhouse://default:x@127.0.0.1:{port}/default"
    with Archive(url) as archive, pytest.raises(ArchiveError, match=r"\./surge up"):
        archive.read_scores("BTCUSDT", 0, 1)


def test_a_wrong_password_says_what_to_correct(bridge: BridgeProcess) -> None:
    url = url_of(bridge, password="hunter2")
    with Archive(url) as archive, pytest.raises(ArchiveError, match="SURGE_CLICKHOUSE_URL") as failure:
        archive.create_tables()
    assert "hunter2" not in str(failure.value)
    assert "Stack trace" not in str(failure.value)


@pytest.mark.parametrize(
    "url", ["", "http://x/", "clickhouse:///x", "clickhouse://h:9000/bad-name", "clickhouse://h:x/"]
)
def test_a_bad_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ArchiveError):
        Archive(url)


@pytest.mark.parametrize("days", [0, -1, 36_500])
def test_a_time_to_keep_rows_that_cannot_be_is_refused(days: int) -> None:
    with pytest.raises(ArchiveError, match="choose 1 to"):
        Archive("clickhouse://h/x", days_kept=days)


def test_it_works_again_after_the_engine_was_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    bridge = BridgeProcess(tmp_path_factory.mktemp("away")).start()
    try:
        with Archive(url_of(bridge), days_kept=MOST_DAYS_KEPT) as archive:
            archive.append_scores(scores())
            assert bridge.stop() == 0
            with pytest.raises(ArchiveError):
                archive.append_scores(scores())
            bridge.start("--port", str(bridge.port))
            archive.append_scores(scores())
            assert len(archive.read_scores("BTCUSDT", 0, NOON * 2)["p"]) == 4
    finally:
        bridge.close()
