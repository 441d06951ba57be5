"""The files of a running system (var/run) and the sweep of what a dead run left behind."""

import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surge_site.engines.record import file_write_private

RUN_VARIABLE = "SURGE_RUN"  # every child of one `up` carries its token, and so do the children's children


@dataclass(frozen=True)
class RunFolder:
    var_dir: Path

    @property
    def _folder(self) -> Path:
        return self.var_dir / "run"

    @property
    def ready(self) -> Path:
        return self._folder / "engines.ready.json"

    @property
    def failure(self) -> Path:
        return self._folder / "engines.failure.txt"

    @property
    def keeper_lock(self) -> Path:
        return self._folder / "keeper.lock"

    @property
    def users_lock(self) -> Path:
        return self._folder / "users.lock"

    @property
    def starting_lock(self) -> Path:
        return self._folder / "starting.lock"

    @property
    def up_lock(self) -> Path:
        return self._folder / "up.lock"

    @property
    def up(self) -> Path:
        return self._folder / "up.json"

    def up_write(self, **facts: Any) -> None:
        file_write_private(self.up, json.dumps(facts))

    def up_read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.up.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def run_sweep(folder: RunFolder, patience_s: float = 5.0) -> int:
    """End every process of the last `up` that still runs; they were asked to stop when `up` died."""
    token = folder.up_read().get("run")
    left = _processes_of(token) if token else []
    for pid in left:
        _end(pid, patience_s)
    folder.up.unlink(missing_ok=True)
    return len(left)


def _processes_of(token: str) -> list[int]:
    wanted = f"{RUN_VARIABLE}={token}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it ended meanwhile, or belongs to another user
            continue
    return found


def _end(pid: int, patience_s: float) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([handle], [], [], patience_s)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
