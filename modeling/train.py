"""Dataset + TrainingConfig -> TrainedModel and its report. No disk, no database, no clock: same input, same bytes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modeling.baselines import fit_logistic, fit_rule
from modeling.boosting import TreeRows, best_rounds, fit_trees
from modeling.calibration import Calibrator, calibrator_fit
from modeling.cv import PurgedKFold, Split, WalkForward
from modeling.dataset import Dataset, DatasetError
from modeling.evaluation import Scored, calibration_points, contest, evaluate, n_events
from modeling.focal import focal_probability
from modeling.heads import Head, RawModel, TrainedModel, together
from modeling.labels import Outcome
from modeling.training_config import ModelKind, TrainingConfig

Progress = Callable[[float, str], None]

MOMENTUM = "momentum"
PRIOR = "prior"
BLEND = "blend"
CONTEST = (ModelKind.LOGISTIC, ModelKind.LOGLOSS, ModelKind.FOCAL)
"""From plain to elaborate: a kind wins only if it is surely better than the plainer champion before it."""
TREES = (ModelKind.FOCAL, ModelKind.LOGLOSS)
TARGETS = {"p_tp": Outcome.TAKE_PROFIT, "p_sl": Outcome.STOP_LOSS}


@dataclass(frozen=True)
class CrossFit:
    """One kind of model, judged on rows it never saw, and what a refit on all rows needs.

    `scored` is NaN in `probability` for rows that no calibrator of their past was there for, and in both columns for
    rows that were never in a test block; walk-forward validation has such rows.
    """

    scored: Scored
    calibrator: Calibrator
    rounds: int


@dataclass(frozen=True)
class TrainingResult:
    """`judged`: the rows the report is about, and their calibrated p_tp and p_sl, shape (n, 2).

    No label the model was fitted on lives beyond `trained_to_ns`.
    """

    model: TrainedModel
    folds: list[dict[str, Any]]
    report: dict[str, Any]
    judged: tuple[np.ndarray, np.ndarray]
    trained_to_ns: int


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
    steps = _Steps(on_progress, total=5 + len(ModelKind) + config.contest)
    fits: dict[str, CrossFit] = {}
    for kind in [*ModelKind, MOMENTUM]:
        steps.next(f"cross-validating {kind} p_tp")
        fits[kind] = cross_fit(kind, "p_tp", data, splits, config)
    if config.contest:
        steps.next("blending")
        fits[BLEND] = _blend([fits[ModelKind.LOGISTIC], fits[ModelKind.LOGLOSS]], data, splits, config)
    judged = np.flatnonzero(np.isfinite(fits[ModelKind.LOGISTIC].scored.probability))
    seen = data.take(judged)
    scored = {name: fit.scored.take(judged) for name, fit in fits.items()} | {PRIOR: _prior(data, splits).take(judged)}
    kind, choice = config.model, None
    if config.contest:
        kind, choice = contest(seen, scored, CONTEST, config)
    steps.next(f"cross-validating {kind} p_sl")
    stop = cross_fit(kind, "p_sl", data, splits, config)
    steps.next("fitting on all rows")
    pair = {"p_tp": fits[kind], "p_sl": stop}
    learnt = splits[-1][0] if config.walk_forward else np.arange(len(data))
    if config.walk_forward:  # the newest block stays unseen, so that the model can be evaluated on it
        pair = {name: _without_newest(fit, name, data, learnt, config) for name, fit in pair.items()}
    model = _final(kind, data, config, pair, learnt)
    steps.next("measuring")
    rivals = {PRIOR: scored[PRIOR], **{name: rival for name, rival in scored.items() if name not in (PRIOR, kind)}}
    report = evaluate(seen, scored[kind], stop.scored.take(judged), rivals, config, kind)
    _refuse_leak(report["metrics"]["ap"]["value"], config)
    report["calibration"] = {name: fit.calibrator.kind for name, fit in pair.items()}
    report["calibration_contest"] = _calibration_contest(fits[kind], data, splits, config)
    report["choice"] = choice
    report["rounds"] = {name: fit.rounds for name, fit in pair.items() if fit.rounds}
    report["importances"] = _importances(model)
    probabilities = together(scored[kind].probability, stop.scored.take(judged).probability)
    folds, trained_to_ns = [_fold(data, split) for split in splits], int(data.t1_ns[learnt].max())
    return TrainingResult(model, folds, report, (judged, probabilities), trained_to_ns)


def _without_newest(fit: CrossFit, name: str, data: Dataset, learnt: np.ndarray, config: TrainingConfig) -> CrossFit:
    known, p = learnt[np.isfinite(fit.scored.ranking[learnt])], fit.scored.ranking
    return replace(fit, calibrator=_calibrator(p, data.hit(TARGETS[name]), data, known, config))


def _refuse_leak(ap: float, config: TrainingConfig) -> None:
    if ap > config.max_ap:
        raise DatasetError(
            f"The model reaches an average precision of {ap:.3f}; above {config.max_ap:g} nobody was honest on these "
            "data, so this is treated as a leak and nothing is registered. Look for features that know the future."
        )


def _blend(parts: Sequence[CrossFit], data: Dataset, splits: Sequence[Split], config: TrainingConfig) -> CrossFit:
    """Return the mean probability of several kinds, calibrated like any other."""
    p = np.mean([part.scored.ranking for part in parts], axis=0)
    return _calibrated(p, data.hit(Outcome.TAKE_PROFIT), data, splits, config, 0)


def _calibration_contest(
    fit: CrossFit, data: Dataset, splits: Sequence[Split], config: TrainingConfig
) -> dict[str, dict[str, float]]:
    """Measure each way of calibration on the same scores of the same model."""
    y, p = data.hit(Outcome.TAKE_PROFIT), fit.scored.ranking
    found = {"none": p}
    for method in ("platt", "isotonic"):
        rule = replace(config.calibration, method=method)
        found[method] = _calibrated(p, y, data, splits, replace(config, calibration=rule), 0).scored.probability
    rows = np.flatnonzero(np.isfinite(fit.scored.probability))
    return {name: calibration_points(y[rows], q[rows]) for name, q in found.items()}


class _Steps:
    def __init__(self, on_progress: Progress, total: int) -> None:
        self._on_progress, self._total, self._done = on_progress, total, 0

    def next(self, step: str) -> None:
        self._on_progress(self._done / self._total, step)
        self._done += 1


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
        folds = (WalkForward if config.walk_forward else PurgedKFold)(config.n_folds, config.embargo_ns)
        splits = list(folds.split(data.t0_ns, data.t1_ns))
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
    raw = np.full(len(data), np.nan)
    for (_, test_rows), (scores, _) in zip(splits, fitted, strict=True):
        raw[test_rows] = scores
    p = np.where(np.isfinite(raw), focal_probability(np.nan_to_num(raw), *link_of(kind, config)), np.nan)
    return _calibrated(p, y, data, splits, config, round(np.mean([rounds for _, rounds in fitted])))


def _calibrated(
    p: np.ndarray, y: np.ndarray, data: Dataset, splits: Sequence[Split], config: TrainingConfig, rounds: int
) -> CrossFit:
    """Calibrate each test block by scored rows of its own training rows; those were out of fold as well."""
    scored = np.isfinite(p)
    probability = np.full(len(p), np.nan)
    for train_rows, test_rows in splits:
        known = train_rows[scored[train_rows]]
        if len(known):  # walking forward, the first block has no past that was scored: it only calibrates the next
            probability[test_rows] = _calibrator(p, y, data, known, config).apply(p[test_rows])
    return CrossFit(Scored(p, probability), _calibrator(p, y, data, np.flatnonzero(scored), config), rounds)


def _calibrator(p: np.ndarray, y: np.ndarray, data: Dataset, rows: np.ndarray, config: TrainingConfig) -> Calibrator:
    rule = config.calibration
    events = n_events(data.symbol[rows], data.t0_ns[rows], data.t1_ns[rows], y[rows] > 0)
    effective = data.weight[rows]
    method = rule.choose(events, float(effective.sum()), int(y[rows].sum()))
    return calibrator_fit(method, p[rows], y[rows], effective, rule.block_rows)


def _rounds(kind: str, data: Dataset, y: np.ndarray, rows: np.ndarray, config: TrainingConfig) -> int:
    if kind not in TREES:
        return 0
    if config.boosting.patience == 0:
        return config.boosting.max_rounds
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


def _final(
    kind: str, data: Dataset, config: TrainingConfig, fits: dict[str, CrossFit], rows: np.ndarray
) -> TrainedModel:
    gamma, alpha = link_of(kind, config)
    heads = [
        Head(
            name,
            _fit(kind, data, data.hit(outcome), rows, config, fits[name].rounds),
            gamma,
            alpha,
            fits[name].calibrator,
        )
        for name, outcome in TARGETS.items()
    ]
    return TrainedModel(str(kind), data.feature_names, *heads)


def _prior(data: Dataset, splits: Sequence[Split]) -> Scored:
    y, p = data.hit(Outcome.TAKE_PROFIT), np.full(len(data), np.nan)
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
