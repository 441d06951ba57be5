"""Cross-validation for labels that have a life: no training label may touch a test block."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PurgedKFold:
    """Contiguous time blocks as test sets; training labels that meet a block's closed span are dropped.

    The block spans from the first start to the *last end* of its labels. Training rows that start within
    `embargo_ns` after that span are dropped too. Blocks hold equal numbers of unique time stamps, so rows of
    one moment (a panel of symbols) never end up on both sides.
    """

    n_splits: int
    embargo_ns: int = 0

    def split(self, t0_ns: np.ndarray, t1_ns: np.ndarray) -> Iterator[Split]:
        for test in time_blocks(t0_ns, t1_ns, self.n_splits):
            yield _checked(purged_train(t0_ns, t1_ns, [test], self.embargo_ns), test)


@dataclass(frozen=True)
class WalkForward:
    """Train on the past only: every training label ends more than `embargo_ns` before its test block starts."""

    n_splits: int
    embargo_ns: int = 0

    def split(self, t0_ns: np.ndarray, t1_ns: np.ndarray) -> Iterator[Split]:
        for test in time_blocks(t0_ns, t1_ns, self.n_splits + 1)[1:]:
            yield _checked(np.flatnonzero(t1_ns + self.embargo_ns < t0_ns[test].min()), test)


def time_blocks(t0_ns: np.ndarray, t1_ns: np.ndarray, n_blocks: int) -> list[np.ndarray]:
    """Return row indices of `n_blocks` consecutive blocks of equally many unique start times."""
    if np.any(t1_ns < t0_ns):
        raise ValueError("A label ends before it starts: t1_ns must not be below t0_ns.")
    stamps = np.unique(t0_ns)
    if n_blocks < 2 or len(stamps) < n_blocks:
        raise ValueError(f"{len(stamps)} moments cannot be split into {n_blocks} blocks (at least 2): use more data.")
    edges = [part[0] for part in np.array_split(stamps, n_blocks)]
    block = np.searchsorted(edges, t0_ns, side="right") - 1
    return [np.flatnonzero(block == i) for i in range(n_blocks)]


def purged_train(t0_ns: np.ndarray, t1_ns: np.ndarray, tests: list[np.ndarray], embargo_ns: int) -> np.ndarray:
    """Return the rows whose lives touch none of the test blocks, nor start in the embargo after one."""
    keep = np.ones(len(t0_ns), bool)
    for test in tests:
        start, end = t0_ns[test].min(), t1_ns[test].max()
        keep &= (t1_ns < start) | (t0_ns > end + embargo_ns)
        keep[test] = False
    return np.flatnonzero(keep)


def _checked(train: np.ndarray, test: np.ndarray) -> Split:
    if len(train) == 0:
        raise ValueError("Purging left no training rows: use more data, fewer folds, or a shorter horizon.")
    return train, test
