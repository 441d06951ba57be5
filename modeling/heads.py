"""What training makes: two heads, each a raw score, a link to probability and a calibrator; what export must equal."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import lightgbm as lgb
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from modeling.calibration import Calibrator
from modeling.focal import focal_probability

HUGE = 1e300
"""Linear scores clip their inputs to this size: an infinity must not meet a factor of zero."""


class RawModel(Protocol):
    def raw(self, x: np.ndarray) -> np.ndarray: ...

    def importances(self, n_features: int) -> np.ndarray: ...


@dataclass(frozen=True)
class TreeRaw:
    """Boosted trees as LightGBM's own text, plus the start score that LightGBM leaves out of its predictions."""

    text: str
    start: float

    @cached_property
    def booster(self) -> lgb.Booster:
        return lgb.Booster(model_str=self.text)

    def raw(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1)) + self.start

    def importances(self, n_features: int) -> np.ndarray:
        return self.booster.feature_importance("gain").astype(np.float64)


@dataclass(frozen=True)
class LinearRaw:
    """Logistic regression on filled, winsorised and scaled features."""

    fill: np.ndarray
    low: np.ndarray
    high: np.ndarray
    pipeline: Pipeline  # StandardScaler -> LogisticRegression, exported with skl2onnx

    @property
    def regression(self) -> LogisticRegression:
        return self.pipeline[-1]

    def prepared(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(np.where(np.isnan(x), self.fill, x), self.low), self.high)

    def raw(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.pipeline.decision_function(self.prepared(x)))

    def importances(self, n_features: int) -> np.ndarray:
        return np.abs(self.regression.coef_[0])


@dataclass(frozen=True)
class RuleRaw:
    """One feature, divided by a fixed scale: what a trader would draw a line through."""

    feature: int
    scale: float
    fill: float

    def raw(self, x: np.ndarray) -> np.ndarray:
        column = x[:, self.feature]
        return np.clip(np.where(np.isnan(column), self.fill, column), -HUGE, HUGE) / self.scale

    def importances(self, n_features: int) -> np.ndarray:
        return np.eye(1, n_features, self.feature)[0]


@dataclass(frozen=True)
class Head:
    """raw score -> probability by the loss's own inverse link -> calibrated probability."""

    name: str
    model: RawModel
    gamma: float  # 0: log loss, plain sigmoid
    alpha: float | None
    calibrator: Calibrator

    def raw(self, x: np.ndarray) -> np.ndarray:
        return self.model.raw(x)

    def calibrated(self, raw: np.ndarray) -> np.ndarray:
        return self.calibrator.apply(focal_probability(raw, self.gamma, self.alpha))


@dataclass(frozen=True)
class TrainedModel:
    """The two chances a decision needs: gain reached first, and loss reached first."""

    kind: str
    feature_names: tuple[str, ...]
    take_profit: Head
    stop_loss: Head

    @property
    def heads(self) -> tuple[Head, Head]:
        return self.take_profit, self.stop_loss

    def raw_scores(self, x: np.ndarray) -> np.ndarray:
        return np.column_stack([head.raw(x) for head in self.heads])

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        raw = self.raw_scores(x)
        return together(*(head.calibrated(raw[:, i]) for i, head in enumerate(self.heads)))


def together(p_tp: np.ndarray, p_sl: np.ndarray) -> np.ndarray:
    """Return both chances side by side, shrunk where they were fitted to more than one in sum."""
    return np.column_stack([p_tp, p_sl]) / np.maximum(p_tp + p_sl, 1.0)[:, None]
