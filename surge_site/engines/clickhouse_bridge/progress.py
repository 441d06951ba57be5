"""How far a query is: the engine counts from its start, a client wants what was added since the last packet."""

from collections.abc import Mapping
from contextlib import suppress

from surge_site.engines.clickhouse_bridge.channel import Channel

_READ = ("read_rows", "read_bytes", "total_rows_to_read", "total_bytes_to_read")
_WRITTEN = ("written_rows", "written_bytes")
_ELAPSED = "elapsed_ns"
_FIELDS = (*_READ, *_WRITTEN, _ELAPSED)


class ProgressReport:
    """Called by the engine, in the thread of the query, about ten times a second."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._told = dict.fromkeys(_FIELDS, 0)

    def __call__(self, values: Mapping[str, int]) -> None:
        added = {name: max(0, values[name] - told) for name, told in self._told.items()}
        self._told = {name: max(values[name], told) for name, told in self._told.items()}
        if any(added[name] for name in (*_READ, *_WRITTEN)):
            read, written = [added[name] for name in _READ], [added[name] for name in _WRITTEN]
            with suppress(OSError):  # the client has left: the query's own answer will notice
                self._channel.send_progress(read, written, added[_ELAPSED])
