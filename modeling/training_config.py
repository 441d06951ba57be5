"""Every number of the science behind a model, frozen and saved beside it."""

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from marketdata.events import NS_PER_S
from modeling.calibration import CalibrationRule
from modeling.labels import Barriers


class ModelKind(StrEnum):
    FOCAL = "focal"  # LightGBM with focal loss
    LOGLOSS = "logloss"  # LightGBM with log loss
    LOGISTIC = "logistic"
    RULE = "rule"  # volume burst: one feature, one line


@dataclass(frozen=True)
class Boosting:
    """How trees are grown. Wide bins keep the tail, where surges live, apart (reference: methods 0.2)."""

    learning_rate: float = 0.1
    num_leaves: int = 7
    max_rounds: int = 160
    patience: int = 20  # 0: always max_rounds, where a later slice holds too few events to stop by
    valid_share: float = 0.2
    max_bin: int = 1023
    min_data_in_bin: int = 1
    min_data_in_leaf: int = 100
    lambda_l2: float = 20.0
    feature_fraction: float = 0.4
    bagging_fraction: float = 0.5
    num_threads: int = 1  # with two on a busy machine LightGBM spins: up to 40 times slower


@dataclass(frozen=True)
class SimulatedHistory:
    """What `--dataset simulated` plays: never the seed that the demo exchange runs on."""

    seconds: float = 2400.0
    symbols: int = 20
    seed: int = 20_260_117
    start_ns: int = 1_700_000_000 * NS_PER_S


@dataclass(frozen=True)
class Rule:
    """A baseline: one feature as the score, divided by what counts as much of it."""

    feature: str
    scale: float


@dataclass(frozen=True)
class TrainingConfig:
    model: ModelKind = ModelKind.FOCAL
    gamma: float = 2.0
    alpha: float | None = None
    seed: int = 7
    n_folds: int = 4
    embargo_ns: int = 60 * NS_PER_S
    row_step_ns: int = 2 * NS_PER_S
    bootstrap_draws: int = 200
    workers: int = 2
    decision_p: float = 0.4
    burst: Rule = Rule("buy_surge_5s_300s", 1.0)
    momentum: Rule = Rule("return_15s", 25.0)
    salvage: bool = False  # use what lies before the damage of a cut-off recording
    min_events: int = 20
    max_ece: float = 0.05
    max_ap: float = 1.0  # skill above this was never honest on such data: it is refused as a leak
    walk_forward: bool = False  # judge each block by a model and a calibrator of its past only
    contest: bool = False  # let the kinds compete and register the winner instead of `model`
    certificate: bool = True  # test features and dataset for look-ahead before the model is believed
    cost_bps: float = 25.0  # a round trip, where a report speaks of what is left after costs
    barriers: Barriers = field(default_factory=Barriers)
    boosting: Boosting = field(default_factory=Boosting)
    calibration: CalibrationRule = field(default_factory=CalibrationRule)
    history: SimulatedHistory = field(default_factory=SimulatedHistory)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any], dataset: str = "") -> "TrainingConfig":
        """Return the defaults of `dataset` with `values` laid over them; unknown names and wrong kinds are refused."""
        return _laid_over(_laid_over(cls(), PRESETS.get(dataset, {}), ""), values, "")


_FORWARD: dict[str, Any] = {"walk_forward": True, "contest": True, "n_folds": 4, "model": "logistic"}
PRESETS: dict[str, dict[str, Any]] = {
    "pumps": _FORWARD
    | {
        "embargo_ns": 600 * NS_PER_S,
        "row_step_ns": 5 * NS_PER_S,
        "max_ap": 0.30,
        "burst": {"feature": "volume_60s", "scale": 1.0},
        "momentum": {"feature": "return_60s", "scale": 0.01},
        "barriers": {
            "take_profit_bps": 300.0,
            "stop_loss_bps": 150.0,
            "horizon_ns": 600 * NS_PER_S,
            "entry_latency_ns": NS_PER_S,
        },
        "boosting": {
            "learning_rate": 0.05,
            "max_rounds": 200,
            "patience": 0,
            "min_data_in_leaf": 1000,
            "lambda_l2": 50.0,
            "feature_fraction": 0.3,
            "bagging_fraction": 0.7,
        },
    },
    "klines": _FORWARD
    | {
        "embargo_ns": 3600 * NS_PER_S,
        "row_step_ns": 600 * NS_PER_S,
        "decision_p": 0.3,
        "max_ece": 0.01,
        "burst": {"feature": "volume_5m", "scale": 1.0},
        "momentum": {"feature": "return_15m", "scale": 0.01},
        "barriers": {
            "take_profit_bps": 300.0,
            "stop_loss_bps": 150.0,
            "horizon_ns": 3600 * NS_PER_S,
            "entry_latency_ns": 0,
        },
        "boosting": {
            "learning_rate": 0.05,
            "num_leaves": 15,
            "max_rounds": 200,
            "patience": 0,
            "max_bin": 511,
            "min_data_in_leaf": 500,
            "lambda_l2": 50.0,
            "feature_fraction": 0.3,
            "bagging_fraction": 0.7,
        },
    },
}
"""What each recorded dataset asks for where nobody says otherwise (reference: methods 1.3, 1.4)."""


_NESTED = (Barriers, Boosting, CalibrationRule, SimulatedHistory, Rule)


def _laid_over(base: Any, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"The training setting {path or 'config'} must be a JSON object, not {values!r}.")
    known = {f.name: getattr(base, f.name) for f in fields(base)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"Unknown training setting {path + unknown[0]!r}: choose from {', '.join(known)}.")
    changed = {name: _value(known[name], value, path + name) for name, value in values.items()}
    return type(base)(**{**known, **changed})


def _value(current: Any, value: Any, path: str) -> Any:
    if isinstance(current, _NESTED):
        return _laid_over(current, value, path + ".")
    if isinstance(current, ModelKind):
        if value not in list(ModelKind):
            raise ValueError(f"Unknown model {value!r}: choose from {', '.join(ModelKind)}.")
        return ModelKind(value)
    if path == "alpha":
        return None if value is None else float(value)
    wanted = (int, float) if isinstance(current, float) else type(current)
    if isinstance(value, bool) != isinstance(current, bool) or not isinstance(value, wanted):
        raise ValueError(f"The training setting {path} must be a {type(current).__name__}, not {value!r}.")
    return type(current)(value)
