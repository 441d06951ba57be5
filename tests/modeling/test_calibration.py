"""Calibrators: pooled blocks, the cap, Platt against a long fit, and when each is chosen."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from modeling.calibration import (
    CalibrationRule,
    blocks_of_rows,
    calibrator_fit,
    isotonic_fit,
    platt_fit,
    pool_adjacent_violators,
    wilson_lower_bound,
)
from tests.modeling.vectors import VECTORS


def bent_data(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that promise far too much: the true chance is the square of the score."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 4, n)
    return p, (rng.random(n) < p**2).astype(float)


def test_pooling_equals_the_worked_example() -> None:
    y = np.array(VECTORS["cal"]["y"], float)
    level, pool = pool_adjacent_violators(y, np.ones(len(y)))
    np.testing.assert_allclose(level[pool], VECTORS["cal"]["iso"], rtol=1e-15)


def test_pooling_equals_scikit_learn_on_weighted_rows() -> None:
    rng = np.random.default_rng(1)
    y, weight = rng.random(400) + np.linspace(0, 1, 400), rng.random(400) + 0.1
    level, pool = pool_adjacent_violators(y, weight)
    want = IsotonicRegression().fit(np.arange(400), y, sample_weight=weight).predict(np.arange(400))
    np.testing.assert_allclose(level[pool], want, rtol=1e-10)


def test_blocks_are_large_enough_and_never_part_equal_scores() -> None:
    p = np.sort(np.random.default_rng(2).integers(0, 40, 2000) / 40)
    block = blocks_of_rows(p, 300)
    assert np.bincount(block).min() >= 300
    assert all(len(np.unique(block[p == value])) == 1 for value in np.unique(p))


def test_isotonic_knots_rise_and_lie_at_block_means() -> None:
    p, y = bent_data(6000, 3)
    calibrator = isotonic_fit(p, y, np.ones(6000), 300)
    assert np.all(np.diff(calibrator.knots_x) > 0) and np.all(np.diff(calibrator.knots_y) >= 0)
    assert len(calibrator.knots_x) <= 20


def test_isotonic_repairs_a_bent_score_on_fresh_rows() -> None:
    p, y = bent_data(30_000, 4)
    fresh, outcome = bent_data(30_000, 5)
    repaired = isotonic_fit(p, y, np.ones(30_000), 300).apply(fresh)
    assert np.abs(repaired - fresh**2).mean() < 0.02 < np.abs(fresh - fresh**2).mean()
    assert np.mean((repaired - outcome) ** 2) < np.mean((fresh - outcome) ** 2)


def test_a_lucky_top_block_cannot_promise_certainty() -> None:
    p = np.linspace(0, 1, 900)
    y = (p > 0.6).astype(float)
    sure = isotonic_fit(p, y, np.ones(900), 300).apply(np.array([1.0]))[0]
    doubtful = isotonic_fit(p, y, np.full(900, 0.05), 300).apply(np.array([1.0]))[0]
    assert sure == pytest.approx(wilson_lower_bound(1.0, 300)) and sure < 1
    assert doubtful == pytest.approx(wilson_lower_bound(1.0, 15)) and doubtful < 0.86


def test_scores_outside_the_knots_are_held_flat() -> None:
    p, y = bent_data(3000, 6)
    calibrator = isotonic_fit(p, y, np.ones(3000), 300)
    low, high = calibrator.apply(np.array([-5.0, 5.0]))
    assert (low, high) == (calibrator.knots_y[0], calibrator.knots_y[-1])


def test_one_block_gives_one_level() -> None:
    calibrator = isotonic_fit(np.full(500, 0.3), np.tile([0.0, 1.0], 250), np.ones(500), 300)
    assert np.ptp(calibrator.apply(np.array([0.0, 0.3, 1.0]))) == 0.0


def test_platt_equals_a_logistic_fit_on_the_logit() -> None:
    p, y = bent_data(20_000, 7)
    got = platt_fit(p, y, np.ones(20_000))
    logit = np.log(p / (1 - p))[:, None]
    want = LogisticRegression(C=1e9, tol=1e-12, max_iter=1000).fit(logit, y)
    assert got.slope == pytest.approx(want.coef_[0, 0], rel=0.01)
    assert got.intercept == pytest.approx(want.intercept_[0], abs=0.02)
    assert got.apply(p).mean() == pytest.approx(y.mean(), rel=0.01)


def test_platt_survives_perfect_separation() -> None:
    got = platt_fit(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))
    p = got.apply(np.array([0.0, 0.1, 0.9, 1.0]))
    assert np.all(np.isfinite(p)) and np.all(np.diff(p) >= 0) and p[1] > 0.05


def test_few_data_choose_platt_and_enough_choose_isotonic() -> None:
    rule = CalibrationRule()
    assert rule.choose(n_events=30, effective_rows=5000, positives=900) == "isotonic"
    assert rule.choose(n_events=19, effective_rows=5000, positives=900) == "platt"
    assert rule.choose(n_events=30, effective_rows=999, positives=900) == "platt"
    assert rule.choose(n_events=30, effective_rows=5000, positives=99) == "platt"
    assert CalibrationRule(method="platt").choose(10**6, 10**6, 10**6) == "platt"


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, isotonic or platt"):
        calibrator_fit("magic", np.ones(1), np.ones(1), np.ones(1), 300)
