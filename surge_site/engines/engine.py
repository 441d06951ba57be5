"""What all three engines share: where they come from, how they start, when they count as ready."""

import logging
import re
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from surge_site.engines.ports import port_choose
from surge_site.engines.process import ChildProcess
from surge_site.engines.record import EngineRecord, secret_get

log = logging.getLogger("surge.engines")
POLL_S = 0.02


class Kind(StrEnum):
    URL = "url"
    SYSTEM = "system"
    WHEEL = "wheel"


class EngineError(Exception):
    """An engine cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Binary:
    """A server program that is new enough, and where it came from."""

    kind: Kind
    path: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.split(".")[0]


class Engine(ABC):
    """An own loopback instance of one engine: `begin`, `wait_ready`, `stop`."""

    name: str
    ready_timeout_s = 60.0

    def __init__(self, binary: Binary, var_dir: Path, *, durable: bool = True) -> None:
        self.binary = binary
        self.var_dir = var_dir
        self.durable = durable  # False only in tests: no flush to disk
        self.record = EngineRecord(var_dir, self.name)
        self.password = secret_get(var_dir, self.name)
        self.port = 0
        self.process: ChildProcess | None = None

    @property
    def kind(self) -> Kind:
        return self.binary.kind

    @property
    def version(self) -> str:
        return self.binary.version

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def make_process(self) -> ChildProcess:
        """Prepare the data folder and return the child that serves it."""

    @abstractmethod
    def ping(self) -> None:
        """Make one real connection and ask one question; raise while the engine is not ready."""

    def start(self) -> None:
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Choose the port and start the server without waiting for it."""
        self.port = port_choose(self.port or self.record.get("port"), self.record.ports_of_others())
        self.record.update(port=self.port, kind=self.kind.value, version=self.version)
        self.process = self.make_process()
        self.process.start()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + self.ready_timeout_s
        while (reason := self._not_ready()) is not None:
            assert self.process is not None
            if not self.process.is_running:
                raise EngineError(self._sentence(f"stopped at once (exit code {self.process.exit_code})"))
            if time.monotonic() > deadline:
                self.stop()
                raise EngineError(self._sentence(f"gave no answer in {self.ready_timeout_s:.0f} s ({reason})"))
            threading.Event().wait(POLL_S)
        log.info("%s %s is ready (%s, port %d)", self.name, self.version, self.kind, self.port)

    def stop(self) -> None:
        if self.process:
            self.process.stop()

    def _not_ready(self) -> str | None:
        try:
            self.ping()
        except Exception as error:  # each driver has its own tree of exceptions, and all mean "not yet"
            return f"{type(error).__name__}: {error}".splitlines()[0]
        return None

    def _sentence(self, what: str) -> str:
        assert self.process is not None
        return f"{self.name} {what}. Last lines of {self.process.log_path}:\n{self.process.last_lines()}"


def program_find(*names: str, folders: tuple[str, ...] = ("/usr/local/bin", "/usr/bin", "/usr/sbin")) -> Path | None:
    """Find a program on PATH or in the usual folders (services often run with a short PATH)."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path=":".join(folders))
        if found:
            return Path(found).resolve()
    return None


def program_version(command: list[str], pattern: str = r"(\d+(?:\.\d+)+)") -> str | None:
    """Ask a program for its version; None when it cannot even say that."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, answer.stdout + answer.stderr)
    return found.group(1) if found else None


def version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
