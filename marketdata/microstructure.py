"""The textbook measures of a whole window at once: what the streaming features are decayed versions of.

For reports, studies and as judges in tests; the live features in `features/` are exact at every event instead.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtr

MU_1 = math.sqrt(2.0 / math.pi)
MU_4_3 = 2.0 ** (2.0 / 3.0) * math.gamma(7.0 / 6.0) / math.gamma(0.5)
"""E|z|^p of a standard normal z, for p = 1 and p = 4/3."""


class RealisedVariation(NamedTuple):
    """How much a price moved, and how much of it in jumps.

    variance: sum of squared returns; bipower: the part that smooth moves explain; jump_share: the rest, in [0, 1];
    tripower: tri-power quarticity; z: the test of "no jumps" (standard normal then).
    """

    variance: float
    bipower: float
    jump_share: float
    tripower: float
    z: float


def volume_weighted_price(price: np.ndarray, qty: np.ndarray) -> float:
    return float(price @ qty / qty.sum())


def trade_flow_imbalance(signed_qty: np.ndarray) -> float:
    """Return net bought volume as a share of all volume, in [-1, 1]."""
    return float(signed_qty.sum() / np.abs(signed_qty).sum())


def kyle_lambda(moves: np.ndarray, signed_qty: np.ndarray, *, intercept: bool = True) -> float:
    """Return the price move per unit of net buying: the slope of `moves` on `signed_qty`; NaN without variation.

    References
    ----------
    Kyle (1985), "Continuous Auctions and Insider Trading", Econometrica 53(6).
    """
    x = signed_qty - signed_qty.mean() if intercept else signed_qty
    spread = float(x @ x)
    return float(x @ moves) / spread if spread > 0.0 else math.nan


def amihud_illiquidity(price: np.ndarray, qty: np.ndarray) -> float:
    """Return the mean absolute log return per quote unit traded, trade by trade.

    References
    ----------
    Amihud (2002), "Illiquidity and Stock Returns", Journal of Financial Markets 5(1).
    """
    return float(np.mean(np.abs(np.diff(np.log(price))) / (price * qty)[1:]))


def roll_spread(price: np.ndarray) -> float:
    """Return the spread that makes trade prices bounce as they do; 0 where moves do not reverse.

    References
    ----------
    Roll (1984), "A Simple Implicit Measure of the Effective Bid-Ask Spread", Journal of Finance 39(4).
    """
    moves = np.diff(price)
    covariance = float(np.cov(moves[1:], moves[:-1])[0, 1])
    return 2.0 * math.sqrt(max(-covariance, 0.0))


def realised_variation(returns: np.ndarray) -> RealisedVariation:
    """Split the variance of a window of at least three returns into smooth moves and jumps.

    References
    ----------
    Barndorff-Nielsen & Shephard (2004), "Power and Bipower Variation with Stochastic Volatility and Jumps", and
    (2006), "Econometrics of Testing for Jumps", Journal of Financial Econometrics 2(1) and 4(1).
    """
    size = np.abs(returns)
    n = len(size)
    if n < 3:
        raise ValueError(f"Jumps cannot be told from {n} returns: pass at least three.")
    variance = float(size @ size)
    bipower = n / (n - 1) / MU_1**2 * float(size[1:] @ size[:-1])
    triple = float(np.sum((size[2:] * size[1:-1] * size[:-2]) ** (4.0 / 3.0)))
    tripower = n * n / (n - 2) / MU_4_3**3 * triple
    if variance == 0.0:
        return RealisedVariation(0.0, 0.0, 0.0, 0.0, 0.0)
    doubt = max(1.0, tripower / bipower**2) if bipower > 0.0 else 1.0
    z = (1.0 - bipower / variance) / math.sqrt(((math.pi / 2) ** 2 + math.pi - 5.0) / n * doubt)
    return RealisedVariation(variance, bipower, max(0.0, 1.0 - bipower / variance), tripower, z)


def bulk_buy_share(moves: np.ndarray, sigma: float, degrees: float | None = None) -> np.ndarray:
    """Return the share of each bar's volume that counts as bought, judged by the price move alone.

    Only for comparison with work on data without trade sides: here the side of every trade is known, and the classified
    flow "predicts" volatility mostly because it is made of price moves (Andersen & Bondarenko 2014).

    Parameters
    ----------
    moves : ndarray
        Price change of each bar.
    sigma : float
        Their standard deviation.
    degrees : float or None
        Degrees of freedom of Student's t; None: normal.

    References
    ----------
    Easley, Lopez de Prado & O'Hara (2012), "Bulk Classification of Trading Activity".
    """
    scaled = moves / sigma
    return np.asarray(ndtr(scaled) if degrees is None else stdtr(degrees, scaled))
