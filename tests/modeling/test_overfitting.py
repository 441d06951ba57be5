"""Deflated Sharpe ratios and the probability of overfitting: worked vectors, slow twins, and luck made to order."""

import itertools

import numpy as np
import pytest
from scipy import stats

from modeling.overfitting import (
    SharpeMoments,
    deflated_sharpe,
    deflated_sharpe_of_trials,
    independent_trials,
    lucky_sharpe,
    probabilistic_sharpe,
    probability_of_overfitting,
    sharpe_moments,
)
from tests.modeling.statistics_vectors import VECTORS

DSR, PBO = VECTORS["dsr"], VECTORS["pbo"]


def vector_returns() -> np.ndarray:
    returns = np.random.default_rng(42).normal(0.002, 0.01, 250)
    returns[::25] -= 0.02
    return returns


def test_moments_and_probability_equal_the_vector() -> None:
    moments = sharpe_moments(vector_returns())
    assert moments == pytest.approx((DSR["sr"], DSR["skew"], DSR["kurt"], 250), abs=1e-12)
    assert probabilistic_sharpe(moments) == pytest.approx(DSR["psr0"], abs=1e-9)


def test_the_deflated_ratio_equals_the_vector() -> None:
    got = deflated_sharpe(vector_returns(), DSR["N"], DSR["var_sr"])
    assert got.lucky_sharpe == pytest.approx(DSR["sr0"], abs=1e-9)
    assert got.probability == pytest.approx(DSR["dsr"], abs=1e-9)


def test_the_peer_differs_only_by_its_moments() -> None:
    """purgedcv divides by n for the Sharpe ratio and corrects skew and kurtosis for bias; so do we, given those."""
    returns = vector_returns()
    skew, kurtosis = stats.skew(returns, bias=False), stats.kurtosis(returns, fisher=False, bias=False)
    its_own = SharpeMoments(returns.mean() / returns.std(), skew, kurtosis, 250)
    assert probabilistic_sharpe(its_own) == pytest.approx(DSR["purgedcv_psr"], abs=1e-9)
    assert probabilistic_sharpe(its_own, DSR["sr0"]) == pytest.approx(DSR["purgedcv_dsr"], abs=1e-9)


def test_a_fat_left_tail_makes_a_ratio_less_sure() -> None:
    normal = SharpeMoments(0.1, 0.0, 3.0, 250)
    assert probabilistic_sharpe(normal._replace(skew=-1.5, kurtosis=9.0)) < probabilistic_sharpe(normal)
    assert probabilistic_sharpe(normal, 0.1) == pytest.approx(0.5)


def test_the_lucky_ratio_is_what_the_best_of_many_worthless_trials_shows() -> None:
    rng = np.random.default_rng(1)
    best = rng.normal(0.0, 0.07, (4000, 80)).max(axis=1).mean()
    assert lucky_sharpe(80, 0.07**2) == pytest.approx(best, rel=0.02)


def test_one_trial_needs_no_deflation_and_none_is_refused() -> None:
    assert lucky_sharpe(1.0, 0.1) == 0.0
    with pytest.raises(ValueError, match="every configuration"):
        lucky_sharpe(0.5, 0.1)


