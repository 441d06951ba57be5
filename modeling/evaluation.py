"""What a model is worth: metrics with intervals, rivals in the same folds, reliability, decision region, gates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from modeling.dataset import Dataset
from modeling.heads import together
from modeling.labels import Barriers, Outcome
from modeling.metrics import (
    METRICS,
    ClusterBootstrap,
    Interval,
    corp_decomposition,
    event_clusters,
    interval,
    reliability_table,
    roc_auc,
)
from modeling.training_config import ModelKind, TrainingConfig

QUIET_BLOCKS = 5
"""Rows outside surges are resampled in blocks of this many horizons."""

BEST_SHARE = 0.01
"""Utility is what this share of rows, the best by score, would have earned."""

REGION_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0 + 1e-12)


def n_events(symbol: np.ndarray, t0_ns: np.ndarray, t1_ns: np.ndarray, positive: np.ndarray) -> int:
    return event_clusters(symbol, t0_ns, t1_ns, positive, block_ns=1 << 62)[1]


class Scored(NamedTuple):
    """Out-of-fold chances of one model: as ranked, and calibrated without looking at the rows they are for."""

    ranking: np.ndarray
    probability: np.ndarray

    def of(self, metric: str) -> np.ndarray:
        # Each fold has its own calibrator; mixing them would blur the order of rows, so ranking is judged before.
        return self.ranking if metric in ("ap", "auc") else self.probability

    def take(self, rows: np.ndarray) -> "Scored":
        return Scored(self.ranking[rows], self.probability[rows])


def evaluate(
    data: Dataset,
    p_tp: Scored,
    p_sl: Scored,
    rivals: dict[str, Scored],
    config: TrainingConfig,
    kind: str | None = None,
) -> dict[str, Any]:
    """Judge a model, and its rivals on the same rows and the same bootstrap draws."""
    y, oof = data.hit(Outcome.TAKE_PROFIT), together(p_tp.probability, p_sl.probability)
    bootstrap, events = _bootstrap(data, config)
    metrics: dict[str, Any] = {"rows": len(data), "events": events, "base_rate": float(y.mean())}
    metrics |= _with_intervals(y, p_tp, bootstrap) | _direction(data, p_tp.ranking)
    metrics |= _alerts(data, oof[:, 0], config.decision_p)
    metrics["p_sl"] = _points(data.hit(Outcome.STOP_LOSS), p_sl)
    baselines = {
        name: _rival(y, p_tp, rival, bootstrap) | utility_gain(data, p_tp, rival, bootstrap)
        for name, rival in rivals.items()
    }
    return {
        "metrics": metrics,
        "baselines": baselines,
        "gates": _gates(metrics, baselines, config, kind or config.model),
        "reliability": reliability_table(y, p_tp.probability, np.ones(len(y))),
        "decision_region": decision_region(data, oof, config.barriers),
    }


def evaluate_unseen(
    data: Dataset, probabilities: np.ndarray, config: TrainingConfig, base_rate: float
) -> dict[str, Any]:
    """Judge the probabilities of a finished model on new rows, beside the rules and the base rate of its training."""
    p_tp, p_sl = (Scored(column, column) for column in probabilities.T)
    rivals = {"prior": np.full(len(data), base_rate)}
    for name, rule in (("rule", config.burst), ("momentum", config.momentum)):
        rivals[name] = np.nan_to_num(data.X[:, data.feature_names.index(rule.feature)] / rule.scale, nan=0.0)
    scored = {name: Scored(ranking, np.full(len(data), base_rate)) for name, ranking in rivals.items()}
    report = evaluate(data, p_tp, p_sl, scored, config)
    keep = ("ap", "auc", "ap_gain", "utility_bps", "utility_gain")
    return {
        "rows": len(data),
        "events": report["metrics"]["events"],
        "metrics": report["metrics"],
        "baselines": {name: {key: row[key] for key in keep} for name, row in report["baselines"].items()},
        "decision_region": report["decision_region"],
    }


def _points(y: np.ndarray, scored: Scored) -> dict[str, Any]:
    ones = np.ones(len(y))
    return {
        "base_rate": float(y.mean()),
        **{name: metric(y, scored.of(name), ones) for name, metric in METRICS.items()},
    }


def _with_intervals(y: np.ndarray, scored: Scored, bootstrap: ClusterBootstrap) -> dict[str, Any]:
    points = _points(y, scored)
    return {name: interval(points[name], bootstrap.draws(name, y, scored.of(name)))._asdict() for name in METRICS}


def _rival(y: np.ndarray, champion: Scored, rival: Scored, bootstrap: ClusterBootstrap) -> dict[str, Any]:
    """Points of one rival, and the champion's gain over it in AP and log loss with a paired interval."""
    ours, points = _points(y, champion), _points(y, rival)
    for name, sign in (("ap", 1.0), ("logloss", -1.0)):
        draws = bootstrap.draws(name, y, champion.of(name)) - bootstrap.draws(name, y, rival.of(name))
        points[f"{name}_gain"] = interval(sign * (ours[name] - points[name]), sign * draws)._asdict()
    return points


