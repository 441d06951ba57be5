"""From model probability to a probability one can bet on: isotonic in large blocks, or Platt when data are few."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

LOGIT_EDGE = 1e-12
"""Probabilities are kept this far from 0 and 1 before a logit is taken."""


@dataclass(frozen=True)
class PlattCalibrator:
    """p -> sigmoid(slope * logit(p) + intercept)."""

    slope: float
    intercept: float
    kind: str = "platt"

    def apply(self, p: np.ndarray) -> np.ndarray:
        return _sigmoid(self.slope * _logit(p) + self.intercept)


@dataclass(frozen=True)
class IsotonicCalibrator:
    """A rising line through the knots, flat outside; the last knot is capped by a Wilson bound."""

    knots_x: tuple[float, ...]
    knots_y: tuple[float, ...]
    kind: str = "isotonic"

    def apply(self, p: np.ndarray) -> np.ndarray:
        # The very operations of the exported graph in the same order, so both agree to the last bit.
        x, y = np.asarray(self.knots_x), np.asarray(self.knots_y)
        p = np.clip(p, x[0], x[-1])
        right = np.clip((p[:, None] > x).sum(axis=1), 1, len(x) - 1)
        left = right - 1
        return (y[right] - y[left]) / (x[right] - x[left]) * (p - x[left]) + y[left]


Calibrator = PlattCalibrator | IsotonicCalibrator


def _sigmoid(z: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, LOGIT_EDGE, 1.0 - LOGIT_EDGE)
    return np.log(p) - np.log(1.0 - p)


def platt_fit(p: np.ndarray, y: np.ndarray, effective: np.ndarray, max_steps: int = 100) -> PlattCalibrator:
    """Fit slope and intercept by Newton steps on Platt's targets, smoothed by the effective number of rows."""
    weight = np.full(len(p), effective.sum() / len(p))
    positives, negatives = float(weight[y > 0.5].sum()), float(weight[y <= 0.5].sum())
    target = np.where(y > 0.5, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    x = np.column_stack([_logit(p), np.ones(len(p))])
    share = (positives + 1.0) / (positives + negatives + 2.0)
    beta = np.array([0.0, math.log(share / (1.0 - share))])
    loss = _platt_loss(x @ beta, target, weight)
    for _ in range(max_steps):
        step = _newton_step(x, beta, target, weight)
        while (lower := _platt_loss(x @ (beta - step), target, weight)) > loss and np.abs(step).max() > 1e-14:
            step = step / 2
        if not lower < loss:
            break
        beta, loss = beta - step, lower
    return PlattCalibrator(float(beta[0]), float(beta[1]))


def _newton_step(x: np.ndarray, beta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    q = _sigmoid(x @ beta)
    gradient = x.T @ (weight * (q - target))
    hessian = (x * (weight * q * (1.0 - q))[:, None]).T @ x + 1e-12 * np.eye(2)
    return np.linalg.solve(hessian, gradient)


def _platt_loss(z: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    return float(weight @ (np.logaddexp(0.0, z) - target * z))


@njit(cache=True)
def pool_adjacent_violators(y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the non-decreasing means nearest to `y` in weighted squares, and the pool each entry fell into."""
    n = len(y)
    mean, mass, first = np.empty(n), np.empty(n), np.empty(n, np.int64)
    pools = 0
    for i in range(n):
        mean[pools], mass[pools], first[pools] = y[i], weight[i], i
        pools += 1
        while pools > 1 and mean[pools - 2] >= mean[pools - 1]:
            total = mass[pools - 2] + mass[pools - 1]
            mean[pools - 2] = (mean[pools - 2] * mass[pools - 2] + mean[pools - 1] * mass[pools - 1]) / total
            mass[pools - 2] = total
            pools -= 1
    pool = np.empty(n, np.int64)
    for k in range(pools):
        pool[first[k] : (first[k + 1] if k + 1 < pools else n)] = k
    return mean[:pools], pool


def blocks_of_rows(sorted_p: np.ndarray, block_rows: int) -> np.ndarray:
    """Return the block of each row; blocks hold at least `block_rows` rows and never part equal scores."""
    starts_new = np.r_[True, sorted_p[1:] != sorted_p[:-1]]
    tie_start = np.flatnonzero(starts_new)
    edges = [0]
    for start in tie_start:
        if start - edges[-1] >= block_rows and len(sorted_p) - start >= block_rows:
            edges.append(int(start))
    return np.searchsorted(edges, np.arange(len(sorted_p)), side="right") - 1


def isotonic_fit(p: np.ndarray, y: np.ndarray, effective: np.ndarray, block_rows: int = 300) -> IsotonicCalibrator:
    """Fit a rising line through block means; no value goes above the lower Wilson bound of the top pool.

    Blocks keep a handful of lucky rows from promising certainty: on real data plain isotonic promised a 62 %
    hit rate and delivered 33 %, blocks of 300 rows promised 28.9 % and delivered 28.5 %. Knots sit at the mean
    score of each pool with straight lines between, so ranking keeps no artificial ties.

    Parameters
    ----------
    p, y : ndarray, shape (n,)
        Out-of-fold probabilities and 0/1 outcomes, one row per decision tick.
    effective : ndarray, shape (n,)
        How much of an independent row each row is (its uniqueness); only the Wilson bound counts with it.
    block_rows : int
        Fewest rows in a block.
    """
    order = np.argsort(p, kind="stable")
    p, y, effective = p[order], y[order].astype(np.float64), effective[order]
    block = blocks_of_rows(p, block_rows)
    rows = np.bincount(block).astype(np.float64)
    level, pool = pool_adjacent_violators(np.bincount(block, y) / rows, rows)
    knots_x = np.bincount(pool, np.bincount(block, p)) / np.bincount(pool, rows)
    top_rows = float(np.bincount(pool, np.bincount(block, effective))[-1])
    return _isotonic(knots_x, np.minimum(level, wilson_lower_bound(float(level[-1]), max(top_rows, 1.0))))


def _isotonic(x: np.ndarray, y: np.ndarray) -> IsotonicCalibrator:
    if len(x) == 1:  # one level for every score; the graph needs two knots to draw a line
        x, y = np.array([x[0], x[0] + 1.0]), np.array([y[0], y[0]])
    return IsotonicCalibrator(tuple(x.tolist()), tuple(y.tolist()))


def wilson_lower_bound(share: float, n: float, z: float = 1.6448536269514722) -> float:
    """Return the one-sided 95 % lower bound of a share seen in `n` independent rows.

    Examples
    --------
    >>> round(wilson_lower_bound(1.0, 10), 4)
    0.7871
    """
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1.0 - share) / n + z * z / (4 * n * n))
    return max(0.0, (centre - spread) / (1.0 + z * z / n))


@dataclass(frozen=True)
class CalibrationRule:
    """When data are enough for isotonic; below any of these, Platt (reference: methods 5)."""

    method: str = "auto"
    block_rows: int = 300
    min_events: int = 20
    min_effective_rows: float = 1000.0
    min_positives: int = 100

    def choose(self, n_events: int, effective_rows: float, positives: int) -> str:
        if self.method != "auto":
            return self.method
        enough = (
            n_events >= self.min_events
            and effective_rows >= self.min_effective_rows
            and positives >= self.min_positives
        )
        return "isotonic" if enough else "platt"


def calibrator_fit(method: str, p: np.ndarray, y: np.ndarray, effective: np.ndarray, block_rows: int) -> Calibrator:
    """Fit the calibrator named `method` on out-of-fold probabilities."""
    if method == "isotonic":
        return isotonic_fit(p, y, effective, block_rows)
    if method == "platt":
        return platt_fit(p, y, effective)
    raise ValueError(f"Unknown calibration {method!r}: use auto, isotonic or platt.")
