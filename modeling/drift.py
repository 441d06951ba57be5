"""Does the market still look as it did in training? Two-sample tests that know rows overlap, and one alarm rule.

A test alone cries wolf: with many rows every feature "differs", with few rows the index of stability fires by noise.
So an alarm needs three things at once: significance over all tests together, a large effect, and repetition.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

LEAST_SHARE = 1e-4
"""An empty bin of the new sample counts as this share, as a logarithm is taken of it."""
EXACT_UP_TO = 1_000_000
"""Sizes whose product is at most this get an exact p-value: one step per pair of effective rows."""


@dataclass(frozen=True)
class DriftRule:
    """When drift is an alarm (reference: methods 8). Effects are judged besides significance, never instead of it."""

    false_discovery: float = 0.01
    least_psi: float = 0.2
    least_w1: float = 0.25
    hits: int = 2
    of_last: int = 3
    bins: int = 10
    least_rows: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.hits <= self.of_last:
            raise ValueError(f"An alarm after {self.hits} of the last {self.of_last} windows can never be: check both.")


class DriftScore(NamedTuple):
    """How one feature's window differs from the reference. NaN where either side has too few finite values.

    ks: largest gap between the two distributions; p: its p-value at the effective sizes; psi: population stability
    index; w1: earth mover's distance in interquartile ranges of the reference; missing: rise of the share of NaN.
    """

    ks: float
    p: float
    psi: float
    w1: float
    missing: float
    n_effective: float


def effective_size(values: np.ndarray) -> float:
    """Return how many independent rows a series of overlapping ones is worth: n / (1 + 2 sum of autocorrelations).

    The sum stops where a pair of neighbouring autocorrelations is no longer positive (Geyer's initial sequence),
    since behind that there is only noise.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite values in time order.

    References
    ----------
    Geyer (1992), "Practical Markov Chain Monte Carlo", Statistical Science 7(4).
    """
    n = len(values)
    centred = values - values.mean() if n else values
    variance = float(centred @ centred)
    if n < 4 or variance <= 0.0:
        return float(min(n, 1))
    size = 1 << (2 * n - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    correlation = np.fft.irfft(power, size)[: n // 2] / variance
    pairs = correlation[1 : len(correlation) - 1 : 2] + correlation[2 : len(correlation) : 2]
    ends = np.flatnonzero(pairs <= 0.0)
    total = float(pairs[: ends[0] if len(ends) else len(pairs)].sum())
    return float(np.clip(n / (1.0 + 2.0 * total), 1.0, n))


def ks_statistic(reference: np.ndarray, sample: np.ndarray) -> float:
    """Return the largest gap between the two empirical distributions."""
    reference, sample = np.sort(reference), np.sort(sample)
    every = np.concatenate([reference, sample])
    below_reference = np.searchsorted(reference, every, side="right") / len(reference)
    below_sample = np.searchsorted(sample, every, side="right") / len(sample)
    return float(np.abs(below_reference - below_sample).max())


def ks_critical(alpha: float, n: float, m: float) -> float:
    """Return the gap that two equal sources of `n` and `m` independent rows exceed with probability `alpha`."""
    return math.sqrt(-math.log(alpha / 2.0) / 2.0) * math.sqrt((n + m) / (n * m))


def ks_p_value(gap: float, n: float, m: float) -> float:
    """Return the chance that two equal sources of `n` and `m` independent rows differ by `gap` or more.

    Exact while n * m is at most EXACT_UP_TO (sizes are rounded to whole rows), else by Kolmogorov's limit.
    """
    if gap <= 0.0:
        return 1.0
    rows, others = max(1, round(n)), max(1, round(m))
    if rows * others <= EXACT_UP_TO:
        return float(min(1.0, _chance_to_leave(gap, rows, others)))
    scaled = gap * math.sqrt(rows * others / (rows + others))
    series = sum((-1) ** (k - 1) * math.exp(-2.0 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2.0 * series))


@njit(cache=True)
def _chance_to_leave(gap: float, n: int, m: int) -> float:
    """Return the chance that a random merge of n and m rows ever shows |i/n - j/m| >= gap.

    Walks all merges at once: `inside[j]` is the chance to stand at (i, j) and never to have left the band.
    """
    edge = gap - 1e-10
    inside = np.zeros(m + 1)
    left = 0.0
    for i in range(n + 1):
        for j in range(m + 1):
            here = 1.0 if i == 0 and j == 0 else 0.0
            if i > 0:
                here += inside[j] * (n - i + 1) / (n - i + 1 + m - j)
            if j > 0:
                here += inside[j - 1] * (m - j + 1) / (n - i + m - j + 1)
            if abs(i / n - j / m) >= edge:
                left += here
                here = 0.0
            inside[j] = here
    return left


def stability_index(reference: np.ndarray, sample: np.ndarray, bins: int = 10) -> float:
    """Return the population stability index over the reference's quantile bins.

    Ties can make quantiles fall together; such bins are one bin then.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0.0, 1.0, bins + 1)))
    if len(edges) < 2:
        edges = np.array([edges[0], edges[0]])
    edges[0], edges[-1] = -np.inf, np.inf
    expected = np.histogram(reference, edges)[0] / len(reference)
    seen = np.maximum(np.histogram(sample, edges)[0] / len(sample), LEAST_SHARE)
    kept = expected > 0.0
    return float(np.sum((seen[kept] - expected[kept]) * np.log(seen[kept] / expected[kept])))