def _bootstrap(data: Dataset, config: TrainingConfig) -> tuple[ClusterBootstrap, int]:
    block_ns = QUIET_BLOCKS * config.barriers.horizon_ns
    positive = data.hit(Outcome.TAKE_PROFIT) > 0
    cluster, events = event_clusters(data.symbol, data.t0_ns, data.t1_ns, positive, block_ns)
    return ClusterBootstrap.of(cluster, config.bootstrap_draws, config.seed), events


def utility_gain(data: Dataset, ours: Scored, rival: Scored, bootstrap: ClusterBootstrap) -> dict[str, Any]:
    """Mean return of a rival's best 1 % of rows before costs, and how much more ours make, with a paired interval."""
    value, draws = _best_rows_return(data, ours, bootstrap)
    rival_value, rival_draws = _best_rows_return(data, rival, bootstrap)
    gain = interval(value - rival_value, draws - rival_draws)
    return {"utility_bps": rival_value, "utility_gain": gain._asdict()}


def _best_rows_return(data: Dataset, scored: Scored, bootstrap: ClusterBootstrap) -> tuple[float, np.ndarray]:
    best = np.argsort(-scored.ranking, kind="stable")[: max(1, int(BEST_SHARE * len(data)))]
    size = bootstrap.counts.shape[1]
    summed = np.bincount(bootstrap.cluster[best], data.ret_bps[best], size)
    rows = np.bincount(bootstrap.cluster[best], minlength=size)
    with np.errstate(invalid="ignore"):  # a draw without any of these rows says nothing
        return float(data.ret_bps[best].mean()), (bootstrap.counts @ summed) / (bootstrap.counts @ rows)


def contest(
    data: Dataset, scored: dict[str, Scored], kinds: Sequence[ModelKind], config: TrainingConfig
) -> tuple[ModelKind, dict[str, Any]]:
    """Return the champion of `kinds`, plainest first, and every duel.

    A challenger takes the title only if the paired interval of its gain in AP lies above zero and its best rows do not
    earn less: elaborate models have to prove themselves.
    """
    bootstrap, _ = _bootstrap(data, config)
    y, champion, duels = data.hit(Outcome.TAKE_PROFIT), kinds[0], []
    for kind in kinds[1:]:
        ours, theirs = scored[kind], scored[champion]
        row = _rival(y, ours, theirs, bootstrap) | utility_gain(data, ours, theirs, bootstrap)
        won = row["ap_gain"]["low"] > 0.0 and row["utility_gain"]["value"] >= 0.0
        gains = {name: row[name] for name in ("ap_gain", "logloss_gain", "utility_gain")}
        duels.append({"challenger": str(kind), "champion": str(champion), "won": won, **gains})
        champion = kind if won else champion
    pair = _rival(y, scored[ModelKind.FOCAL], scored[ModelKind.LOGLOSS], bootstrap)
    gains = utility_gain(data, scored[ModelKind.FOCAL], scored[ModelKind.LOGLOSS], bootstrap)
    return champion, {
        "champion": str(champion),
        "duels": duels,
        "focal_over_logloss": {**{name: pair[name] for name in ("ap_gain", "logloss_gain")}, **gains},
    }


