"""The robust score of outliers."""

import numpy as np
import pytest

from marketdata.outliers import robust_z
from tests.marketdata.microstructure_vectors import VECTORS

CASE = VECTORS["robust_z"]


def test_it_equals_the_vector_where_mean_and_deviation_see_little() -> None:
    x = np.array(CASE["x"])
    assert robust_z(x)[-1] == pytest.approx(CASE["z"], rel=1e-12)
    assert (x[-1] - x.mean()) / x.std(ddof=1) == pytest.approx(CASE["z_std"], rel=1e-12)


def test_normal_values_score_like_standard_deviations() -> None:
    assert robust_z(np.random.default_rng(1).normal(5, 3, 100_000)).std() == pytest.approx(1.0, abs=0.02)


def test_mostly_equal_values_make_every_other_one_infinitely_far() -> None:
    assert robust_z(np.array([1.0, 1.0, 1.0, 2.0, 0.0])).tolist() == [0.0, 0.0, 0.0, np.inf, -np.inf]


def test_missing_values_stay_missing_and_harm_no_other() -> None:
    got = robust_z(np.array([*CASE["x"], np.nan]))
    assert np.isnan(got[-1]) and got[-2] == pytest.approx(CASE["z"], rel=1e-12)
