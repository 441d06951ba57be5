"""The listener: a thread for each client, and an orderly end."""

import ipaddress
import logging
import os
import select
import socket
import threading
import time

from surge_site.engines.clickhouse_bridge.cancel_watch import CancelWatch
from surge_site.engines.clickhouse_bridge.channel import Channel
from surge_site.engines.clickhouse_bridge.connection import Connection, House
from surge_site.engines.clickhouse_bridge.engine import Engine
from surge_site.engines.clickhouse_bridge.errors import BridgeRefused
from surge_site.engines.clickhouse_bridge.handshake import Credentials

logger = logging.getLogger(__name__)
MAX_CLIENTS = 200
GRACE_S = 5.0  # how long a running query may take to end by itself when the server stops
ABORT_S = 5.0  # and how long its interruption may take
_LOOK_EVERY_S = 0.05


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 lets the system choose. Refuses an address outside of this machine."""
    address = _loopback(host)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
        listener.listen(MAX_CLIENTS)
    except OSError as failure:
        listener.close()
        raise BridgeRefused(
            f"Port {port} of {host} cannot be used ({failure.strerror}). Give --port another one, or 0 to choose."
        ) from None
    return listener


def _loopback(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise BridgeRefused(f"{host} is no IP address. Use --host 127.0.0.1.") from None
    if not address.is_loopback:
        raise BridgeRefused(
            f"{host} can be reached from other machines; the bridge serves this machine only. Use --host 127.0.0.1."
        )
    return address


class BridgeServer:
    def __init__(self, engine: Engine, listener: socket.socket, credentials: Credentials) -> None:
        self._engine = engine
        self._listener = listener
        self._closing = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        self._threads: dict[threading.Thread, Connection] = {}
        self._watch = CancelWatch()
        self._house = House(engine, credentials, self._watch, self._is_full, self._closing.is_set)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def stop(self) -> None:
        """Ask for the end; safe inside a signal handler."""
        os.write(self._wake_write, b"x")

    def serve(self) -> None:
        """Take in clients until `stop`; then let running queries end, and leave."""
        self._watch.start()
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while self._wake_read not in dict(poll.poll()):
            self._take_in()
        self._leave()

    def _is_full(self) -> bool:
        return len(self._living()) > MAX_CLIENTS

    def _living(self) -> dict[threading.Thread, Connection]:
        return {thread: one for thread, one in self._threads.copy().items() if thread.is_alive()}

    def _take_in(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as failure:  # it left again, or this process has no file handles left
            logger.warning("A client could not be taken in: %s", failure)
            self._closing.wait(_LOOK_EVERY_S)
            return
        connection = Connection(Channel(client), self._house)
        thread = threading.Thread(target=connection.serve, name="client", daemon=True)
        self._threads = {**self._living(), thread: connection}
        thread.start()

    def _leave(self) -> None:
        self._closing.set()
        self._listener.close()
        grace_end = time.monotonic() + GRACE_S
        while (living := self._living()) and time.monotonic() < grace_end + ABORT_S:
            for connection in living.values():
                self._urge(connection, is_late=time.monotonic() > grace_end)
            next(iter(living)).join(_LOOK_EVERY_S)
        self._watch.stop()
        if self._living():
            logger.warning("Some queries could not be stopped: they are left behind")
        else:
            self._engine.close()

    def _urge(self, connection: Connection, is_late: bool) -> None:
        if not connection.is_busy:
            connection.hang_up()
        elif is_late:
            connection.interrupt("The server is shutting down: send the query again when it is back")
