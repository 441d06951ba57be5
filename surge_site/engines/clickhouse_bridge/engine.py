"""The one chdb of this process: opened on a folder that is locked, asked for sessions, closed at the end."""

import fcntl
import itertools
import logging
import os
import re
import threading
from pathlib import Path
from typing import IO, Any

from surge_site.engines.clickhouse_bridge.errors import BridgeRefused, ServerError
from surge_site.engines.clickhouse_bridge.handshake import Identity
from surge_site.engines.clickhouse_bridge.quoting import quoted
from surge_site.engines.clickhouse_bridge.session import EngineSession

logger = logging.getLogger(__name__)
LOCK_NAME = ".bridge.lock"
DEFAULT_DATABASE = "default"
# clickhouse-local's habits that a server has not
_SERVER_HABITS = "SET implicit_select = 0, allow_introspection_functions = 0"


class Engine:
    """Sessions over one folder; each is isolated (database, settings, temporary tables) like a server's."""

    def __init__(self, path: Path) -> None:
        self._lock_file = _lock(path)
        os.chdir(path)  # chdb takes an unknown table for a file beside it: here it finds none of ours
        self._path = path
        self._numbers = itertools.count(1)
        self._admin = self._connect()
        self._admin_lock = threading.Lock()
        self.known_settings = frozenset(self._column("SELECT name FROM system.settings"))
        self.identity = self._identity()

    def session(self, database: str) -> EngineSession:
        session = EngineSession(self._connect, self.kill, f"bridge-{next(self._numbers)}")
        try:
            session.use(database or DEFAULT_DATABASE)
        except ServerError:
            session.close()
            raise
        return session

    def kill(self, tag: str) -> None:
        """Stop what the session with this tag is doing; nothing happens when it does nothing."""
        comment = "Settings['log_comment']"
        mine = f"({comment} = {quoted(tag)} OR startsWith({comment}, {quoted(tag + ' ')}))"
        with self._admin_lock:
            self._admin.query(f"KILL QUERY WHERE {mine} ASYNC", "Null")

    def close(self) -> None:
        with self._admin_lock:
            self._admin.close()
        self._lock_file.close()

    def _connect(self) -> Any:
        # Imported late: 0.4 s and 300 MB, after the arguments were checked and the folder is ours.
        from chdb.state.sqlitelike import Connection

        try:
            connection = Connection(str(self._path))
            connection.query(_SERVER_HABITS, "Null")
        except RuntimeError as failure:
            raise BridgeRefused(f"chdb cannot open {self._path}: {failure}") from failure
        return connection

    def _column(self, sql: str) -> list[str]:
        with self._admin_lock:
            return str(self._admin.query(sql, "TSVRaw")).splitlines()

    def _identity(self) -> Identity:
        version, timezone = self._column("SELECT arrayJoin([version(), timezone()])")
        major, minor, patch = (int(number) for number in re.findall(r"\d+", version)[:3])
        return Identity((major, minor, patch), timezone)


def _lock(path: Path) -> IO[str]:
    """chdb would refuse a second process too, but only after half a second and in its own words."""
    if "?" in str(path):
        raise BridgeRefused(f"chdb cannot use a path with a question mark: {path}. Choose another folder.")
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_file = (path / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as failure:
        raise BridgeRefused(f"The folder {path} cannot be used: {failure.strerror}. Give --path another one.") from None
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.seek(0)
        owner = lock_file.read().strip() or "unknown"
        lock_file.close()
        raise BridgeRefused(
            f"Another process (pid {owner}) already serves {path}. Stop it first, or give --path another folder."
        ) from None
    lock_file.truncate(0)
    lock_file.write(str(os.getpid()))
    lock_file.flush()
    return lock_file