def calibration_points(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    ones = np.ones(len(y))
    names = ("brier", "logloss", "ece")
    return {name: METRICS[name](y, p, ones) for name in names} | corp_decomposition(y, p)


def _direction(data: Dataset, p: np.ndarray) -> dict[str, float]:
    """A high AUC can be mere volatility: split it into "anything happens" and "which way" (methods 0.5)."""
    touched = data.outcome != Outcome.TIME_OUT
    up = data.hit(Outcome.TAKE_PROFIT)[touched]
    return {
        "auc_touched": roc_auc(touched.astype(np.float64), p, np.ones(len(p))),
        "auc_direction": roc_auc(up, p[touched], np.ones(len(up))),
    }


def _alerts(data: Dataset, p: np.ndarray, decision_p: float) -> dict[str, float]:
    """Events caught, alarms raised and time won when every row with p >= decision_p raises an alarm."""
    up, fired = data.outcome == Outcome.TAKE_PROFIT, p >= decision_p
    event, events = event_clusters(data.symbol, data.t0_ns, data.t1_ns, up, block_ns=1 << 62)
    alert, alerts = event_clusters(data.symbol, data.t0_ns, data.t1_ns, fired, block_ns=1 << 62)
    hits = np.flatnonzero(up & fired)
    caught, first = np.unique(event[hits], return_index=True)
    lead_s = (data.t1_ns[hits[first]] - data.t0_ns[hits[first]]) / 1e9
    coin_days = data.span_s * len(np.unique(data.symbol)) / 86_400
    return {
        "decision_p": decision_p,
        "event_recall": len(caught) / events if events else float("nan"),
        "alert_precision": len(np.unique(alert[hits])) / alerts if alerts else float("nan"),
        "alerts_per_day": alerts / coin_days,
        "lead_s": float(np.median(lead_s)) if len(hits) else float("nan"),
    }


def decision_region(data: Dataset, oof: np.ndarray, barriers: Barriers) -> list[dict[str, Any]]:
    """Promised against realised hits and returns (before fees), by bucket of p_tp."""
    p_tp, p_sl = oof.T
    expected = p_tp * barriers.take_profit_bps - p_sl * barriers.stop_loss_bps
    expected = expected + np.maximum(0.0, 1.0 - p_tp - p_sl) * data.mean_timeout_bps
    bucket = np.searchsorted(REGION_EDGES, p_tp, side="right") - 1
    return [
        _region_row(data, np.flatnonzero(bucket == i), p_tp, expected, REGION_EDGES[i : i + 2])
        for i in range(len(REGION_EDGES) - 1)
        if np.any(bucket == i)
    ]


def _region_row(
    data: Dataset, rows: np.ndarray, p_tp: np.ndarray, expected_bps: np.ndarray, edges: tuple[float, ...]
) -> dict[str, Any]:
    fired = np.zeros(len(data), bool)
    fired[rows] = True
    return {
        "from_p": edges[0],
        "to_p": min(edges[1], 1.0),
        "rows": len(rows),
        "episodes": n_events(data.symbol, data.t0_ns, data.t1_ns, fired),
        "expected_hit": float(p_tp[rows].mean()),
        "realised_hit": float(data.hit(Outcome.TAKE_PROFIT)[rows].mean()),
        "expected_bps": float(expected_bps[rows].mean()),
        "realised_bps": float(data.ret_bps[rows].mean()),
    }


def gate(value: float, limit: float, ok: bool, text: str) -> dict[str, Any]:
    return {"ok": bool(ok), "value": value, "limit": limit, "text": text}


def _gates(metrics: dict[str, Any], baselines: dict[str, Any], config: TrainingConfig, kind: str) -> dict[str, Any]:
    ap, ece = Interval(**metrics["ap"]), metrics["ece"]["value"]
    rules = [name for name in (ModelKind.RULE, "momentum") if name in baselines]
    gates = {
        "events": gate(
            metrics["events"], config.min_events, metrics["events"] >= config.min_events, "Enough surges to judge by."
        ),
        "beats_base_rate": gate(
            ap.low, metrics["base_rate"], ap.low > metrics["base_rate"], "AP, lower end, above the share of surges."
        ),
        "calibration": gate(ece, config.max_ece, ece <= config.max_ece, "Promised and seen shares agree (ECE)."),
    }
    for name in rules:
        low = baselines[name]["ap_gain"]["low"]
        gates[f"beats_{name}"] = gate(low, 0.0, low > 0.0, f"AP gain over the {name} rule, lower end, above zero.")
    if kind == ModelKind.RULE:
        gates["beats_rule"] = gate(0.0, 0.0, False, "This is the rule itself: promote it by hand if you want it.")
    return gates