@pytest.mark.parametrize("returns", [np.full(9, 0.01), np.array([0.1, 0.2]), np.array([0.1, np.nan, 0.2, 0.1])])
def test_returns_without_a_ratio_are_refused(returns: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Sharpe ratio"):
        sharpe_moments(returns)


def variants(n_ideas: int, each: int, noise: float, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ideas = rng.normal(0.0, 0.01, (400, n_ideas))
    return np.repeat(ideas, each, axis=1) + rng.normal(0.0, noise, (400, n_ideas * each))


def test_variants_of_one_idea_count_once() -> None:
    idea = independent_trials(variants(5, 20, noise=0.003))
    assert idea.reshape(5, 20).tolist() == [[row[0]] * 20 for row in idea.reshape(5, 20)]
    assert len(set(idea.tolist())) == 5


def test_unrelated_trials_count_each_and_copies_once() -> None:
    assert len(set(independent_trials(variants(30, 1, noise=0.0)).tolist())) == 30
    assert set(independent_trials(np.repeat(variants(1, 1, 0.0), 9, axis=1)).tolist()) == {0}
    assert independent_trials(variants(1, 1, 0.0)).tolist() == [0]


def test_trials_that_never_traded_share_an_idea() -> None:
    returns = np.column_stack([variants(2, 1, noise=0.0), np.zeros((400, 3))])
    idea = independent_trials(returns)
    assert len(set(idea.tolist())) == 3 and len(set(idea[2:].tolist())) == 1


def test_the_same_result_is_worth_less_after_many_ideas() -> None:
    returns = variants(40, 1, noise=0.0, seed=3)
    chosen = int(np.argmax(returns.mean(axis=0) / returns.std(axis=0)))
    alone = probabilistic_sharpe(sharpe_moments(returns[:, chosen]))
    got = deflated_sharpe_of_trials(returns, chosen)
    assert got.n_trials == 40
    assert alone > 0.95 > got.probability
    assert deflated_sharpe_of_trials(returns[:, [chosen]], 0).probability == pytest.approx(alone)


def slow_pbo(returns: np.ndarray, n_blocks: int) -> tuple[float, float, float]:
    parts = np.array_split(np.arange(len(returns)), n_blocks)
    logits, results = [], []
    for choice in itertools.combinations(range(n_blocks), n_blocks // 2):
        seen = returns[np.concatenate([parts[k] for k in choice])]
        unseen = returns[np.concatenate([parts[k] for k in range(n_blocks) if k not in choice])]
        best = np.argmax(seen.mean(0) / seen.std(0, ddof=1))
        ratios = unseen.mean(0) / unseen.std(0, ddof=1)
        omega = stats.rankdata(ratios)[best] / (returns.shape[1] + 1)
        logits.append(np.log(omega / (1 - omega)))
        results.append(ratios[best])
    return float(np.mean(np.array(logits) <= 0)), float(np.median(logits)), float(np.mean(np.array(results) < 0))


def vector_trials() -> np.ndarray:
    returns = np.random.default_rng(7).normal(0, 0.01, (320, 10))
    returns[:, 3] += 0.0008
    return returns


def test_the_probability_of_overfitting_equals_the_vector() -> None:
    got = probability_of_overfitting(vector_trials(), PBO["S"])
    assert got.probability == pytest.approx(PBO["pbo"], abs=1e-12)
    assert got.median_logit == pytest.approx(PBO["median_logit"], abs=1e-9)
    assert got.n_splits == PBO["ncomb"] == len(got.logits)


@pytest.mark.parametrize(("rows", "n_blocks"), [(320, 8), (101, 6), (57, 10)])
def test_sums_per_block_equal_the_slow_twin(rows: int, n_blocks: int) -> None:
    returns = np.random.default_rng(rows).standard_t(3, (rows, 7)) * 0.01 + 0.02
    returns[:, 5] = returns[:, 2]  # equal ranks
    got = probability_of_overfitting(returns, n_blocks)
    want = slow_pbo(returns, n_blocks)
    assert (got.probability, got.median_logit, got.loss_probability) == pytest.approx(want, abs=1e-9)


def test_noise_overfits_about_half_the_time_and_skill_does_not() -> None:
    noise = [probability_of_overfitting(np.random.default_rng(s).normal(0, 1, (400, 20)), 8) for s in range(12)]
    assert 0.3 < np.mean([one.probability for one in noise]) < 0.75
    skill = np.random.default_rng(5).normal(0, 1, (400, 20))
    skill[:, 4] += 0.4
    got = probability_of_overfitting(skill, 8)
    assert got.probability == 0.0 and got.loss_probability == 0.0


def test_a_configuration_that_never_trades_is_no_winner() -> None:
    returns = np.column_stack([np.zeros(100), np.random.default_rng(6).normal(0.5, 1.0, 100)])
    assert probability_of_overfitting(returns, 4).loss_probability == 0.0


@pytest.mark.parametrize(("shape", "n_blocks"), [((100, 5), 7), ((10, 5), 8), ((100, 1), 8), ((100, 5), 40)])
def test_what_cannot_be_split_is_refused(shape: tuple[int, int], n_blocks: int) -> None:
    with pytest.raises(ValueError, match="blocks|choice"):
        probability_of_overfitting(np.ones(shape), n_blocks)
