"""LightGBM with focal or log loss: early stopping on a purged later slice, then a refit on all rows."""

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from modeling.cv import purged_train
from modeling.focal import focal_gradient_hessian, focal_probability, focal_start_score
from modeling.heads import TreeRaw
from modeling.metrics import log_loss
from modeling.training_config import Boosting


@dataclass(frozen=True)
class TreeRows:
    """What trees learn from: features, 0/1 target, weights, and the life of each label."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    t0_ns: np.ndarray
    t1_ns: np.ndarray

    def take(self, rows: np.ndarray) -> "TreeRows":
        return TreeRows(self.x[rows], self.y[rows], self.weight[rows], self.t0_ns[rows], self.t1_ns[rows])


def later_slice(rows: TreeRows, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (earlier, later) row indices; no earlier label lives into the later slice."""
    stamps = np.unique(rows.t0_ns)
    start = stamps[int(len(stamps) * (1.0 - share))]
    later = np.flatnonzero(rows.t0_ns >= start)
    return purged_train(rows.t0_ns, rows.t1_ns, [later], embargo_ns=0), later


def best_rounds(rows: TreeRows, gamma: float, alpha: float | None, how: Boosting, seed: int) -> int:
    """Return the number of rounds after which log loss (after psi) on the later slice stopped falling."""
    earlier, later = later_slice(rows, how.valid_share)
    if not 0 < rows.y[earlier].mean() < 1 or not 0 < rows.y[later].mean() < 1:
        return how.max_rounds // 2
    fitted = _boost(rows.take(earlier), gamma, alpha, how, seed, how.max_rounds, rows.take(later))
    return max(1, int(fitted.best_iteration))


def fit_trees(rows: TreeRows, gamma: float, alpha: float | None, how: Boosting, seed: int, rounds: int) -> TreeRaw:
    booster = _boost(rows, gamma, alpha, how, seed, rounds, None)
    return TreeRaw(booster.model_to_string(num_iteration=rounds), _start(rows, gamma, alpha))


def _start(rows: TreeRows, gamma: float, alpha: float | None) -> float:
    return focal_start_score(float(np.average(rows.y, weights=rows.weight)), gamma, alpha)


def _boost(
    rows: TreeRows, gamma: float, alpha: float | None, how: Boosting, seed: int, rounds: int, valid: TreeRows | None
) -> lgb.Booster:
    def objective(raw: np.ndarray, data: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
        y, weight = _target(data)
        return focal_gradient_hessian(raw, y, gamma, alpha, weight)

    def after_psi(raw: np.ndarray, data: lgb.Dataset) -> tuple[str, float, bool]:
        p = focal_probability(raw, gamma, alpha)
        y, weight = _target(data)
        return "logloss", log_loss(y, p, weight), False

    start = _start(rows, gamma, alpha)
    train = _as_lightgbm(rows, start, how, seed)
    return lgb.train(
        {**_parameters(how, seed, len(rows.y)), "objective": objective},
        train,
        rounds,
        valid_sets=[_as_lightgbm(valid, start, how, seed, train)] if valid else None,
        feval=after_psi,
        callbacks=[lgb.early_stopping(how.patience, verbose=False)] if valid else None,
    )


def _target(data: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
    y, weight = np.asarray(data.get_label()), data.get_weight()
    return y, np.ones(len(y)) if weight is None else np.asarray(weight)  # LightGBM drops weights that are all one


def _as_lightgbm(
    rows: TreeRows, start: float, how: Boosting, seed: int, reference: lgb.Dataset | None = None
) -> lgb.Dataset:
    # A start score is no part of `predict`: whoever scores adds it back.
    return lgb.Dataset(
        rows.x,
        rows.y,
        weight=rows.weight,
        init_score=np.full(len(rows.y), start),
        reference=reference,
        params=_parameters(how, seed, len(rows.y)),
    )


def _parameters(how: Boosting, seed: int, n_rows: int) -> dict[str, Any]:
    return {
        "learning_rate": how.learning_rate,
        "num_leaves": how.num_leaves,
        "max_bin": how.max_bin,
        "min_data_in_bin": how.min_data_in_bin,
        "bin_construct_sample_cnt": max(n_rows, 200_000),
        "min_data_in_leaf": how.min_data_in_leaf,
        "lambda_l2": how.lambda_l2,
        "feature_fraction": how.feature_fraction,
        "bagging_fraction": how.bagging_fraction,
        "bagging_freq": 1 if how.bagging_fraction < 1 else 0,
        "num_threads": how.num_threads,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "boost_from_average": False,
        "feature_pre_filter": False,
        "metric": "None",
        "verbosity": -1,
    }
