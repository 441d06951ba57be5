"""The honest rivals of every model: a burst rule, a momentum rule and logistic regression."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from modeling.heads import HUGE, LinearRaw, RuleRaw

WINSOR_SHARE = 0.001
LOGISTIC_C = 0.05


def fit_logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> LinearRaw:
    """Fit on features whose gaps are filled with the median and whose tails are cut at 0.1 %."""
    low, fill, high = (_quantile(x, q) for q in (WINSOR_SHARE, 0.5, 1.0 - WINSOR_SHARE))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=LOGISTIC_C, solver="newton-cholesky"))
    unfitted = LinearRaw(fill, low, high, pipeline)
    with threadpool_limits(1):  # on a busy machine BLAS threads spin for ten times the work
        pipeline.fit(unfitted.prepared(x), y, logisticregression__sample_weight=weight)
    return unfitted


def _quantile(x: np.ndarray, q: float) -> np.ndarray:
    """Return each column's quantile among its known values; 0 where none is known."""
    ordered = np.sort(np.clip(x, -HUGE, HUGE), axis=0)  # NaN last
    known = np.count_nonzero(~np.isnan(x), axis=0)
    at = np.clip(np.rint(q * (known - 1)).astype(np.int64), 0, None)
    return np.where(known > 0, ordered[at, np.arange(x.shape[1])], 0.0)


def fit_rule(x: np.ndarray, feature: int, scale: float) -> RuleRaw:
    """Take one feature as the score; unknown values score like its median."""
    column = x[:, feature]
    known = column[np.isfinite(column)]
    return RuleRaw(feature, scale, float(np.median(known)) if len(known) else 0.0)
