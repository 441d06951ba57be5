"""Using the engines: join the keeper that runs, or start one; leave, and the last to leave turns them off."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from surge_site.config import OWN_ENGINES_VARIABLE, PROJECT, EngineChoice, SurgeConfig
from surge_site.engines.engine import EngineError
from surge_site.engines.lock import FileLock
from surge_site.engines.probe import engine_probe
from surge_site.engines.run_file import RunFolder

log = logging.getLogger("surge.engines")
SETTING_OF = {"postgres": "database_url", "redis": "redis_url", "clickhouse": "clickhouse_url"}
START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class EngineFacts:
    """Where one engine is and what it is."""

    kind: str
    version: str
    url: str


class EngineLease:
    """While this is open, all engines of the configuration answer; `facts` says where."""

    current: ClassVar["EngineLease | None"] = None

    def __init__(self, config: SurgeConfig, *, as_warden: bool = False) -> None:
        self.config = config
        self.as_warden = as_warden  # a keeper even without own engines: it also sweeps up after a killed `up`
        self.folder = RunFolder(config.var_dir)
        self.facts: dict[str, EngineFacts] = {}
        self._users: FileLock | None = None

    @property
    def own(self) -> list[str]:
        """The engines we start ourselves: those without a URL, or all when a kind is forced."""
        forced = self.config.engines in (EngineChoice.WHEEL, EngineChoice.SYSTEM)
        return [name for name, setting in SETTING_OF.items() if forced or not getattr(self.config, setting)]

    @property
    def settings(self) -> dict[str, str]:
        return {SETTING_OF[name]: self.facts[name].url for name in self.own}

    def open(self) -> None:
        for name in SETTING_OF.keys() - set(self.own):
            url = getattr(self.config, SETTING_OF[name])
            self.facts[name] = EngineFacts("url", engine_probe(name, url) if self.as_warden else "", url)
        if self.own or self.as_warden:
            self._users = FileLock(self.folder.users_lock)
            self._users.shared()  # waits while a keeper is stopping
            self.ensure()
        EngineLease.current = self

    def ensure(self) -> None:
        """Join the keeper, or start one when there is none (any more)."""
        with FileLock(self.folder.starting_lock):
            found = self._join() or self._start()
        for name, facts in found.items():
            self.facts[name] = EngineFacts(facts["kind"], facts["version"], self._for_mode(name, facts["url"]))
        os.environ[OWN_ENGINES_VARIABLE] = json.dumps(self.settings)

    def close(self) -> None:
        """Leave; the last user waits until the engines have stopped."""
        os.environ.pop(OWN_ENGINES_VARIABLE, None)
        EngineLease.current = None
        if self._users is None:
            return
        self._users.close()
        self._users = None
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._is_stopping() and time.monotonic() < deadline:
            threading.Event().wait(0.02)

    def _is_stopping(self) -> bool:
        """Does the keeper run without users? It holds their lock alone then, or is about to take it."""
        users = FileLock(self.folder.users_lock)
        try:
            return self.is_kept() and (users.try_exclusive() or not users.try_shared())
        finally:
            users.close()

    def is_kept(self) -> bool:
        """Is the keeper still there?"""
        lock = FileLock(self.folder.keeper_lock)
        try:
            return not lock.try_exclusive()
        finally:
            lock.close()

    def _join(self) -> dict[str, Any] | None:
        if not self.is_kept() or not self.folder.ready.exists():
            return None
        found: dict[str, Any] = json.loads(self.folder.ready.read_text())["engines"]
        wrong = [name for name in self.own if name not in found or not self._fits(found[name]["kind"])]
        if wrong:
            raise EngineError(
                f"Other engines than wanted are running for {self.folder.var_dir} (asked for "
                f"SURGE_ENGINES={self.config.engines}): stop the other ./surge first, or set SURGE_VAR_DIR."
            )
        return {name: found[name] for name in self.own}

    def _fits(self, kind: str) -> bool:
        return self.config.engines in (EngineChoice.AUTO, EngineChoice.URL, kind)

    def _start(self) -> dict[str, Any]:
        keeper = self._spawn()
        deadline = time.monotonic() + START_TIMEOUT_S
        while keeper.poll() is None and time.monotonic() < deadline:
            if self._is_ready(keeper.pid):
                threading.Thread(target=keeper.wait, daemon=True).start()  # so that it is no zombie when it ends first
                found: dict[str, Any] = json.loads(self.folder.ready.read_text())["engines"]
                return found
            threading.Event().wait(0.02)
        keeper.terminate()
        reason = self.folder.failure.read_text() if self.folder.failure.exists() else "no answer"
        raise EngineError(f"{reason}\nMore is in {self._log_path}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.folder.ready.unlink(missing_ok=True)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "surge_site.engines.keeper", "--var", str(self.folder.var_dir)]
        command += ["--choice", self.config.engines.value, "--engines", *self.own]
        with self._log_path.open("ab") as log_file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                start_new_session=True,  # Ctrl-C reaches its users first
            )

    def _is_ready(self, pid: int) -> bool:
        try:
            return bool(json.loads(self.folder.ready.read_text())["pid"] == pid)
        except FileNotFoundError:
            return False

    @property
    def _log_path(self) -> Path:
        return self.folder.var_dir / "log" / "engines.log"

    def _for_mode(self, name: str, url: str) -> str:
        return f"{url}_{self.config.mode}" if name == "postgres" else url

    def __enter__(self) -> "EngineLease":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
