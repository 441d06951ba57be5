"""What a model is worth: metrics with intervals, rivals in the same folds, reliability, decision region, gates."""

from typing import Any, NamedTuple

import numpy as np

from modeling.dataset import Dataset
from modeling.heads import together
from modeling.labels import Barriers, Outcome
from modeling.metrics import (
    METRICS,
    ClusterBootstrap,
    Interval,
    event_clusters,
    interval,
    reliability_table,
    roc_auc,
)
from modeling.training_config import ModelKind, TrainingConfig

QUIET_BLOCKS = 5
"""Rows outside surges are resampled in blocks of this many horizons."""

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


def evaluate(
    data: Dataset, p_tp: Scored, p_sl: Scored, rivals: dict[str, Scored], config: TrainingConfig
) -> dict[str, Any]:
    """Judge a model, and its rivals on the same rows and the same bootstrap draws."""
    y, oof = data.hit(Outcome.TAKE_PROFIT), together(p_tp.probability, p_sl.probability)
    block_ns = QUIET_BLOCKS * config.barriers.horizon_ns
    cluster, events = event_clusters(data.symbol, data.t0_ns, data.t1_ns, y > 0, block_ns)
    bootstrap = ClusterBootstrap.of(cluster, config.bootstrap_draws, config.seed)
    metrics: dict[str, Any] = {"rows": len(data), "events": events, "base_rate": float(y.mean())}
    metrics |= _with_intervals(y, p_tp, bootstrap) | _direction(data, p_tp.ranking)
    metrics |= _alerts(data, oof[:, 0], config.decision_p)
    metrics["p_sl"] = _points(data.hit(Outcome.STOP_LOSS), p_sl)
    baselines = {name: _rival(y, p_tp, rival, bootstrap) for name, rival in rivals.items()}
    return {
        "metrics": metrics,
        "baselines": baselines,
        "gates": _gates(metrics, baselines, config),
        "reliability": reliability_table(y, p_tp.probability, np.ones(len(y))),
        "decision_region": decision_region(data, oof, config.barriers),
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


def _gates(metrics: dict[str, Any], baselines: dict[str, Any], config: TrainingConfig) -> dict[str, Any]:
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
    if config.model == ModelKind.RULE:
        gates["beats_rule"] = gate(0.0, 0.0, False, "This is the rule itself: promote it by hand if you want it.")
    return gates
