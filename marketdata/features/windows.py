"""The memory that all features share: decayed sums, time-weighted averages, and rings of time buckets.

Everything here is exact at the moment of the question: a decayed sum is kept as of its last event and is
decayed once more when it is read, so asking changes nothing and asking late gives the right number.
"""

import math
from typing import Any

import numpy as np
from numba import njit

HALF_LIVES_S = (1, 5, 15, 60, 300, 1800)
"""Half-lives of every decayed sum. Each divides the next, so one `exp` gives all six factors."""

S1, S5, S15, S60, S300, S1800 = range(6)
N_HALF_LIVES = 6
LN_2 = math.log(2.0)
FLOOR = 0.01
"""Part of the slow value mixed into a log ratio: an empty fast window reads ln(0.01/1.01), not minus infinity."""
TINY = 1e-250

Record = Any
"""One row of a structured state array: compiled code reads and writes its fields in place."""
Factors = tuple[float, float, float, float, float, float]
"""One number per half-life."""

compiled = njit(cache=True, error_model="numpy")
"""How every step is compiled. A division by zero gives inf, as in C, never an exception in the middle of a block."""


@compiled
def decay_factors(dt_ns: int) -> Factors:
    """Return 2^(-dt/h) for the six half-lives.

    Only the slowest costs an `exp`; the others are powers of it (1800 = 6 x 300 = ... ), good to 1e-12.
    """
    f1800 = math.exp(dt_ns * (-LN_2 / 1800e9))
    square = f1800 * f1800
    f300 = square * square * square
    square = f300 * f300
    f60 = square * square * f300
    square = f60 * f60
    f15 = square * square
    f5 = f15 * f15 * f15
    square = f5 * f5
    f1 = square * square * f5
    return f1, f5, f15, f60, f300, f1800


@compiled
def window_seconds(elapsed_ns: int) -> Factors:
    """Return, per half-life, the weight that a decayed sum gives to the `elapsed_ns` seen so far, in seconds.

    A decayed sum divided by it is a rate per second without a start-up bias.
    """
    f1, f5, f15, f60, f300, f1800 = decay_factors(elapsed_ns)
    return (
        (1.0 - f1) * (1.0 / LN_2),
        (1.0 - f5) * (5.0 / LN_2),
        (1.0 - f15) * (15.0 / LN_2),
        (1.0 - f60) * (60.0 / LN_2),
        (1.0 - f300) * (300.0 / LN_2),
        (1.0 - f1800) * (1800.0 / LN_2),
    )


@compiled
def decay_sums(sums: np.ndarray, factors: Factors) -> None:
    """Decay one row of six sums (one per half-life) in place."""
    for k in range(N_HALF_LIVES):
        sums[k] *= factors[k]


@compiled
def decay_table(table: np.ndarray, factors: Factors) -> None:
    """Decay a table of sums, shape (series, half-life), in place."""
    for row in range(table.shape[0]):
        for k in range(N_HALF_LIVES):
            table[row, k] *= factors[k]


@compiled
def add_to_row(table: np.ndarray, row: int, value: float) -> None:
    for k in range(N_HALF_LIVES):
        table[row, k] += value


@compiled
def held_average(average: float, held: float, factor: float) -> float:
    """Return the time-weighted decayed average after the value `held` stood for a time that decays by `factor`.

    It starts from 0, so a reader divides it by 1 - 2^(-seen/h).
    """
    return average * factor + held * (1.0 - factor)


@compiled
def log_ratio(fast: float, slow: float) -> float:
    """Return ln(fast/slow) softened at the low end; 0 when the slow value knows nothing."""
    if slow < TINY:
        return 0.0
    return math.log((fast + FLOOR * slow) / (slow * (1.0 + FLOOR)))


@compiled
def share(part: float, whole: float) -> float:
    return part / whole if whole > TINY else 0.0


@compiled
def ring_fill(ring: np.ndarray, first: int, last: int, value: float) -> None:
    """Write `value` into the buckets first..last (bucket numbers, not slots); a long hole costs one lap at most."""
    size = ring.shape[0]
    for bucket in range(max(first, last - size + 1), last + 1):
        ring[bucket % size] = value


def blank(dtype: np.dtype) -> np.ndarray:
    """One empty row: all zeros means "nothing seen yet" in every state of this package."""
    return np.zeros(1, dtype)
