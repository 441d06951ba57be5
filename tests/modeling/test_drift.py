"""Drift tests against scipy and the worked vectors; alarms that neither cry wolf nor sleep."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeling.drift import (
    DriftRule,
    alpha_for_budget,
    drift_alarms,
    drift_score,
    earth_movers_distance,
    effective_size,
    false_discovery_values,
    ks_critical,
    ks_p_value,
    ks_statistic,
    quartile_range,
    stability_index,
)
from tests.modeling.statistics_vectors import VECTORS

DRIFT = VECTORS["drift"]
A = np.random.default_rng(1).normal(0, 1, 500)
B = np.random.default_rng(2).normal(0.3, 1.2, 400)


def test_every_measure_equals_the_vector() -> None:
    assert ks_statistic(A, B) == pytest.approx(DRIFT["ks"], abs=1e-12)
    assert ks_p_value(DRIFT["ks"], 500, 400) == pytest.approx(DRIFT["p"], rel=1e-6)
    assert stability_index(A, B) == pytest.approx(DRIFT["psi10"], abs=1e-12)
    assert earth_movers_distance(A, B) == pytest.approx(DRIFT["w1"], abs=1e-12)
    assert earth_movers_distance(A, B) / A.std() == pytest.approx(DRIFT["w1_over_sd"], abs=1e-12)


@pytest.mark.parametrize("alpha", DRIFT["ks_crit"])
def test_critical_gaps_equal_the_vector(alpha: str) -> None:
    assert ks_critical(float(alpha), 500, 400) == pytest.approx(DRIFT["ks_crit"][alpha], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), m=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_the_exact_p_value_equals_scipy(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(0.5, 1, size=m)
    want = stats.ks_2samp(a, b, method="exact")
    assert ks_statistic(a, b) == pytest.approx(want.statistic, abs=1e-12)
    assert ks_p_value(want.statistic, n, m) == pytest.approx(want.pvalue, rel=1e-6)


@pytest.mark.parametrize("gap", [0.001, 0.01, 0.02, 0.04])
def test_many_rows_use_the_limit_and_agree_with_scipy(gap: float) -> None:
    want = stats.kstwobign.sf(gap * math.sqrt(5000.0 * 8000 / 13_000))
    assert ks_p_value(gap, 5000, 8000) == pytest.approx(want, rel=1e-9, abs=1e-12)
    assert ks_p_value(0.0, 5000, 8000) == 1.0


@pytest.mark.parametrize("values", [np.r_[np.zeros(300), np.ones(100)], np.arange(400.0) % 7, A])
def test_distances_equal_scipy_with_ties(values: np.ndarray) -> None:
    other = np.roll(values, 13)[:180] * 1.5
    assert earth_movers_distance(values, other) == pytest.approx(stats.wasserstein_distance(values, other), abs=1e-12)
    assert ks_statistic(values, other) == pytest.approx(stats.ks_2samp(values, other).statistic, abs=1e-12)


@pytest.mark.parametrize("n", VECTORS["drift_null"])
def test_noise_alone_is_as_large_as_simulated_before(n: str) -> None:
    """Heavy-tailed data without any drift: why an index above 0.1 means nothing on 200 rows."""
    psi, w1 = [], []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        reference, sample = rng.standard_t(3, 5000), rng.standard_t(3, int(n))
        psi.append(stability_index(reference, sample))
        w1.append(earth_movers_distance(reference, sample) / quartile_range(reference))
    got = {"psi_mean": np.mean(psi), "psi_p99": np.quantile(psi, 0.99), "w1iqr_mean": np.mean(w1)}
    got["w1iqr_p99"] = np.quantile(w1, 0.99)
    got["psi_chi2_p99"] = stats.chi2.ppf(0.99, 9) * (1 / int(n) + 1 / 5000)
    assert got == pytest.approx(VECTORS["drift_null"][n], rel=1e-9)


def test_a_constant_feature_that_stays_constant_has_no_drift() -> None:
    assert stability_index(np.full(300, 2.0), np.full(200, 2.0)) == pytest.approx(0.0, abs=1e-12)
    score = drift_score(np.full(300, 2.0), np.full(200, 2.0))
    assert (score.ks, score.p, score.w1) == (0.0, 1.0, 0.0)
    assert drift_score(np.full(300, 2.0), np.full(200, 3.0)).w1 == math.inf


def test_a_handful_of_values_leaves_empty_bins_and_still_an_index() -> None:
    assert np.isfinite(stability_index(np.array([0.0, 0.0, 1.0, 5.0]), np.array([0.5, 3.0])))


# -- effective size ----------------------------------------------------------------------------------------------------


def autoregressive(n: int, memory: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.empty(n)
    values[0] = rng.normal()
    for k in range(1, n):
        values[k] = memory * values[k - 1] + math.sqrt(1 - memory**2) * rng.normal()
    return values


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_overlapping_rows_count_less(memory: float) -> None:
    n = 20_000
    want = n * (1 - memory) / (1 + memory)
    assert effective_size(autoregressive(n, memory, seed=3)) == pytest.approx(want, rel=0.15)


def test_a_series_never_counts_more_than_its_rows_nor_less_than_one() -> None:
    assert effective_size(np.tile([1.0, -1.0], 50)) == 100.0
    assert effective_size(np.linspace(0, 1, 1000)) < 5
    assert effective_size(np.full(50, 3.0)) == 1.0
    assert effective_size(np.zeros(0)) == 0.0


def test_the_p_value_keeps_its_promise_on_overlapping_rows() -> None:
    """Without the effective size more than half of these driftless tests would be 'significant at 5 %'."""
    naive = honest = 0
    for seed in range(60):
        reference, sample = autoregressive(3000, 0.95, 2 * seed), autoregressive(1500, 0.95, 2 * seed + 1)
        naive += ks_p_value(ks_statistic(reference, sample), 3000, 1500) < 0.05
        honest += drift_score(reference, sample).p < 0.05
    assert naive > 30 and honest <= 8


# -- alarms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_adjusted_values_equal_scipy_and_keep_the_unknown(seed: int) -> None:
    p = np.random.default_rng(seed).random((3, 40)) ** 3
    np.testing.assert_allclose(
        false_discovery_values(p), stats.false_discovery_control(p.ravel()).reshape(p.shape), rtol=1e-12
    )
    p[0, 5] = np.nan
    got = false_discovery_values(p)
    assert np.isnan(got[0, 5]) and np.isfinite(got).sum() == 119


def history(hits: list[bool], effect: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p = np.array([[1e-6, 0.4] if hit else [0.3, 0.6] for hit in hits])
    psi = np.array([[effect, 0.01] if hit else [0.05, 0.01] for hit in hits])
    return p, psi, np.zeros_like(p)


@pytest.mark.parametrize(
    ("hits", "alarm"),
    [
        ([True, True, False], True),
        ([True, False, True], True),
        ([False, False, True], False),
        ([True, True, False, False], False),
        ([True], False),
    ],
)
def test_two_of_the_last_three_windows_make_an_alarm(hits: list[bool], alarm: bool) -> None:
    assert drift_alarms(*history(hits)).tolist() == [alarm, False]


def test_significance_without_effect_is_no_alarm_and_neither_is_effect_without_significance() -> None:
    p, psi, w1 = history([True, True, True], effect=0.1)
    assert not drift_alarms(p, psi, w1).any()
    assert drift_alarms(p, psi, w1 + np.array([0.3, 0.0])).tolist() == [True, False]
    assert not drift_alarms(np.full((3, 2), 0.2), np.ones((3, 2)), np.ones((3, 2))).any()


def test_a_single_small_p_among_very_many_tests_is_no_hit() -> None:
    p = np.random.default_rng(4).random((3, 2000))
    p[1:, 0] = 1e-4
    big = np.ones_like(p)
    assert not drift_alarms(p, big, big).any()
    assert drift_alarms(p[:, :4], big[:, :4], big[:, :4]).tolist() == [True, False, False, False]


def test_a_shifted_market_raises_the_alarm_and_a_calm_one_does_not() -> None:
    rng = np.random.default_rng(5)
    reference = rng.standard_t(3, (4000, 6))

    def alarms(shift: float) -> list[bool]:
        windows = [rng.standard_t(3, (800, 6)) + np.array([shift, 0, 0, 0, 0, 0]) for _ in range(3)]
        scores = [[drift_score(reference[:, k], window[:, k]) for k in range(6)] for window in windows]
        table = np.array([[(s.p, s.psi, s.w1) for s in row] for row in scores])
        return drift_alarms(*table.transpose(2, 0, 1)).tolist()

    assert alarms(0.0) == [False] * 6
    assert alarms(0.8) == [True] + [False] * 5


def test_too_few_values_give_no_verdict_and_missing_ones_are_counted() -> None:
    rng = np.random.default_rng(6)
    sample = np.r_[rng.random(60), np.full(40, np.nan)]
    score = drift_score(rng.random(1000), sample)
    assert math.isnan(score.p) and score.missing == pytest.approx(0.4)
    assert not drift_alarms(*(np.full((3, 1), value) for value in (score.p, score.psi, score.w1))).any()
    enough = drift_score(rng.random(1000), np.r_[rng.random(300), np.full(100, np.nan)])
    assert enough.missing == pytest.approx(0.25) and enough.p > 0.001


def test_a_weekly_budget_sets_the_level() -> None:
    assert alpha_for_budget(tests_per_day=100) == pytest.approx(1 / 700)
    with pytest.raises(ValueError, match="above zero"):
        alpha_for_budget(0)


def test_a_rule_that_can_never_fire_is_refused() -> None:
    with pytest.raises(ValueError, match="never"):
        DriftRule(hits=4, of_last=3)
