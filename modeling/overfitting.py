"""How much of a good backtest is luck: Sharpe ratios deflated for the number of tries, and the chance of overfitting.

All Sharpe ratios are per observation (per trade, per day: whatever one row of the returns is), never annualised.
"""

import math
from itertools import combinations
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import average, fcluster
from scipy.spatial.distance import squareform

EULER_GAMMA = 0.5772156649015329
SAME_IDEA = 0.5
"""Trials whose returns correlate at least this much count as variants of one idea."""
MAX_SPLITS = 200_000

_NORMAL = NormalDist()


class SharpeMoments(NamedTuple):
    """What the distribution of a Sharpe ratio hangs on; kurtosis is 3 for normal returns."""

    sharpe: float
    skew: float
    kurtosis: float
    n: int


class DeflatedSharpe(NamedTuple):
    """The chance that the true Sharpe ratio beats the best one that luck would have found."""

    probability: float
    sharpe: float
    lucky_sharpe: float
    n_trials: float


class Overfitting(NamedTuple):
    """What combinatorially symmetric cross-validation says about picking the best of many configurations.

    probability: how often the best half-sample choice ended in the worse half of the other half-sample.
    median_logit: of its rank there; below 0 the choice is worse than a random one.
    loss_probability: how often it lost money there.
    """

    probability: float
    median_logit: float
    loss_probability: float
    n_splits: int
    logits: np.ndarray


def sharpe_moments(returns: np.ndarray) -> SharpeMoments:
    """Return Sharpe ratio (n - 1), skew and kurtosis of a series of returns.

    Raises
    ------
    ValueError
        With fewer than three returns, or when they do not vary: no ratio is known then.
    """
    returns = np.asarray(returns, np.float64)
    n = len(returns)
    if n < 3 or not np.isfinite(returns).all():
        raise ValueError(f"A Sharpe ratio needs at least three finite returns, not {n}.")
    centred = returns - returns.mean()
    spread = float(np.sqrt(np.mean(centred**2)))
    if spread <= 1e-14 * float(np.abs(returns).max()):
        raise ValueError("The returns do not vary: a Sharpe ratio is not known.")
    sharpe = float(returns.mean()) / (spread * math.sqrt(n / (n - 1)))
    return SharpeMoments(sharpe, float(np.mean(centred**3)) / spread**3, float(np.mean(centred**4)) / spread**4, n)


def probabilistic_sharpe(moments: SharpeMoments, benchmark: float = 0.0) -> float:
    """Return the chance that the true Sharpe ratio lies above `benchmark`, given skew and fat tails.

    References
    ----------
    Bailey & Lopez de Prado (2012), "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2).
    """
    sharpe, skew, kurtosis, n = moments
    variance = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(n - 1) / math.sqrt(variance))


def lucky_sharpe(n_trials: float, sharpe_variance: float) -> float:
    """Return the Sharpe ratio that the best of `n_trials` worthless strategies is expected to show.

    Parameters
    ----------
    n_trials : float
        Independent tries, at least 1; see `independent_trials`. One try has had no luck: 0.
    sharpe_variance : float
        Variance of the Sharpe ratios over the tries.
    """
    if n_trials < 1.0:
        raise ValueError(f"At least one trial was made, not {n_trials}: count every configuration that was tried.")
    if n_trials == 1.0:
        return 0.0
    high = _NORMAL.inv_cdf(1.0 - 1.0 / n_trials)
    higher = _NORMAL.inv_cdf(1.0 - 1.0 / (n_trials * math.e))
    return max(0.0, math.sqrt(sharpe_variance) * ((1.0 - EULER_GAMMA) * high + EULER_GAMMA * higher))


def deflated_sharpe(returns: np.ndarray, n_trials: float, sharpe_variance: float) -> DeflatedSharpe:
    """Return how likely the Sharpe ratio of the chosen strategy is more than the luck of many tries.

    References
    ----------
    Bailey & Lopez de Prado (2014), "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5).
    """
    moments = sharpe_moments(returns)
    benchmark = lucky_sharpe(n_trials, sharpe_variance)
    return DeflatedSharpe(probabilistic_sharpe(moments, benchmark), moments.sharpe, benchmark, n_trials)


