"""ClickHouse: a system server of 24 or newer, else chdb behind the bridge that speaks the native protocol."""

import hashlib
import importlib.metadata
import importlib.util
import socket
import sys
from pathlib import Path

from clickhouse_driver import Client

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
from surge_site.engines.record import file_write_private, secret_path

OLDEST = (24,)
PROJECT = Path(__file__).resolve().parents[2]
CONFIG = """\
<clickhouse>
    <logger><level>warning</level><console>1</console></logger>
    <listen_host>{host}</listen_host>
    <tcp_port>{port}</tcp_port>
    <path>{folder}/</path>
    <tmp_path>{folder}/tmp/</tmp_path>
    <user_files_path>{folder}/user_files/</user_files_path>
    <format_schema_path>{folder}/format_schemas/</format_schema_path>
    <mark_cache_size>67108864</mark_cache_size>
    <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
    <profiles><default><async_insert>0</async_insert></default></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password_sha256_hex>{password_hash}</password_sha256_hex>
            <networks><ip>{host}</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </default>
    </users>
</clickhouse>
"""


def clickhouse_system() -> Binary:
    path = program_find("clickhouse", "clickhouse-server")
    if not path:
        raise EngineError("no system ClickHouse was found")
    version = program_version(_server(path) + ["--version"])
    if not version:
        raise EngineError(f"{path} does not run here")
    if version_tuple(version) < OLDEST:
        raise EngineError(
            f"the system's ClickHouse {version} is refused: before 24 it lacks DateTime64, codecs and window "
            "functions, and its ASOF JOIN gives wrong results without an error"
        )
    return Binary(Kind.SYSTEM, path, version)


def clickhouse_wheel() -> Binary:
    spec = importlib.util.find_spec("chdb")
    if not spec or not spec.origin:
        raise EngineError("the package chdb is not installed (run ./surge once, it installs it)")
    version = importlib.metadata.version("chdb-core")
    return Binary(Kind.WHEEL, Path(sys.executable), version)


class ClickhouseEngine(Engine):
    name = "clickhouse"

    @property
    def url(self) -> str:
        return f"clickhouse://default:{self.password}@{LOOPBACK}:{self.port}/default"

    def ping(self) -> None:
        socket.create_connection((LOOPBACK, self.port), timeout=1).close()  # the driver logs each refusal at length
        client = Client.from_url(f"{self.url}?connect_timeout=3&send_receive_timeout=10")
        try:
            client.execute("SELECT 1")
        finally:
            client.disconnect()

    def make_process(self) -> ChildProcess:
        folder = self.var_dir / "engines" / f"clickhouse-{self.kind}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = self._bridge(folder) if self.kind is Kind.WHEEL else self._server(folder)
        log_path = self.var_dir / "log" / "clickhouse.log"
        return ChildProcess(self.name, command, log_path, folder=PROJECT, stop_timeout_s=20)

    def _bridge(self, folder: Path) -> list[str]:
        bridge = [sys.executable, "-m", "surge_site.engines.clickhouse_bridge", "--path", str(folder / "data")]
        return [*bridge, "--port", str(self.port), "--password-file", str(secret_path(self.var_dir, self.name))]

    def _server(self, folder: Path) -> list[str]:
        config = folder / "config.xml"
        password_hash = hashlib.sha256(self.password.encode()).hexdigest()
        values = {"host": LOOPBACK, "port": self.port, "folder": folder, "password_hash": password_hash}
        file_write_private(config, CONFIG.format(**values))
        return [*_server(self.binary.path), f"--config-file={config}"]


def _server(path: Path) -> list[str]:
    return [str(path)] if path.name == "clickhouse-server" else [str(path), "server"]
