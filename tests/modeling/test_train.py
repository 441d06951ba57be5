"""Training on a made-up market: learns, is honest, is reproducible, and says what is wrong with bad data."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from modeling.boosting import TreeRows, later_slice
from modeling.dataset import Dataset, DatasetError
from modeling.labels import Outcome
from modeling.metrics import average_precision, expected_calibration_error
from modeling.onnx_graph import fused_graph
from modeling.train import TrainingResult, train
from modeling.training_config import ModelKind, TrainingConfig
from tests.modeling.cast import S, made_up_dataset, small_config


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_dataset(1)


@pytest.fixture(scope="module")
def focal(data: Dataset) -> TrainingResult:
    return train(data, small_config())


def test_the_model_beats_base_rate_and_rules_out_of_fold(focal: TrainingResult) -> None:
    metrics, baselines = focal.report["metrics"], focal.report["baselines"]
    assert metrics["ap"]["low"] > metrics["base_rate"]
    assert metrics["ap"]["value"] > baselines["rule"]["ap"] + 0.1
    assert baselines["rule"]["ap_gain"]["low"] > 0 and baselines["momentum"]["ap_gain"]["low"] > 0
    assert all(gate["ok"] for gate in focal.report["gates"].values())


def test_all_rivals_are_judged_in_the_same_folds(focal: TrainingResult) -> None:
    assert set(focal.report["baselines"]) == {"prior", "logloss", "logistic", "rule", "momentum"}
    assert len({row["base_rate"] for row in focal.report["baselines"].values()}) == 1


def test_a_fresh_market_is_predicted_and_the_chances_are_honest(focal: TrainingResult) -> None:
    fresh = made_up_dataset(2)
    p, y, ones = focal.model.probabilities(fresh.X), fresh.hit(Outcome.TAKE_PROFIT), np.ones(len(fresh))
    assert average_precision(y, p[:, 0], ones) > 1.5 * y.mean()
    assert expected_calibration_error(y, p[:, 0], ones) < 0.08
    assert p[:, 0].max() > 0.5


def test_both_chances_together_never_exceed_one(focal: TrainingResult, data: Dataset) -> None:
    p = focal.model.probabilities(data.X)
    assert np.all(p >= 0) and np.all(p.sum(axis=1) <= 1 + 1e-15)


def test_shuffled_outcomes_cannot_be_learned_and_fail_the_gates(data: Dataset) -> None:
    order = np.random.default_rng(3).permutation(len(data))
    shuffled = replace(data, outcome=data.outcome[order])
    report = train(shuffled, small_config(model="logloss")).report
    assert report["metrics"]["ap"]["value"] < shuffled.hit(Outcome.TAKE_PROFIT).mean() + 0.06
    assert not report["gates"]["beats_rule"]["ok"]


@pytest.mark.parametrize("kind", list(ModelKind))
def test_same_data_config_and_seed_give_the_same_bytes(data: Dataset, kind: ModelKind) -> None:
    some = data.take(np.arange(1500))
    runs = [train(some, small_config(model=str(kind), workers=workers)) for workers in (1, 2)]
    assert fused_graph(runs[0].model, {}) == fused_graph(runs[1].model, {})
    assert runs[0].report == runs[1].report


def test_another_seed_gives_other_trees(data: Dataset) -> None:
    some = data.take(np.arange(1500))
    texts = {fused_graph(train(some, small_config(seed=seed)).model, {}) for seed in (1, 2)}
    assert len(texts) == 2


def test_folds_are_purged_and_described(focal: TrainingResult, data: Dataset) -> None:
    assert sum(fold["test_rows"] for fold in focal.folds) == len(data)
    assert all(fold["purged_rows"] > 0 for fold in focal.folds)


def test_the_report_holds_what_the_card_needs(focal: TrainingResult) -> None:
    report = focal.report
    assert report["importances"][0]["feature"] == "ofi_5s"
    assert sum(row["rows"] for row in report["decision_region"]) == report["metrics"]["rows"]
    assert report["calibration"]["p_tp"] in ("isotonic", "platt")
    assert set(report["rounds"]) == {"p_tp", "p_sl"}
    for name in ("ap", "auc", "brier", "logloss", "ece"):
        row = report["metrics"][name]
        assert row["low"] <= row["value"] <= row["high"] or name == "ece"  # a resampled ECE is biased upwards


def test_progress_rises_and_can_stop_the_training(data: Dataset) -> None:
    heard: list[tuple[float, str]] = []

    class Enough(Exception):
        pass

    def stop_at_third(share: float, step: str) -> None:
        heard.append((share, step))
        if len(heard) == 3:
            raise Enough

    with pytest.raises(Enough):
        train(data.take(np.arange(1500)), small_config(model="rule"), stop_at_third)
    assert [share for share, _ in heard] == sorted(share for share, _ in heard)


def test_data_without_surges_are_refused_with_a_reason(data: Dataset) -> None:
    calm = replace(data, outcome=np.full_like(data.outcome, Outcome.TIME_OUT))
    with pytest.raises(DatasetError, match=r"Only 0 of \d+ rows reached the gain"):
        train(calm, small_config())


def test_a_fold_without_surges_is_refused(data: Dataset) -> None:
    late = data.t0_ns > np.quantile(data.t0_ns, 0.9)
    outcome = np.where((data.outcome == Outcome.TAKE_PROFIT) & ~late, Outcome.TIME_OUT, data.outcome).astype(np.int8)
    with pytest.raises(DatasetError, match="fold"):
        train(replace(data, outcome=outcome), small_config())


def test_a_missing_rule_feature_is_named(data: Dataset) -> None:
    with pytest.raises(DatasetError, match="no_such_feature"):
        train(data, small_config(burst={"feature": "no_such_feature"}))


def test_early_stopping_looks_at_a_slice_no_training_label_reaches(data: Dataset) -> None:
    rows = TreeRows(data.X, data.hit(Outcome.TAKE_PROFIT), data.weight, data.t0_ns, data.t1_ns)
    earlier, later = later_slice(rows, 0.2)
    assert data.t1_ns[earlier].max() < data.t0_ns[later].min()
    assert 0.15 < len(later) / len(data) < 0.25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "magic"}, "choose from focal, logloss, logistic, rule"),
        ({"boosting": {"leaves": 3}}, "boosting.leaves"),
        ({"n_folds": "four"}, "n_folds must be a int"),
        ({"barriers": 60}, "must be a JSON object"),
        ({"salvage": 1}, "salvage must be a bool"),
        ({"n_folds": True}, "n_folds must be a int"),
        ({"barriers": {"horizon_ns": 0}}, "above zero"),
    ],
)
def test_wrong_settings_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig.from_json(values)


def test_settings_survive_the_way_through_json() -> None:
    config = small_config(alpha=0.25, model="logistic", embargo_ns=5 * S)
    assert TrainingConfig.from_json(config.as_json()) == config
