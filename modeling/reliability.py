"""Probabilities that know their own doubt (Venn-Abers), and probabilities for another base rate than was trained."""

from dataclasses import dataclass

import numpy as np
from numba import njit


@dataclass(frozen=True)
class VennAbers:
    """An inductive Venn-Abers predictor: what isotonic calibration would say if this very row were a 0, or a 1.

    One of the two is right, so the truth of a well-ordered score lies between them; their distance shows how little
    the calibration rows know about this score. Make it with `venn_abers_fit`.

    scores: the distinct calibration scores, rising; if_zero, if_one: the probabilities at them, shape (k + 1,).
    """

    scores: np.ndarray
    if_zero: np.ndarray
    if_one: np.ndarray

    def bounds(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return p0 and p1 of each score, p0 <= p1."""
        return (
            self.if_zero[np.searchsorted(self.scores, scores, side="right")],
            self.if_one[np.searchsorted(self.scores, scores, side="left")],
        )

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Return p1 / (1 - p0 + p1): the one number that loses least in log loss whichever is right."""
        p0, p1 = self.bounds(scores)
        return np.asarray(p1 / (1.0 - p0 + p1))


def venn_abers_fit(scores: np.ndarray, outcomes: np.ndarray) -> VennAbers:
    """Prepare the two isotonic fits for every possible score at once, in one pass.

    Parameters
    ----------
    scores, outcomes : ndarray, shape (n,)
        Out-of-fold scores (any scale, larger is likelier) and 0/1 outcomes of the calibration rows.

    References
    ----------
    Vovk, Petej & Fedorova (2015), "Large-scale probabilistic predictors with and without guarantees of validity",
    NeurIPS 28: the algorithm; Vovk & Petej (2014), "Venn-Abers predictors": the merged probability.
    """
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError("Venn-Abers needs calibration rows with finite scores: drop rows that were not scored.")
    distinct, tie = np.unique(scores, return_inverse=True)
    rows = np.bincount(tie).astype(np.float64)
    ones = np.bincount(tie, outcomes.astype(np.float64))
    if_one = _if_one(rows, ones)
    if_zero = 1.0 - _if_one(rows[::-1].copy(), (rows - ones)[::-1].copy())[::-1]
    return VennAbers(distinct, if_zero, if_one)


@njit(cache=True)
def _turns_left(x: np.ndarray, y: np.ndarray, a: int, b: int, c: int) -> bool:
    """Does the way a -> b -> c turn left, that is: does the slope rise at b?"""
    return (x[b] - x[a]) * (y[c] - y[b]) - (y[b] - y[a]) * (x[c] - x[b]) > 0.0


@njit(cache=True)
def _if_one(rows: np.ndarray, ones: np.ndarray) -> np.ndarray:
    """Return the isotonic fit at an added row with outcome 1, for each place it can be added; the last: above all.

    The fit is the slope of the lower hull of the cumulative sums. An added 1 moves the points before its place by
    (-1, -1); so each place differs from the one before by one point, and the hull is mended, not made anew.
    """
    k = len(rows)
    x, y = np.zeros(k + 2), np.zeros(k + 2)  # x[i + 1]: rows in the first i groups; [0] is the added row before all
    for i in range(k):
        x[i + 2], y[i + 2] = x[i + 1] + rows[i], y[i + 1] + ones[i]
    x[0] = y[0] = -1.0
    hull = np.empty(k + 2, np.int64)
    size = 0
    for point in range(k + 2):
        while size > 1 and not _turns_left(x, y, hull[size - 2], hull[size - 1], point):
            size -= 1
        hull[size] = point
        size += 1
    hull[:size] = hull[:size][::-1].copy()  # the leftmost corner on top
    fit = np.empty(k + 1)
    fit[k] = 1.0
    for i in range(k):
        top, below = hull[size - 1], hull[size - 2]
        fit[i] = (y[below] - y[top]) / (x[below] - x[top])
        moved = i + 1
        x[moved] = x[moved - 1] + x[moved + 1] - x[moved]
        y[moved] = y[moved - 1] + y[moved + 1] - y[moved]
        if _is_above(x, y, moved, top, below):
            continue
        size -= 1
        while size > 1 and not _turns_left(x, y, moved, hull[size - 1], hull[size - 2]):
            size -= 1
        hull[size] = moved
        size += 1
    return fit


@njit(cache=True)
def _is_above(x: np.ndarray, y: np.ndarray, point: int, a: int, b: int) -> bool:
    """Does the point lie on or above the line through a and b, a left of b?"""
    return (x[b] - x[a]) * (y[point] - y[a]) >= (y[b] - y[a]) * (x[point] - x[a])


def shifted_base_rate(p: np.ndarray, trained: float, deployed: float) -> np.ndarray:
    """Return probabilities for a share of positives `deployed` where the model learnt from a share `trained`.

    Right only if positives still look as they did (the shift is in how many there are); else calibrate anew.

    References
    ----------
    Saerens, Latinne & Decaestecker (2002), "Adjusting the Outputs of a Classifier to New a Priori Probabilities",
    Neural Computation 14(1).
    """
    for share in (trained, deployed):
        if not 0.0 < share < 1.0:
            raise ValueError(f"A base rate lies between 0 and 1, not {share}.")
    positive = p * (deployed / trained)
    return np.asarray(positive / (positive + (1.0 - p) * ((1.0 - deployed) / (1.0 - trained))))


def undone_subsampling(p: np.ndarray, kept_negatives: float) -> np.ndarray:
    """Return the probabilities of all rows for a model that saw only a share `kept_negatives` of the negatives."""
    if not 0.0 < kept_negatives <= 1.0:
        raise ValueError(f"The share of negatives that were kept lies in (0, 1], not {kept_negatives}.")
    return np.asarray(kept_negatives * p / (kept_negatives * p - p + 1.0))
