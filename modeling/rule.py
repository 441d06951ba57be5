"""The volume-burst rule: what scores before anything was trained, and the plainest thing a model has to beat.

It is a fixed logistic of four features, not a fit: its probabilities are an ordering, not calibrated promises.
"""

import numpy as np

from marketdata.features.feature_set import FEATURE_NAMES

RULE_VERSION = "rule"
WEIGHTS = {"buy_surge_5s_300s": 0.9, "trade_imbalance_5s": 1.0, "ofi_5s": 0.1, "return_5s": 0.02}
BIAS = -5.0
STOP_SHARE = 0.6
TAKE_PROFIT_BPS, STOP_LOSS_BPS, HORIZON_S = 60.0, 40.0, 60.0

_COLUMNS = np.array([FEATURE_NAMES.index(name) for name in WEIGHTS])
_COEFFICIENTS = np.array(list(WEIGHTS.values()))


def rule_score(X: np.ndarray) -> np.ndarray:
    """Return p_tp and p_sl of the volume-burst rule.

    Parameters
    ----------
    X : ndarray of float64, shape (n, N_FEATURES)
        Feature rows; a missing feature counts as 0.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        p_sl is a fixed share of what p_tp leaves.
    """
    values = np.clip(np.nan_to_num(X[:, _COLUMNS], nan=0.0), -50.0, 50.0)
    score = np.full(len(X), BIAS)
    for k, weight in enumerate(_COEFFICIENTS):  # column by column: the same sum for every batch size
        score += weight * values[:, k]
    p_tp = 1.0 / (1.0 + np.exp(-score))
    return np.stack([p_tp, STOP_SHARE * (1.0 - p_tp)], axis=1)
