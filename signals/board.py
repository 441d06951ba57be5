"""What the board says at a given moment: rows with their true age, their order, and the state of the whole."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from signals.formats import is_number

STALE_AFTER_MS = 5_000.0
"""A row this old is no longer live, whatever it said when it was written."""

Row = dict[str, Any]


class Board(NamedTuple):
    """All rows, most probable first, and what a reader must know before trusting them."""

    rows: list[Row]
    state: str  # live | warming | stale | empty
    age_ms: float | None
    live: int
    warming: int
    stale: int

    @property
    def top(self) -> Row | None:
        return next((row for row in self.rows if row["state"] == "live" and is_number(row["p"])), None)


def row_now(row: Mapping[str, Any], now_ns: int) -> Row:
    """Return the row aged to `now_ns`: rows are written with the age they had at their own tick."""
    waited_ms = max(0.0, (now_ns - int(row["tick_ns"])) / 1e6)
    age_ms = waited_ms + (row.get("age_ms") or 0.0)
    state = "stale" if waited_ms > STALE_AFTER_MS else row["state"]
    return {**row, "age_ms": age_ms, "state": state}


def by_probability(row: Mapping[str, Any]) -> tuple[float, str]:
    p = row.get("p")
    return (-p if is_number(p) else 1.0, row["symbol"])


def board_now(rows: Iterable[Mapping[str, Any]], now_ns: int) -> Board:
    """Return the board as it stands at `now_ns`."""
    aged = sorted((row_now(row, now_ns) for row in rows), key=by_probability)
    counts = {state: sum(row["state"] == state for row in aged) for state in ("live", "warming", "stale")}
    ticks = [int(row["tick_ns"]) for row in aged]
    age_ms = max(0.0, (now_ns - max(ticks)) / 1e6) if ticks else None
    return Board(aged, _state(counts, len(aged)), age_ms, **counts)


def _state(counts: Mapping[str, int], total: int) -> str:
    if total == 0:
        return "empty"
    if counts["stale"] == total:
        return "stale"
    return "live" if counts["live"] else "warming"
