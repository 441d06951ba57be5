"""Free loopback ports, chosen once and remembered."""

import random
import socket
from collections.abc import Container

LOOPBACK = "127.0.0.1"
PORT_RANGE = range(20_000, 32_000)  # below Linux's ephemeral range, so no outgoing connection takes one meanwhile


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def port_choose(remembered: int | None = None, taken: Container[int] = ()) -> int:
    """Return the remembered port while it is free, else another free one."""
    if remembered and remembered not in taken and port_is_free(remembered):
        return remembered
    for port in random.sample(PORT_RANGE, 200):
        if port not in taken and port_is_free(port):
            return port
    raise OSError(f"No free port between {PORT_RANGE.start} and {PORT_RANGE.stop}: stop some programs and try again.")


def port_next(first: int, tries: int = 100) -> int:
    """Return the first free port from `first` upwards: people like round numbers."""
    for port in range(first, first + tries):
        if port_is_free(port):
            return port
    raise OSError(f"No free port between {first} and {first + tries}: choose another with --port.")
