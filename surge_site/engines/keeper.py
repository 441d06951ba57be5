"""The process that owns the engines: starts them, restarts a crashed one, stops them when their last user has gone.

Users hold a shared lock (see lease.py). The kernel frees it whatever becomes of a user, so nothing is left behind
after a kill -9; then the keeper also ends what the dead run left running.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from surge_site.config import EngineChoice
from surge_site.engines.choice import MAKERS, engine_make
from surge_site.engines.engine import Engine, EngineError, log
from surge_site.engines.lock import FileLock
from surge_site.engines.record import file_write_private
from surge_site.engines.run_file import RunFolder, run_sweep
from surge_site.log_line import LineFormatter

LOOK_EVERY_S = 0.3
LONGEST_BACKOFF_S = 30.0


class Keeper:
    def __init__(self, folder: RunFolder, engines: list[Engine]) -> None:
        self.folder = folder
        self.engines = engines
        self.stopping = threading.Event()
        self.failures: dict[str, int] = {}
        self.retry_at: dict[str, float] = {}

    def start(self) -> None:
        for engine in self.engines:
            engine.begin()
        for engine in self.engines:
            engine.wait_ready()
        self._publish()

    def run(self, users: FileLock) -> None:
        threading.Thread(target=self._wait_for_last_user, args=[users], daemon=True).start()
        while not self.stopping.wait(LOOK_EVERY_S):
            for engine in self.engines:
                self._revive(engine)

    def _wait_for_last_user(self, users: FileLock) -> None:
        users.exclusive()  # granted when no user is left; held to the end, so that newcomers wait
        log.info("The last user has gone: stopping the engines")
        self.stopping.set()

    def stop(self) -> None:
        self.folder.ready.unlink(missing_ok=True)
        run_sweep(self.folder)
        for engine in self.engines:
            if engine.process:
                engine.process.ask_to_stop()
        for engine in self.engines:
            engine.stop()

    def _revive(self, engine: Engine) -> None:
        if engine.process is None or engine.process.is_running or time.monotonic() < self.retry_at.get(engine.name, 0):
            return
        failures = self.failures[engine.name] = self.failures.get(engine.name, 0) + 1
        self.retry_at[engine.name] = time.monotonic() + min(LONGEST_BACKOFF_S, 0.5 * 2**failures)
        log.warning("%s stopped (exit code %s): starting it again", engine.name, engine.process.exit_code)
        try:
            engine.start()
            self._publish()
        except (EngineError, OSError) as error:
            log.error("%s", error)

    def _publish(self) -> None:
        facts = {e.name: {"kind": e.kind.value, "version": e.version, "url": e.url} for e in self.engines}
        file_write_private(self.folder.ready, json.dumps({"pid": os.getpid(), "engines": facts}))


def main() -> int:
    arguments = _arguments()
    folder = RunFolder(arguments.var)
    logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stderr)])
    logging.getLogger().handlers[0].setFormatter(LineFormatter())
    own, users = FileLock(folder.keeper_lock), FileLock(folder.users_lock)
    own.exclusive()  # at once, unless somebody is just looking whether a keeper runs
    folder.failure.unlink(missing_ok=True)
    keeper = None
    try:
        choice = EngineChoice(arguments.choice)
        keeper = Keeper(folder, [engine_make(n, choice, arguments.var) for n in MAKERS if n in arguments.engines])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: keeper.stopping.set())
        keeper.start()
        keeper.run(users)
    except (EngineError, OSError) as error:
        log.error("%s", error)
        file_write_private(folder.failure, str(error))
        return 1
    finally:
        if keeper:
            keeper.stop()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Own the engines while somebody uses them")
    parser.add_argument("--var", type=Path, required=True)
    parser.add_argument("--choice", default="auto")
    parser.add_argument("--engines", nargs="*", default=[], choices=list(MAKERS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
