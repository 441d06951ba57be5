"""Dataset + TrainingConfig -> TrainedModel and its report. No disk, no database, no clock: same input, same bytes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from modeling.baselines import fit_logistic, fit_rule
from modeling.boosting import TreeRows, best_rounds, fit_trees
from modeling.calibration import Calibrator, calibrator_fit
from modeling.cv import PurgedKFold, Split
from modeling.dataset import Dataset, DatasetError
from modeling.evaluation import Scored, evaluate, n_events
from modeling.focal import focal_probability
from modeling.heads import Head, RawModel, TrainedModel
from modeling.labels import Outcome
from modeling.training_config import ModelKind, TrainingConfig

Progress = Callable[[float, str], None]

MOMENTUM = "momentum"
PRIOR = "prior"
TREES = (ModelKind.FOCAL, ModelKind.LOGLOSS)
TARGETS = {"p_tp": Outcome.TAKE_PROFIT, "p_sl": Outcome.STOP_LOSS}


@dataclass(frozen=True)
class CrossFit:
    """One kind of model, judged on rows it never saw, and what a refit on all rows needs."""

    scored: Scored
    calibrator: Calibrator
    rounds: int


@dataclass(frozen=True)
class TrainingResult:
    model: TrainedModel
    folds: list[dict[str, Any]]
    report: dict[str, Any]


def train(data: Dataset, config: TrainingConfig, on_progress: Progress = lambda share, step: None) -> TrainingResult:
    """Fit both heads of the chosen kind, judge them and their rivals in the same purged folds.

    Parameters
    ----------
    data : Dataset
        Labelled rows; both outcomes must occur.
    config : TrainingConfig
    on_progress : callable
        Called with the share done (0..1) and the name of the step; may raise to stop the training.

    Returns
    -------
    TrainingResult
        The model, a description of the folds, and the report (metrics, baselines, reliability, gates).

    Raises
    ------
    DatasetError
        If the data hold too little to learn from.
    """
    _check(data, config)
    splits = _splits(data, config)
    steps = _Steps(on_progress, total=4 + len(_rivals(config.model)))
    fits = {}
    for name in TARGETS:
        steps.next(f"cross-validating {config.model} {name}")
        fits[name] = cross_fit(config.model, name, data, splits, config)
    steps.next("fitting on all rows")
    model = _final(data, config, fits)
    rivals = {PRIOR: _prior(data, splits)}
    for kind in _rivals(config.model):
        steps.next(f"training the baseline {kind}")
        rivals[kind] = cross_fit(kind, "p_tp", data, splits, config).scored
    steps.next("measuring")
    report = evaluate(data, fits["p_tp"].scored, fits["p_sl"].scored, rivals, config)
    report["calibration"] = {name: fit.calibrator.kind for name, fit in fits.items()}
    report["rounds"] = {name: fit.rounds for name, fit in fits.items() if fit.rounds}
    report["importances"] = _importances(model)
    return TrainingResult(model, [_fold(data, split) for split in splits], report)


class _Steps:
    def __init__(self, on_progress: Progress, total: int) -> None:
        self._on_progress, self._total, self._done = on_progress, total, 0

    def next(self, step: str) -> None:
        self._on_progress(self._done / self._total, step)
        self._done += 1


def _rivals(kind: ModelKind) -> list[str]:
    return [*(other for other in ModelKind if other != kind), MOMENTUM]


def _check(data: Dataset, config: TrainingConfig) -> None:
    for rule in (config.burst, config.momentum):
        if rule.feature not in data.feature_names:
            raise DatasetError(f"The data have no feature {rule.feature!r}, which a baseline rule reads.")
    if np.all(_is_constant(data.X)):
        raise DatasetError("No feature varies in these data: nothing can be learned from them.")
    bets = f"+{config.barriers.take_profit_bps:g} / -{config.barriers.stop_loss_bps:g} bps"
    for outcome, word in ((Outcome.TAKE_PROFIT, "gain"), (Outcome.STOP_LOSS, "loss")):
        hits = int(data.hit(outcome).sum())
        if hits < 10 or hits > len(data) - 10:
            raise DatasetError(
                f"Only {hits} of {len(data)} rows reached the {word} first ({bets}): nothing can be learned "
                "from so few. Use longer or livelier recordings, or other barriers."
            )


def _is_constant(x: np.ndarray) -> np.ndarray:
    first = np.where(np.isnan(x[:1]), np.nan, x[:1])
    return np.all((x == first) | (np.isnan(x) & np.isnan(first)), axis=0)


def _splits(data: Dataset, config: TrainingConfig) -> list[Split]:
    try:
        splits = list(PurgedKFold(config.n_folds, config.embargo_ns).split(data.t0_ns, data.t1_ns))
    except ValueError as error:
        raise DatasetError(f"The data are too short for {config.n_folds} folds. {error}") from error
    for train_rows, _ in splits:
        for outcome in TARGETS.values():
            if not 0 < data.hit(outcome)[train_rows].mean() < 1:
                raise DatasetError(
                    "A fold has no surge to learn from, or nothing but surges: use longer recordings or fewer folds."
                )
    return splits


def link_of(kind: str, config: TrainingConfig) -> tuple[float, float | None]:
    """Return gamma and alpha of the loss that the raw scores of a kind were fitted with."""
    return (config.gamma, config.alpha) if kind == ModelKind.FOCAL else (0.0, None)


def cross_fit(kind: str, name: str, data: Dataset, splits: Sequence[Split], config: TrainingConfig) -> CrossFit:
    """Predict each test block from the rest; its calibrator comes from the other blocks, purged alike."""
    y = data.hit(TARGETS[name])

    def fit_fold(split: Split) -> tuple[np.ndarray, int]:
        train_rows, test_rows = split
        rounds = _rounds(kind, data, y, train_rows, config)
        return _fit(kind, data, y, train_rows, config, rounds).raw(data.X[test_rows]), rounds

    with ThreadPoolExecutor(config.workers) as pool:  # LightGBM works outside the interpreter's lock
        fitted = list(pool.map(fit_fold, splits))
    raw, probability = np.empty(len(data)), np.empty(len(data))
    for (_, test_rows), (scores, _) in zip(splits, fitted, strict=True):
        raw[test_rows] = scores
    p = focal_probability(raw, *link_of(kind, config))
    for train_rows, test_rows in splits:
        probability[test_rows] = _calibrator(p, y, data, train_rows, config).apply(p[test_rows])
    calibrator = _calibrator(p, y, data, np.arange(len(data)), config)
    return CrossFit(Scored(p, probability), calibrator, round(np.mean([rounds for _, rounds in fitted])))


def _calibrator(p: np.ndarray, y: np.ndarray, data: Dataset, rows: np.ndarray, config: TrainingConfig) -> Calibrator:
    rule = config.calibration
    events = n_events(data.symbol[rows], data.t0_ns[rows], data.t1_ns[rows], y[rows] > 0)
    effective = data.weight[rows]
    method = rule.choose(events, float(effective.sum()), int(y[rows].sum()))
    return calibrator_fit(method, p[rows], y[rows], effective, rule.block_rows)


def _rounds(kind: str, data: Dataset, y: np.ndarray, rows: np.ndarray, config: TrainingConfig) -> int:
    if kind not in TREES:
        return 0
    return best_rounds(_tree_rows(data, y, rows), *link_of(kind, config), config.boosting, config.seed)


def _fit(kind: str, data: Dataset, y: np.ndarray, rows: np.ndarray, config: TrainingConfig, rounds: int) -> RawModel:
    if kind in TREES:
        gamma, alpha = link_of(kind, config)
        return fit_trees(_tree_rows(data, y, rows), gamma, alpha, config.boosting, config.seed, rounds)
    if kind == ModelKind.LOGISTIC:
        return fit_logistic(data.X[rows], y[rows], data.weight[rows])
    rule = config.momentum if kind == MOMENTUM else config.burst
    return fit_rule(data.X[rows], data.feature_names.index(rule.feature), rule.scale)


def _tree_rows(data: Dataset, y: np.ndarray, rows: np.ndarray) -> TreeRows:
    weight = data.weight / data.weight.mean()
    return TreeRows(data.X, y, weight, data.t0_ns, data.t1_ns).take(rows)


def _final(data: Dataset, config: TrainingConfig, fits: dict[str, CrossFit]) -> TrainedModel:
    gamma, alpha = link_of(config.model, config)
    everything = np.arange(len(data))
    heads = [
        Head(
            name,
            _fit(config.model, data, data.hit(outcome), everything, config, fits[name].rounds),
            gamma,
            alpha,
            fits[name].calibrator,
        )
        for name, outcome in TARGETS.items()
    ]
    return TrainedModel(str(config.model), data.feature_names, *heads)


def _prior(data: Dataset, splits: Sequence[Split]) -> Scored:
    y, p = data.hit(Outcome.TAKE_PROFIT), np.empty(len(data))
    for train_rows, test_rows in splits:
        p[test_rows] = y[train_rows].mean()
    return Scored(p, p)


def _fold(data: Dataset, split: Split) -> dict[str, Any]:
    train_rows, test_rows = split
    return {
        "train_rows": len(train_rows),
        "test_rows": len(test_rows),
        "purged_rows": len(data) - len(train_rows) - len(test_rows),
        "test_from_ns": int(data.t0_ns[test_rows].min()),
        "test_to_ns": int(data.t1_ns[test_rows].max()),
        "test_base_rate": float(data.hit(Outcome.TAKE_PROFIT)[test_rows].mean()),
    }


def _importances(model: TrainedModel, top: int = 20) -> list[dict[str, Any]]:
    gain = model.take_profit.model.importances(len(model.feature_names))
    share = gain / max(float(gain.sum()), 1e-300)
    order = np.argsort(-share, kind="stable")[:top]
    return [{"feature": model.feature_names[i], "share": float(share[i])} for i in order if share[i] > 0]
