"""The order-book synchronisation rules of Binance as a state machine per symbol: messages in, verdicts out, no sockets.

    WAITING --snapshot that joins the buffered diffs--> SYNCED --gap, crossed book, disconnect--> WAITING

While WAITING, diffs are buffered (and kept across further resyncs); a snapshot is asked for until one fits. Spot
chains by U and u, USD-M by pu (`reference/binance.md` E3).
"""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numba import njit

from marketdata.events import Market

MAX_BUFFERED = 10_000


class Verdict(IntEnum):
    APPLY = 0
    OLD = 1  # already contained in the book
    GAP = 2


APPLY, OLD, GAP = int(Verdict.APPLY), int(Verdict.OLD), int(Verdict.GAP)


class SyncState(NamedTuple):
    """What the compiled loop reads. synced (n,) u1; fresh (n,) u1: no diff since the snapshot; last_id (n,) int64."""

    synced: np.ndarray
    fresh: np.ndarray
    last_id: np.ndarray


def new_sync_state(n_symbols: int) -> SyncState:
    return SyncState(np.zeros(n_symbols, np.uint8), np.zeros(n_symbols, np.uint8), np.zeros(n_symbols, np.int64))


@njit(cache=True)
def judge(spot: bool, fresh: bool, book_id: int, first_id: int, last_id: int, prev_id: int) -> int:
    """Return whether a diff continues a book that stands at `book_id`: APPLY, OLD or GAP.

    Parameters
    ----------
    fresh : bool
        No diff was applied since the snapshot, so the first one may straddle it.
    """
    if spot:
        if last_id <= book_id:
            return OLD
        return GAP if first_id > book_id + 1 else APPLY
    if fresh:
        if last_id < book_id:
            return OLD
        return APPLY if first_id <= book_id or prev_id == book_id else GAP
    if last_id <= book_id:
        return OLD
    return APPLY if prev_id == book_id else GAP


class BufferedDiff(NamedTuple):
    first_id: int
    last_id: int
    prev_id: int
    n_bids: int
    prices_e8: np.ndarray
    qtys: np.ndarray


class Snapshot(NamedTuple):
    last_id: int
    n_bids: int
    prices_e8: np.ndarray
    qtys: np.ndarray


@dataclass
class BookSync:
    """The slow side of one symbol's synchronisation: buffering, joining a snapshot, counting what went wrong."""

    market: Market
    buffer: deque[BufferedDiff] = field(default_factory=lambda: deque(maxlen=MAX_BUFFERED))
    synced: bool = False
    syncs: int = 0
    gaps: int = 0
    crossed: int = 0
    disconnects: int = 0
    refused_snapshots: int = 0

    @property
    def resyncs(self) -> int:
        """Return how often the book had to be built again after its first sync."""
        return max(0, self.syncs - 1)

    def hold(self, diff: BufferedDiff) -> None:
        """Keep a diff that came while no book stands."""
        self.buffer.append(diff)

    def lose(self) -> None:
        """Give the book up; the buffer stays, a new snapshot is needed."""
        self.synced = False

    def join(self, snapshot: Snapshot) -> list[BufferedDiff] | None:
        """Return the buffered diffs to apply after `snapshot`, or None when it does not fit and another is needed.

        A diff older than the snapshot is dropped. If the diffs left do not continue the snapshot it came too early
        (or a diff is missing): those before the break are useless and dropped as well.
        """
        spot = self.market is Market.SPOT
        kept: list[BufferedDiff] = []
        book_id, fresh = snapshot.last_id, True
        for position, diff in enumerate(self.buffer):
            verdict = judge(spot, fresh, book_id, diff.first_id, diff.last_id, diff.prev_id)
            if verdict == GAP:
                self.refused_snapshots += 1
                for _ in range(position if kept else 0):
                    self.buffer.popleft()
                return None
            if verdict == APPLY:
                kept.append(diff)
                book_id, fresh = diff.last_id, False
        self.buffer.clear()
        self.synced = True
        self.syncs += 1
        return kept
