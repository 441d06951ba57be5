"""One child process: its log file, its start on a leash, its stop in good order."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
LOG_LIMIT_BYTES = 20_000_000


@dataclass(frozen=True)
class SystemUser:
    uid: int
    gid: int


@dataclass
class ChildProcess:
    """A program in its own session; it dies with us, and `stop` leaves nothing of its group behind."""

    name: str
    command: list[str]
    log_path: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: SystemUser | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    folder: Path | None = None
    shows_errors: bool = False  # stderr goes to ours: for a child whose progress a person watches
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        user = self.user or SystemUser(-1, -1)
        leash = [sys.executable, "-I", "-S", str(LEASH), str(int(self.stop_signal)), str(user.uid), str(user.gid)]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._rotate_log()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*leash, str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=None if self.shows_errors else subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """None while the program runs (or was never started)."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ask_to_stop(self) -> None:
        if self._process and self.is_running:
            self._process.send_signal(self.stop_signal)

    def stop(self) -> None:
        if not self._process:
            return
        self.ask_to_stop()
        try:
            self._process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in the group: the usual case
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def last_lines(self, count: int = 12) -> str:
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - 20_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])

    def _rotate_log(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
