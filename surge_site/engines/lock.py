"""File locks that the kernel frees when their process dies, however it dies."""

import fcntl
import os
from pathlib import Path


class FileLock:
    """One open file; `shared` for users, `exclusive` for the one owner."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def shared(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def exclusive(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "FileLock":
        self.exclusive()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
