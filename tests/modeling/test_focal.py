"""The focal loss against 50-digit vectors, finite differences, and LightGBM's own log loss."""

import lightgbm as lgb
import numpy as np
import pytest

from modeling.focal import focal_gradient_hessian, focal_loss, focal_probability, focal_start_score, psi
from tests.modeling.vectors import VECTORS

SETTINGS = [(gamma, alpha) for gamma in (0.5, 1, 2, 5) for alpha in (None, 0.25)]


@pytest.mark.parametrize("row", VECTORS["focal"], ids=lambda r: f"g{r['gamma']}a{r['alpha']}y{r['y']}z{r['z']}")
def test_loss_gradient_and_hessian_equal_the_vectors(row: dict[str, float]) -> None:
    z, y = np.array([row["z"]]), np.array([row["y"]])
    gradient, hessian = focal_gradient_hessian(z, y, row["gamma"], row["alpha"], floor=-np.inf)
    np.testing.assert_allclose(focal_loss(z, y, row["gamma"], row["alpha"]), row["loss"], rtol=1e-12)
    np.testing.assert_allclose(gradient, row["grad"], rtol=1e-12)
    np.testing.assert_allclose(hessian, row["hess"], rtol=1e-12)


@pytest.mark.parametrize(("gamma", "alpha"), SETTINGS)
def test_derivatives_agree_with_finite_differences(gamma: float, alpha: float | None) -> None:
    z = np.repeat(np.linspace(-6, 6, 25), 2)
    y = np.tile([0.0, 1.0], 25)
    step = 1e-5
    gradient, hessian = focal_gradient_hessian(z, y, gamma, alpha, floor=-np.inf)
    slope = (focal_loss(z + step, y, gamma, alpha) - focal_loss(z - step, y, gamma, alpha)) / (2 * step)
    up, _ = focal_gradient_hessian(z + step, y, gamma, alpha)
    down, _ = focal_gradient_hessian(z - step, y, gamma, alpha)
    np.testing.assert_allclose(gradient, slope, atol=1e-9)
    np.testing.assert_allclose(hessian, (up - down) / (2 * step), atol=1e-9)


@pytest.mark.parametrize("row", VECTORS["focal_hess_zero"], ids=lambda r: f"gamma{r['gamma']}")
def test_the_true_hessian_is_negative_for_hard_rows_and_the_floor_holds(row: dict[str, float]) -> None:
    z, y = np.linspace(-12, 0, 4001), np.ones(4001)
    _, exact = focal_gradient_hessian(z, y, row["gamma"], floor=-np.inf)
    _, floored = focal_gradient_hessian(z, y, row["gamma"])
    assert exact.min() == pytest.approx(row["min_hess"], rel=1e-9)
    assert np.all(exact[z < row["margin"] - 1e-9] < 0) and np.all(exact[z > row["margin"] + 1e-9] > 0)
    assert floored.min() == 1e-6


@pytest.mark.parametrize("row", VECTORS["focal_init"], ids=lambda r: f"g{r['gamma']}a{r['alpha']}b{r['base']}")
def test_the_start_score_equals_the_vectors(row: dict[str, float]) -> None:
    assert focal_start_score(row["base"], row["gamma"], row["alpha"]) == pytest.approx(row["z0"], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("row", VECTORS["focal_psi"], ids=lambda r: f"g{r['gamma']}a{r['alpha']}q{r['q']}")
def test_psi_equals_the_vectors(row: dict[str, float]) -> None:
    np.testing.assert_allclose(psi(np.array([row["q"]]), row["gamma"], row["alpha"]), row["eta"], rtol=1e-12)


@pytest.mark.parametrize(("gamma", "alpha"), [(1, None), (2, None), (5, 0.25), (2, 0.75)])
def test_psi_takes_the_start_score_back_to_the_base_rate(gamma: float, alpha: float | None) -> None:
    for base in (0.001, 0.01, 0.05, 0.2, 0.5, 0.9):
        z = np.array([focal_start_score(base, gamma, alpha)])
        assert focal_probability(z, gamma, alpha)[0] == pytest.approx(base, rel=1e-12)


def test_probabilities_of_huge_scores_are_finite_and_rise() -> None:
    z = np.linspace(-800, 800, 2001)
    for gamma in (0, 0.5, 2, 5):
        p = focal_probability(z, gamma)
        assert np.all(np.diff(p) >= 0) and p[0] >= 0 and p[-1] <= 1 and np.all(np.isfinite(p))


def test_gamma_zero_is_plain_log_loss() -> None:
    z, y = np.linspace(-30, 30, 121), np.tile([0.0, 1.0], 61)[:121]
    p = 1 / (1 + np.exp(-z))
    gradient, hessian = focal_gradient_hessian(z, y, 0.0)
    np.testing.assert_allclose(gradient, p - y, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(hessian, np.maximum(p * (1 - p), 1e-6), rtol=1e-9)
    np.testing.assert_allclose(focal_probability(z, 0.0), p, rtol=1e-12)


def test_weights_scale_both_derivatives() -> None:
    z, y = np.array([0.3, -1.0]), np.array([1.0, 0.0])
    plain, weighted = focal_gradient_hessian(z, y, 2.0), focal_gradient_hessian(z, y, 2.0, weight=np.array([2.0, 0.5]))
    np.testing.assert_allclose(weighted[0], plain[0] * [2.0, 0.5])
    np.testing.assert_allclose(weighted[1], plain[1] * [2.0, 0.5])


def test_boosting_with_gamma_zero_equals_the_built_in_objective() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 5))
    y = (rng.random(2000) < 1 / (1 + np.exp(-x[:, 0] + 2))).astype(float)
    start = focal_start_score(y.mean(), 0.0)
    common = {"num_leaves": 7, "verbosity": -1, "num_threads": 1, "deterministic": True, "boost_from_average": False}

    def ours(z: np.ndarray, data: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return focal_gradient_hessian(z, data.get_label(), 0.0)

    raws = []
    for objective in (ours, "binary"):
        data = lgb.Dataset(x, y, init_score=np.full(2000, start))
        raws.append(lgb.train({**common, "objective": objective}, data, 10).predict(x, raw_score=True))
    np.testing.assert_allclose(raws[0], raws[1], atol=1e-6)


def test_a_base_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="both outcomes"):
        focal_start_score(0.0, 2.0)
