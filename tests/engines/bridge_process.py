"""A real bridge process for tests, and clients of it."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from clickhouse_driver import Client

PROJECT = Path(__file__).resolve().parents[2]
MODULE = "surge_site.engines.clickhouse_bridge"
PASSWORD = "p@ss w/rd'"


@dataclass
class BridgeProcess:
    """One bridge on `folder`/data; `start` returns when clients may come."""

    folder: Path
    port: int = 0
    process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    def start(self, *more: str) -> "BridgeProcess":
        with self.log_path.open("a") as log:  # a pipe that nobody reads would fill and stop the process
            self.process = bridge_popen(*self.arguments(), *more, errors=log)
        assert self.process.stdout is not None
        word, _, number = self.process.stdout.readline().partition(" ")
        assert word == "ready", self.log_path.read_text()
        self.port = int(number)
        return self

    @property
    def log_path(self) -> Path:
        return self.folder / "bridge.log"

    def arguments(self) -> list[str]:
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD + "\n", encoding="utf-8")
        password_file.chmod(0o600)
        return ["--path", str(self.folder / "data"), "--password-file", str(password_file), "--log-level", "debug"]

    def client(self, **options: Any) -> Client:
        return Client(**{"host": "127.0.0.1", "port": self.port, "password": PASSWORD, **options})

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def close(self) -> None:
        """End it however the test left it."""
        if self.process is not None and self.process.poll() is None:
            self.stop(signal.SIGKILL)


def bridge_popen(*arguments: str, errors: IO[str] | int = subprocess.PIPE) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments],
        cwd=PROJECT,
        env={**os.environ, "TZ": "Asia/Tokyo"},  # must not matter
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def bridge_refusal(*arguments: str) -> tuple[int, str]:
    """Start a bridge that should refuse to; return its exit code and what it said."""
    process = bridge_popen(*arguments)
    output, errors = process.communicate(timeout=30)
    assert not output
    return process.returncode, errors