def earth_movers_distance(reference: np.ndarray, sample: np.ndarray) -> float:
    """Return the area between the two empirical distributions, in units of the values."""
    reference, sample = np.sort(reference), np.sort(sample)
    every = np.sort(np.concatenate([reference, sample]))
    below_reference = np.searchsorted(reference, every[:-1], side="right") / len(reference)
    below_sample = np.searchsorted(sample, every[:-1], side="right") / len(sample)
    return float(np.sum(np.abs(below_reference - below_sample) * np.diff(every)))


def quartile_range(values: np.ndarray) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low)


def drift_score(reference: np.ndarray, sample: np.ndarray, rule: DriftRule | None = None) -> DriftScore:
    """Compare one feature's window with its reference.

    Parameters
    ----------
    reference, sample : ndarray, shape (n,) and (m,)
        Values in time order; NaN means that the feature had nothing to say.
    """
    rule = rule or DriftRule()
    known, fresh = reference[np.isfinite(reference)], sample[np.isfinite(sample)]
    missing = _share_missing(fresh, sample) - _share_missing(known, reference)
    if min(len(known), len(fresh)) < rule.least_rows:
        return DriftScore(math.nan, math.nan, math.nan, math.nan, missing, float(len(fresh)))
    n, m = effective_size(known), effective_size(fresh)
    gap = ks_statistic(known, fresh)
    width = quartile_range(known)
    distance = earth_movers_distance(known, fresh)
    in_widths = distance / width if width > 0.0 else (0.0 if distance == 0.0 else math.inf)
    return DriftScore(gap, ks_p_value(gap, n, m), stability_index(known, fresh, rule.bins), in_widths, missing, m)


def _share_missing(finite: np.ndarray, values: np.ndarray) -> float:
    return 1.0 - len(finite) / len(values) if len(values) else 0.0


def false_discovery_values(p: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg adjusted p-values over all finite entries of an array of any shape; NaN stays NaN.

    References
    ----------
    Benjamini & Hochberg (1995), "Controlling the False Discovery Rate", J. Royal Statistical Society B 57(1).
    """
    adjusted = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    values = p[known]
    order = np.argsort(values)[::-1]
    ranks = np.arange(len(values), 0, -1)
    lowered = np.minimum.accumulate(values[order] * len(values) / ranks)
    back = np.empty(len(values))
    back[order] = np.minimum(lowered, 1.0)
    adjusted[known] = back
    return adjusted


def drift_alarms(p: np.ndarray, psi: np.ndarray, w1: np.ndarray, rule: DriftRule | None = None) -> np.ndarray:
    """Return which features are in alarm after the newest window.

    Parameters
    ----------
    p, psi, w1 : ndarray, shape (windows, features)
        Scores of the last windows, oldest first; NaN never counts as a hit. Significance is judged over all tests
        of these windows together.

    Returns
    -------
    ndarray of bool, shape (features,)
    """
    rule = rule or DriftRule()
    with np.errstate(invalid="ignore"):
        large = (psi > rule.least_psi) | (w1 > rule.least_w1)
        hit = (false_discovery_values(p) < rule.false_discovery) & large
    return np.asarray(hit[-rule.of_last :].sum(axis=0) >= rule.hits)


def alpha_for_budget(tests_per_day: float, false_alarms_per_week: float = 1.0) -> float:
    """Return the significance level that keeps single-test alarms within a weekly budget."""
    if tests_per_day <= 0.0:
        raise ValueError(f"{tests_per_day} tests a day need no level: pass a number above zero.")
    return min(1.0, false_alarms_per_week / (7.0 * tests_per_day))
