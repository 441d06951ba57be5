"""Venn-Abers against two refits of isotonic regression per score; base rates against the worked vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from modeling.reliability import shifted_base_rate, undone_subsampling, venn_abers_fit
from tests.modeling.statistics_vectors import VECTORS
from tests.modeling.vectors import VECTORS as CALIBRATION_VECTORS

P, Y = np.array(CALIBRATION_VECTORS["cal"]["p"]), np.array(CALIBRATION_VECTORS["cal"]["y"])


@pytest.mark.parametrize("row", VECTORS["venn_abers"], ids=lambda row: str(row["s"]))
def test_it_equals_the_vector(row: dict[str, float]) -> None:
    fitted, score = venn_abers_fit(P, Y), np.array([row["s"]])
    p0, p1 = fitted.bounds(score)
    assert (p0[0], p1[0]) == pytest.approx((row["p0"], row["p1"]), abs=1e-9)
    assert fitted.probability(score)[0] == pytest.approx(row["p"], abs=1e-9)


def refitted(scores: np.ndarray, outcomes: np.ndarray, score: float, outcome: int) -> float:
    """The definition: add the row, fit again, read it."""
    model = IsotonicRegression(out_of_bounds="clip").fit(np.r_[scores, score], np.r_[outcomes, outcome])
    return float(model.predict([score])[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40))
def test_it_equals_two_refits_at_every_score(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([row[0] for row in rows], float)
    outcomes = np.array([row[1] for row in rows], float)
    asked = np.arange(-0.5, 13.0, 0.5)
    p0, p1 = venn_abers_fit(scores, outcomes).bounds(asked)
    np.testing.assert_allclose(p0, [refitted(scores, outcomes, s, 0) for s in asked], atol=1e-9)
    np.testing.assert_allclose(p1, [refitted(scores, outcomes, s, 1) for s in asked], atol=1e-9)


def test_bounds_are_ordered_rise_with_the_score_and_hold_the_probability() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=3000)
    outcomes = rng.random(3000) < 1 / (1 + np.exp(2 - scores))
    asked = np.linspace(-5, 5, 400)
    fitted = venn_abers_fit(scores, outcomes)
    p0, p1 = fitted.bounds(asked)
    p = fitted.probability(asked)
    assert (p0 < p1).all() and (np.diff(p0) >= 0).all() and (np.diff(p1) >= 0).all()
    assert ((p0 <= p) & (p <= p1)).all()


def test_doubt_shrinks_with_the_number_of_rows() -> None:
    def doubt(n: int) -> float:
        rng = np.random.default_rng(2)
        scores = rng.random(n)
        p0, p1 = venn_abers_fit(scores, rng.random(n) < scores).bounds(np.linspace(0.2, 0.8, 50))
        return float(np.mean(p1 - p0))

    assert doubt(100) > 3 * doubt(5000)


def test_a_lucky_top_score_is_not_promised_for_sure() -> None:
    """Plain isotonic says 1 for the top of these rows; the lower bound does not."""
    scores = np.arange(100.0)
    outcomes = (scores > 96).astype(float)
    p0, p1 = venn_abers_fit(scores, outcomes).bounds(np.array([99.0]))
    assert p0[0] == pytest.approx(0.75) and p1[0] == 1.0


def test_rows_without_a_score_are_refused() -> None:
    for scores in (np.array([0.1, np.nan]), np.zeros(0)):
        with pytest.raises(ValueError, match="finite scores"):
            venn_abers_fit(scores, np.zeros(len(scores)))


@pytest.mark.parametrize("row", VECTORS["prior_shift"], ids=lambda row: f"{row['p']} to {row['deploy']}")
def test_another_base_rate_equals_the_vector_and_turns_back(row: dict[str, float]) -> None:
    got = shifted_base_rate(np.array([row["p"]]), row["train"], row["deploy"])
    assert got[0] == pytest.approx(row["adj"], abs=1e-12)
    assert shifted_base_rate(got, row["deploy"], row["train"])[0] == pytest.approx(row["p"], abs=1e-12)


@pytest.mark.parametrize("row", VECTORS["subsample"], ids=lambda row: str(row["ps"]))
def test_dropped_negatives_are_counted_again(row: dict[str, float]) -> None:
    assert undone_subsampling(np.array([row["ps"]]), row["beta"])[0] == pytest.approx(row["p"], abs=1e-12)
    assert undone_subsampling(np.array([row["ps"]]), 1.0)[0] == row["ps"]


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="base rate"):
        shifted_base_rate(P, 0.0, 0.1)
    with pytest.raises(ValueError, match="negatives"):
        undone_subsampling(P, 0.0)
