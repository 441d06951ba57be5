"""How good probabilities are: ranking, calibration and betting value, each with an interval from whole events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from modeling.calibration import pool_adjacent_violators


class Interval(NamedTuple):
    value: float
    low: float
    high: float


@njit(cache=True)
def _average_precision_sorted(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    """`p` falling; equal scores count as one threshold."""
    total = 0.0
    for i in range(len(y)):
        total += weight[i] * y[i]
    hits = seen = area = 0.0
    i = 0
    while i < len(y):
        gained = 0.0
        tie = i
        while tie < len(y) and p[tie] == p[i]:
            gained += weight[tie] * y[tie]
            seen += weight[tie]
            tie += 1
        hits += gained
        if seen > 0.0:
            area += gained * hits / seen
        i = tie
    return area / total if total > 0.0 else np.nan


@njit(cache=True)
def _roc_auc_sorted(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    """`p` falling; a tie counts half."""
    above = positives = pairs = 0.0
    i = 0
    while i < len(y):
        up = down = 0.0
        tie = i
        while tie < len(y) and p[tie] == p[i]:
            up += weight[tie] * y[tie]
            down += weight[tie] * (1.0 - y[tie])
            tie += 1
        pairs += down * (above + 0.5 * up)
        above += up
        positives += down
        i = tie
    return pairs / (above * positives) if above > 0.0 and positives > 0.0 else np.nan


def _by_falling_score(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-p, kind="stable")
    return y[order].astype(np.float64), p[order], weight[order]


def average_precision(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    return float(_average_precision_sorted(*_by_falling_score(y, p, weight)))


def roc_auc(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    return float(_roc_auc_sorted(*_by_falling_score(y, p, weight)))


def brier_score(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average((p - y) ** 2, weights=weight))


def log_loss(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> float:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return float(-np.average(np.where(y > 0.5, np.log(p), np.log(1 - p)), weights=weight))


def expected_calibration_error(
    y: np.ndarray, p: np.ndarray, weight: np.ndarray, n_bins: int = 15, equal_width: bool = False
) -> float:
    """Return the mean gap between promised and seen share over bins of equally many rows (or equal width)."""
    table = reliability_table(y, p, weight, n_bins, equal_width)
    return float(
        np.average([abs(row["promised"] - row["seen"]) for row in table], weights=[r["weight"] for r in table])
    )


def reliability_table(
    y: np.ndarray, p: np.ndarray, weight: np.ndarray, n_bins: int = 15, equal_width: bool = False
) -> list[dict[str, float]]:
    order = np.argsort(p, kind="stable")
    edges = np.searchsorted(p[order], np.arange(1, n_bins) / n_bins) if equal_width else n_bins
    parts = [part for part in np.array_split(order, edges) if weight[part].sum() > 0]
    return [_reliability_row(y[part], p[part], weight[part]) for part in parts]


def _reliability_row(y: np.ndarray, p: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    promised, seen = np.average(p, weights=weight), np.average(y, weights=weight)
    return {"promised": float(promised), "seen": float(seen), "rows": len(p), "weight": float(weight.sum())}


def corp_decomposition(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Split the Brier score into miscalibration, discrimination and uncertainty: brier = mcb - dsc + unc.

    Dimitriadis, Gneiting & Jordan (2021), "Stable reliability diagrams", PNAS 118(8).
    """
    values, tie = np.unique(p, return_inverse=True)
    mass = np.bincount(tie).astype(np.float64)
    level, pool = pool_adjacent_violators(np.bincount(tie, y, len(values)) / mass, mass)
    brier, recalibrated = np.mean((p - y) ** 2), np.mean((level[pool][tie] - y) ** 2)
    uncertainty = np.mean((y.mean() - y) ** 2)
    return {
        "mcb": float(brier - recalibrated),
        "dsc": float(uncertainty - recalibrated),
        "unc": float(uncertainty),
    }


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "ap": average_precision,
    "auc": roc_auc,
    "brier": brier_score,
    "logloss": log_loss,
    "ece": expected_calibration_error,
}


def event_clusters(
    symbol: np.ndarray, t0_ns: np.ndarray, t1_ns: np.ndarray, positive: np.ndarray, block_ns: int
) -> tuple[np.ndarray, int]:
    """Give each row the cluster it is resampled with, and count the events.

    Positive rows of one symbol whose lives touch are one event. The other rows share a cluster with their
    neighbours of the same symbol and the same `block_ns` of time.
    """
    cluster = np.empty(len(t0_ns), np.int64)
    events = 0
    for each in np.unique(symbol):
        rows = np.flatnonzero((symbol == each) & positive)
        rows = rows[np.argsort(t0_ns[rows], kind="stable")]
        if len(rows):
            reach = np.maximum.accumulate(t1_ns[rows])
            begins = np.r_[True, t0_ns[rows][1:] > reach[:-1]]
            cluster[rows] = events + np.cumsum(begins) - 1
            events += int(begins.sum())
    quiet = np.flatnonzero(~positive)
    block = t0_ns[quiet] // block_ns
    _, tag = np.unique(np.column_stack([symbol[quiet], block]), axis=0, return_inverse=True)
    cluster[quiet] = events + tag.ravel()
    return cluster, events


@dataclass(frozen=True)
class ClusterBootstrap:
    """Resamples whole clusters; every score sees the same draws, so differences between scores are paired."""

    cluster: np.ndarray
    counts: np.ndarray  # (draws, clusters): how often each cluster was drawn

    @classmethod
    def of(cls, cluster: np.ndarray, draws: int, seed: int) -> "ClusterBootstrap":
        n = int(cluster.max()) + 1
        rng = np.random.default_rng(seed)
        return cls(cluster, rng.multinomial(n, np.full(n, 1.0 / n), size=draws))

    def draws(self, name: str, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Return the metric `name` on each draw."""
        order = np.argsort(-p, kind="stable")
        ys, ps, cluster = y[order].astype(np.float64), p[order], self.cluster[order]
        metric = {"ap": _average_precision_sorted, "auc": _roc_auc_sorted}.get(name, METRICS.get(name))
        if metric is None:
            raise ValueError(f"Unknown metric {name!r}: use one of {', '.join(METRICS)}.")
        return np.array([metric(ys, ps, count[cluster].astype(np.float64)) for count in self.counts])


def interval(value: float, draws: np.ndarray, level: float = 0.95) -> Interval:
    tail = (1.0 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
