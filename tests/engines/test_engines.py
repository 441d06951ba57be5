"""The three engines from their wheels, really started: fresh, again, after a crash, on a taken port."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from clickhouse_driver import Client
from redis import Redis

from surge_site.config import EngineChoice
from surge_site.engines.choice import engine_make
from surge_site.engines.engine import Engine, EngineError
from surge_site.engines.postgres import PostgresEngine
from surge_site.engines.process import SystemUser
from surge_site.engines.shelter import is_open_to
from tests.engines.places import open_folder, processes_in

NAMES = ["postgres", "redis", "clickhouse"]
PROJECT = Path(__file__).resolve().parents[2]
NOBODY = SystemUser(65534, 65534)


@pytest.fixture
def var_dir() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def make(name: str, var_dir: Path, *, durable: bool = False) -> Engine:
    return engine_make(name, EngineChoice.WHEEL, var_dir, durable=durable)


def remember(engine: Engine, value: str) -> None:
    """Write one value that a later `recall` must find."""
    if engine.name == "postgres":
        with psycopg.connect(f"{engine.url}_demo", autocommit=True) as connection:
            connection.execute("CREATE TABLE memory (value text)")
            connection.execute("INSERT INTO memory VALUES (%s)", [value])
    elif engine.name == "redis":
        with Redis.from_url(engine.url) as client:
            client.set("memory", value)
    else:
        client = Client.from_url(engine.url)
        client.execute("CREATE TABLE memory (value String) ENGINE = MergeTree ORDER BY value")
        client.execute("INSERT INTO memory VALUES", [(value,)])
        client.disconnect()


def recall(engine: Engine) -> str:
    if engine.name == "postgres":
        with psycopg.connect(f"{engine.url}_demo") as connection:
            row = connection.execute("SELECT value FROM memory").fetchone()
            return str(row[0]) if row else ""
    if engine.name == "redis":
        with Redis.from_url(engine.url, decode_responses=True) as client:
            return str(client.get("memory"))
    client = Client.from_url(engine.url)
    try:
        return str(client.execute("SELECT value FROM memory")[0][0])
    finally:
        client.disconnect()


def crash(engine: Engine) -> None:
    assert engine.process and engine.process.pid
    os.kill(engine.process.pid, signal.SIGKILL)
    engine.process.stop()


def end(engine: Engine) -> None:
    engine.stop()


@pytest.mark.parametrize("ending", [end, crash], ids=["stop", "kill -9"])
@pytest.mark.parametrize("name", NAMES)
def test_data_is_there_after(name: str, ending: Callable[[Engine], None], var_dir: Path) -> None:
    first = make(name, var_dir, durable=True)
    first.start()
    remember(first, "kept")
    ending(first)
    assert processes_in(var_dir) == []
    second = make(name, var_dir, durable=True)
    second.start()
    try:
        assert recall(second) == "kept"
        assert (second.url, second.kind) == (first.url, "wheel")
    finally:
        second.stop()
    assert processes_in(var_dir) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_taken_port_is_chosen_again(name: str, var_dir: Path) -> None:
    first = make(name, var_dir)
    first.start()
    remember(first, "kept")
    first.stop()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", first.port))
        stranger.listen()
        second = make(name, var_dir)
        second.start()
        try:
            assert second.port != first.port
            assert recall(second) == "kept"
        finally:
            second.stop()


def test_nobody_gets_in_without_the_password(var_dir: Path) -> None:
    engine = make("redis", var_dir)
    engine.start()
    try:
        with socket.create_connection(("127.0.0.1", engine.port), timeout=5) as stranger:
            stranger.sendall(b"GET memory\r\n")
            assert stranger.recv(100).startswith(b"-NOAUTH")
        secret = var_dir / "secrets" / "redis"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE((var_dir / "engines.json").stat().st_mode) == 0o600
        assert engine.process and secret.read_text() not in " ".join(engine.process.command)
    finally:
        engine.stop()


def test_a_stale_lock_file_of_a_stranger_does_not_stop_postgres(var_dir: Path) -> None:
    engine = make("postgres", var_dir)
    engine.start()
    engine.stop()
    lock = Path(engine.record.get("data")) / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{lock.parent}\n0\n{engine.port}\n")  # our own number: alive, and no PostgreSQL
    engine.start()
    engine.stop()
    assert not lock.exists()


def test_a_postgres_left_behind_is_stopped_first(var_dir: Path) -> None:
    lost, found = make("postgres", var_dir), make("postgres", var_dir)
    lost.start()
    found.start()
    try:
        assert lost.process and not lost.process.is_running
    finally:
        found.stop()
        lost.stop()


def test_a_half_made_data_folder_is_made_again(var_dir: Path) -> None:
    half = var_dir / "engines" / "postgres-18"
    half.mkdir(parents=True)
    (half / "postgresql.conf").touch()
    engine = make("postgres", var_dir)
    engine.start()
    engine.stop()


def test_a_server_that_dies_at_once_is_told_with_its_last_lines(var_dir: Path) -> None:
    engine = make("redis", var_dir)
    engine.start()
    engine.stop()
    folder = var_dir / "engines" / "redis-6"
    next(folder.glob("*.aof")).write_bytes(b"these are no commands\r\n")
    with pytest.raises(EngineError, match=r"(?s)redis stopped at once.*Bad file format"):
        engine.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give PostgreSQL another user")
def test_root_gives_a_closed_project_a_shelter_outside(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = var_dir / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("surge_site.engines.shelter.SHELTERS", (var_dir / "shelter",))
    engine = make("postgres", closed / "var")
    engine.start()
    try:
        assert Path(engine.record.get("data")).is_relative_to(var_dir / "shelter")
        remember(engine, "kept")
    finally:
        engine.stop()
    again = make("postgres", closed / "var")
    again.start()
    try:
        assert recall(again) == "kept"
    finally:
        again.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give PostgreSQL another user")
def test_root_copies_programs_that_the_other_user_cannot_reach(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make("postgres", var_dir)
    assert isinstance(engine, PostgresEngine)
    monkeypatch.setattr("surge_site.engines.shelter.SHELTERS", (var_dir / "shelter",))
    monkeypatch.setattr("surge_site.engines.postgres.is_open_to", lambda *_: False)
    engine.start()
    try:
        assert engine.bin_dir.is_relative_to(var_dir / "shelter" / "programs" / f"postgres-{engine.version}")
    finally:
        engine.stop()


def as_nobody(words: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    packages = Path(psycopg.__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}:{packages}",
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        words, user=NOBODY.uid, group=NOBODY.gid, extra_groups=[], cwd="/", env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def python_for_anyone(home: Path) -> str | None:
    """A Python of our version that an ordinary user can reach, with the project and its packages."""
    candidates = [Path(sys.executable), Path(f"/usr/bin/python3.{sys.version_info.minor}")]
    for path in candidates:
        if path.exists() and is_open_to(path, NOBODY):
            words = [str(path), "-c", "import surge_site.engines.choice"]
            if as_nobody(words, home).returncode == 0:
                return str(path)
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run as an ordinary user")
def test_an_ordinary_user_starts_all_three(var_dir: Path) -> None:
    python = python_for_anyone(var_dir)
    if python is None:
        pytest.skip("an ordinary user of this machine cannot reach this Python, its packages or the project")
    os.chown(var_dir, NOBODY.uid, NOBODY.gid)
    script = (
        "import pathlib, sys\n"
        "from surge_site.config import EngineChoice\n"
        "from surge_site.engines.choice import MAKERS, engine_make\n"
        "for name in MAKERS:\n"
        "    engine = engine_make(name, EngineChoice.WHEEL, pathlib.Path(sys.argv[1]))\n"
        "    engine.start(); engine.stop(); print(name)\n"
    )
    done = as_nobody([python, "-c", script, str(var_dir)], var_dir)
    assert done.stdout.split() == ["clickhouse", "redis", "postgres"], done.stderr
    assert (var_dir / "engines" / "postgres-18").stat().st_uid == NOBODY.uid