def independent_trials(returns: np.ndarray, same_idea: float = SAME_IDEA) -> np.ndarray:
    """Return the idea that each trial belongs to: 0, 1, 2 ... by average linkage on correlations.

    Parameters
    ----------
    returns : ndarray, shape (rows, trials)
        Returns of every configuration that was tried, also the bad ones. Trials that do not vary never traded and
        share one idea.
    same_idea : float
        Groups merge while their trials correlate this much on average.
    """
    if returns.shape[1] == 1:
        return np.zeros(1, np.int64)
    idle = np.ptp(returns, axis=0) == 0.0
    centred = returns - returns.mean(axis=0)
    centred[:, idle] = 0.0
    scaled = centred / np.where(idle, 1.0, np.linalg.norm(centred, axis=0))
    correlation = scaled.T @ scaled
    correlation[np.ix_(idle, idle)] = 1.0
    distance = np.clip(1.0 - correlation, 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    groups = fcluster(average(squareform(distance, checks=False)), 1.0 - same_idea, criterion="distance")
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def deflated_sharpe_of_trials(returns: np.ndarray, chosen: int, same_idea: float = SAME_IDEA) -> DeflatedSharpe:
    """Return the deflated Sharpe ratio of one trial among all that were made.

    The number of tries is the number of ideas, and their spread is that of the ideas' mean returns.
    """
    idea = independent_trials(returns, same_idea)
    n_ideas = int(idea.max()) + 1
    means = [returns[:, idea == k].mean(axis=1) for k in range(n_ideas)]
    sharpes = [sharpe_moments(mean).sharpe for mean in means if np.ptp(mean) > 0.0]
    variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    return deflated_sharpe(returns[:, chosen], float(n_ideas), variance)


def probability_of_overfitting(returns: np.ndarray, n_blocks: int = 16) -> Overfitting:
    """Return how often the configuration that looks best in one half of the time is a poor one in the other half.

    Parameters
    ----------
    returns : ndarray, shape (rows, trials)
        Returns of every configuration, rows in time order.
    n_blocks : int
        Even number of time blocks; every choice of half of them is once the half that chooses.

    References
    ----------
    Bailey, Borwein, Lopez de Prado & Zhu (2017), "The Probability of Backtest Overfitting", J. Computational Finance.
    """
    rows, trials = returns.shape
    if n_blocks < 2 or n_blocks % 2 or rows < 2 * n_blocks:
        raise ValueError(f"{n_blocks} blocks do not fit {rows} rows: use an even number with two rows a block or more.")
    if trials < 2:
        raise ValueError("Overfitting is about a choice: pass the returns of at least two configurations.")
    if math.comb(n_blocks, n_blocks // 2) > MAX_SPLITS:
        raise ValueError(f"{n_blocks} blocks make more than {MAX_SPLITS} splits: use fewer blocks.")
    centre = returns.mean(axis=0)
    blocks = np.array_split(returns, n_blocks)
    sums = np.array([block.sum(axis=0) for block in blocks])
    squares = np.array([((block - centre) ** 2).sum(axis=0) for block in blocks])
    lengths = np.array([len(block) for block in blocks])
    logits, results = [], []
    for choice in combinations(range(n_blocks), n_blocks // 2):
        inside = np.isin(np.arange(n_blocks), choice)
        seen = _sharpes(sums[inside], squares[inside], lengths[inside], centre)
        unseen = _sharpes(sums[~inside], squares[~inside], lengths[~inside], centre)
        best = int(np.argmax(seen))
        rank = np.sum(unseen < unseen[best]) + (np.sum(unseen == unseen[best]) + 1) / 2
        logits.append(math.log(rank / (trials + 1 - rank)))
        results.append(unseen[best])
    values = np.array(logits)
    losses = float(np.mean(np.array(results) < 0.0))
    return Overfitting(float(np.mean(values <= 0.0)), float(np.median(values)), losses, len(values), values)


def _sharpes(sums: np.ndarray, squares: np.ndarray, lengths: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the Sharpe ratio of every trial over some blocks, from sums about `centre`; 0 where it never traded."""
    n = lengths.sum()
    mean = sums.sum(axis=0) / n
    variance = (squares.sum(axis=0) - n * (mean - centre) ** 2) / (n - 1)
    scale = np.maximum(np.abs(mean), np.abs(centre)) * 1e-12
    spread = np.sqrt(np.maximum(variance, 0.0))
    return np.where(spread > scale, mean / np.where(spread > scale, spread, 1.0), 0.0)
