"""`python -m surge_site.engines.clickhouse_bridge --path DIR --port N --password-file FILE`

Prints `ready PORT` when clients may come. SIGTERM or SIGINT stops it in good order (exit code 0); the data
survives kill -9. Exit code 2 means that it could not start, and the last line on stderr says why.
"""

import argparse
import faulthandler
import logging
import os
import signal
import stat
import sys
from pathlib import Path

from surge_site.engines.clickhouse_bridge.engine import Engine
from surge_site.engines.clickhouse_bridge.errors import BridgeRefused
from surge_site.engines.clickhouse_bridge.handshake import Credentials
from surge_site.engines.clickhouse_bridge.server import BridgeServer, listen

logger = logging.getLogger("clickhouse_bridge")


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    os.environ["TZ"] = "UTC"  # what the server calls its own zone must not depend on the machine
    try:
        return _serve(arguments)
    except BridgeRefused as refusal:
        print(refusal, file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("clickhouse_bridge", description="ClickHouse's native protocol before chdb.")
    parser.add_argument("--path", type=Path, required=True, help="folder of the data; one process per folder")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose (default)")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine only (default 127.0.0.1)")
    parser.add_argument("--user", default="default", help="the only user (default: default)")
    parser.add_argument("--password-file", type=Path, required=True, help="file with the password, for your eyes only")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args()


def _serve(arguments: argparse.Namespace) -> int:
    credentials = Credentials(arguments.user, _password(arguments.password_file))
    listener = listen(arguments.host, arguments.port)
    server = BridgeServer(Engine(arguments.path.resolve()), listener, credentials)
    _crash_at_once()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    logger.info("serving %s on %s:%s", arguments.path, arguments.host, server.port)
    print(f"ready {server.port}", flush=True)
    server.serve()
    logger.info("stopped")
    return 0


def _crash_at_once() -> None:
    """chdb catches fatal signals and then hangs for ever; a dead process is noticed and started again."""
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS):
        signal.signal(number, signal.SIG_DFL)
    faulthandler.enable()


def _password(path: Path) -> str:
    try:
        password = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as failure:
        raise BridgeRefused(f"The password file {path} cannot be read: {failure}") from None
    if not password:
        raise BridgeRefused(f"The password file {path} is empty. Write a password into it.")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BridgeRefused(f"Others may read the password file {path}. Run: chmod 600 {path}")
    return password


if __name__ == "__main__":
    sys.exit(main())
