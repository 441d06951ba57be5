"""Sharing the engines: the first user starts them, the last one ends them, however users end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from surge_site.config import OWN_ENGINES_VARIABLE, EngineChoice, SurgeConfig
from surge_site.engines.engine import EngineError
from surge_site.engines.lease import EngineLease
from surge_site.engines.run_file import RUN_VARIABLE, RunFolder, run_sweep
from tests.engines.places import open_folder, processes_in
from tests.engines.test_supervisor import PROJECT, SLEEP, wait_until

NOWHERE = "127.0.0.1:9"


@pytest.fixture
def var_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(OWN_ENGINES_VARIABLE, "{}")  # put back afterwards: a lease changes it
    with open_folder() as folder:
        yield folder


def config(var_dir: Path, **values: object) -> SurgeConfig:
    """An own Redis; the others are said to run elsewhere, which keeps these tests quick."""
    elsewhere = {"clickhouse_url": f"clickhouse://{NOWHERE}/x", "database_url": f"postgresql://{NOWHERE}/x"}
    return SurgeConfig(**{"var_dir": var_dir, **elsewhere, **values})


def answers(lease: EngineLease) -> bool:
    try:
        with Redis.from_url(lease.facts["redis"].url, socket_timeout=2, retry=None) as client:
            return bool(client.ping())
    except RedisError:
        return False


def test_the_last_user_turns_off_the_light(var_dir: Path) -> None:
    first, second = EngineLease(config(var_dir)), EngineLease(config(var_dir))
    first.open()
    second.open()
    assert second.facts == first.facts
    assert first.facts["clickhouse"].kind == "url"
    first.close()
    assert answers(second)
    second.close()
    assert not answers(second)
    assert processes_in(var_dir) == []


def test_each_mode_has_its_own_database(var_dir: Path) -> None:
    key = {"secret_key": "".join(map(chr, range(40, 100))), "allowed_hosts": ["surge.example.org"]}
    with (
        EngineLease(config(var_dir, database_url=None)) as demo,
        EngineLease(config(var_dir, database_url=None, mode="production", **key)) as production,
    ):
        urls = [lease.facts["postgres"].url for lease in (demo, production)]
        for url, mode in zip(urls, ("demo", "production"), strict=True):
            with psycopg.connect(url) as connection:
                assert connection.info.dbname == f"surge_{mode}"


def test_other_engines_than_the_running_ones_are_refused(var_dir: Path) -> None:
    with (
        EngineLease(config(var_dir, engines=EngineChoice.WHEEL)),
        pytest.raises(EngineError, match="stop the other ./surge first, or set SURGE_VAR_DIR"),
    ):
        EngineLease(config(var_dir, engines=EngineChoice.SYSTEM)).open()


def test_a_killed_keeper_takes_the_engines_along_and_is_replaced(var_dir: Path) -> None:
    lease = EngineLease(config(var_dir))
    lease.open()
    keeper = int(next(line for line in processes_in(var_dir) if "engines.keeper" in line).split(":")[0])
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not lease.is_kept() and processes_in(var_dir) == [])
    before = lease.settings
    lease.ensure()
    assert answers(lease)
    assert lease.settings == before
    lease.close()


def test_a_crashed_engine_is_started_again(var_dir: Path) -> None:
    with EngineLease(config(var_dir)) as lease:
        server = next(line for line in processes_in(var_dir) if "redis-server" in line)
        os.kill(int(server.split(":")[0]), signal.SIGKILL)
        wait_until(lambda: any("redis-server" in line and line != server for line in processes_in(var_dir)))
        assert lease.is_kept()


def test_a_killed_run_leaves_nothing_running(var_dir: Path) -> None:
    script = """
import os, pathlib, subprocess, sys, time
from surge_site.config import SurgeConfig
from surge_site.engines.lease import EngineLease
from surge_site.engines.run_file import RunFolder
lease = EngineLease(SurgeConfig(var_dir=pathlib.Path(sys.argv[1]), clickhouse_url="clickhouse://127.0.0.1:9/x", database_url="postgresql://127.0.0.1:9/x"))
lease.open()
RunFolder(lease.config.var_dir).up_write(run="token-of-this-run")
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", deaf, sys.argv[1]], env={**os.environ, "SURGE_RUN": "token-of-this-run"})
print("up", flush=True)
time.sleep(600)
"""
    words = [sys.executable, "-c", script, str(var_dir)]
    with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE) as run:
        assert run.stdout and run.stdout.readline() == b"up\n"
        run.kill()
    wait_until(lambda: processes_in(var_dir) == [], seconds=20)
    assert not RunFolder(var_dir).up.exists()


def test_the_sweep_spares_other_runs(var_dir: Path) -> None:
    folder = RunFolder(var_dir)
    folder.up_write(run="dead")
    environment = {**os.environ, RUN_VARIABLE: "alive"}
    with subprocess.Popen([sys.executable, "-c", SLEEP], env=environment) as stranger:
        assert run_sweep(folder) == 0
        assert stranger.poll() is None
        stranger.kill()
