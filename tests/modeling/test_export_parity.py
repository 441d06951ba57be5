"""The exported graph decides exactly as the trained model: any kind, any calibrator, any batch, any odd input."""

from dataclasses import replace

import numpy as np
import pytest

from modeling import export
from modeling.boosting import TreeRows, fit_trees
from modeling.calibration import IsotonicCalibrator, PlattCalibrator
from modeling.dataset import Dataset
from modeling.export import Parity, ParityError, edge_rows, export_onnx, parity_of
from modeling.heads import Head, TrainedModel, TreeRaw
from modeling.labels import Outcome
from modeling.onnx_graph import fused_graph
from modeling.onnx_trees import ZERO_EDGE, parse_trees
from modeling.scorer import open_session
from modeling.train import train
from modeling.training_config import Boosting
from tests.modeling.cast import made_up_dataset, small_config

BATCHES = (1, 2, 3, 7, 64, 300, 5000)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_dataset(5)


@pytest.fixture(scope="module")
def models(data: Dataset) -> dict[str, TrainedModel]:
    kinds = ("focal", "logloss", "logistic", "rule")
    return {kind: train(data, small_config(model=kind, bootstrap_draws=2)).model for kind in kinds}


def with_calibrator(model: TrainedModel, kind: str) -> TrainedModel:
    steps = IsotonicCalibrator((0.01, 0.2, 0.21, 0.9), (0.0, 0.1, 0.5, 0.8))
    made = PlattCalibrator(1.3, -0.2) if kind == "platt" else steps
    return replace(
        model,
        take_profit=replace(model.take_profit, calibrator=made),
        stop_loss=replace(model.stop_loss, calibrator=made),
    )


def scores(onnx_bytes: bytes, x: np.ndarray) -> np.ndarray:
    (p,) = open_session(onnx_bytes).run(["probabilities"], {"features": np.ascontiguousarray(x)})
    return np.asarray(p)


@pytest.mark.parametrize("calibrator", ["platt", "isotonic"])
@pytest.mark.parametrize("kind", ["focal", "logloss", "logistic", "rule"])
def test_every_kind_of_model_passes_the_gate(
    models: dict[str, TrainedModel], data: Dataset, kind: str, calibrator: str
) -> None:
    model = with_calibrator(models[kind], calibrator)
    _, parity = export_onnx(model, data.X, {"kind": kind}, seed=1)
    assert parity.ok and parity.rows > 5000
    assert parity.max_dp <= 1e-12 and parity.decision_flips == 0
    assert kind == "logistic" or parity.max_draw == 0.0


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", ["focal", "logistic", "rule"])
def test_a_score_is_the_same_in_any_batch_to_the_bit(
    models: dict[str, TrainedModel], data: Dataset, kind: str, batch: int
) -> None:
    model = with_calibrator(models[kind], "platt")
    x = np.concatenate([data.X[: min(1500, 200 * batch)], edge_rows(model, data.X, seed=2)[-300:]])
    session = open_session(fused_graph(model, {}))
    whole = session.run(["probabilities"], {"features": x})[0]
    parts = [session.run(["probabilities"], {"features": x[i : i + batch]})[0] for i in range(0, len(x), batch)]
    np.testing.assert_array_equal(np.concatenate(parts).view(np.int64), whole.view(np.int64))


def test_a_score_does_not_depend_on_the_neighbours(models: dict[str, TrainedModel], data: Dataset) -> None:
    onnx_bytes = fused_graph(models["focal"], {})
    order = np.random.default_rng(1).permutation(len(data))
    np.testing.assert_array_equal(scores(onnx_bytes, data.X)[order], scores(onnx_bytes, data.X[order]))


def test_rows_on_thresholds_with_gaps_and_infinities_agree(models: dict[str, TrainedModel], data: Dataset) -> None:
    x = edge_rows(models["focal"], data.X, seed=3)
    assert np.isnan(x).any() and np.isposinf(x).any() and np.isneginf(x).any()
    parity = parity_of(fused_graph(models["focal"], {}), models["focal"], x)
    assert parity.ok and parity.max_draw == 0.0


def test_gaps_take_the_way_the_trees_learned_for_them() -> None:
    """LightGBM reads NaN as 0 in a feature that was never missing, and as a value of its own in one that was."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3000, 2))
    y = ((x[:, 0] > -0.5) ^ (x[:, 1] > 0.3)).astype(float)
    x[rng.random(3000) < 0.3, 1] = np.nan
    x[:20, 1], x[20:40, 1], x[40:60, 1] = np.inf, -np.inf, 1e300
    rows = TreeRows(x, y, np.ones(3000), np.arange(3000), np.arange(3000))
    how = Boosting(bagging_fraction=1.0, feature_fraction=1.0, min_data_in_leaf=5, num_leaves=15)
    trees = fit_trees(rows, 0.0, None, how, 1, 30)
    head = Head("p_tp", trees, 0.0, None, PlattCalibrator(1.0, 0.0))
    model = TrainedModel("logloss", ("a", "b"), head, replace(head, name="p_sl"))
    odd = np.r_[export.ODD_VALUES, -0.5, 0.3]
    grid = np.array(np.meshgrid(odd, odd)).reshape(2, -1).T.copy()
    parity = parity_of(fused_graph(model, {}), model, np.concatenate([grid, x]))
    assert parity.ok and parity.max_draw == 0.0


def test_a_tree_that_never_split_is_exported_as_its_constant() -> None:
    text = "tree\n" + "".join(f"\nTree={i}\nnum_leaves=1\nleaf_value={v}\n" for i, v in enumerate([0.25, -2]))
    head = Head("p_tp", TreeRaw(text, 0.5), 0.0, None, PlattCalibrator(1.0, 0.0))
    model = TrainedModel("logloss", ("a", "b"), head, replace(head, name="p_sl"))
    x = np.array([[0.0, 0.0], [np.nan, 1.0]])
    (raw,) = open_session(fused_graph(model, {})).run(["raw_scores"], {"features": x})
    assert raw.tolist() == [[-1.25, -1.25]] * 2


@pytest.mark.parametrize("threshold", [-1e-36, 0.0, 1e-36])
def test_tiny_values_go_where_lightgbm_sends_them(threshold: float) -> None:
    """LightGBM takes |x| <= 1e-35 for 0, wherever in there the threshold lies."""
    rng = np.random.default_rng(1)
    x = np.where(rng.random((500, 1)) < 0.5, -1.0, 1.0)
    rows = TreeRows(x, (x[:, 0] > 0).astype(float), np.ones(500), np.arange(500), np.arange(500))
    how = Boosting(bagging_fraction=1.0, feature_fraction=1.0, min_data_in_leaf=5, num_leaves=2)
    fitted = fit_trees(rows, 0.0, None, how, 1, 1)
    (tree,) = parse_trees(fitted.text)
    assert len(tree.threshold) == 1
    line = next(line for line in fitted.text.splitlines() if line.startswith("threshold="))
    moved = replace(fitted, text=fitted.text.replace(line, f"threshold={threshold!r}"))
    head = Head("p_tp", moved, 0.0, None, PlattCalibrator(1.0, 0.0))
    model = TrainedModel("logloss", ("a",), head, replace(head, name="p_sl"))
    edge = np.array([0.0, ZERO_EDGE, -ZERO_EDGE, 1e-36, -1e-36, 1e-30, -1e-30])
    beside = np.r_[edge, np.nextafter(edge, np.inf), np.nextafter(edge, -np.inf)][:, None]
    parity = parity_of(fused_graph(model, {}), model, beside)
    assert parity.max_draw == 0.0


def test_the_gate_stops_a_graph_of_another_model(models: dict[str, TrainedModel], data: Dataset) -> None:
    parity = parity_of(fused_graph(models["logloss"], {}), models["focal"], data.X[:500])
    assert not parity.ok and parity.max_dp > 1e-3


def test_the_gate_stops_a_start_score_that_was_forgotten(
    models: dict[str, TrainedModel], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["focal"]
    assert isinstance(model.take_profit.model, TreeRaw)
    broken = replace(model, take_profit=replace(model.take_profit, model=replace(model.take_profit.model, start=0.0)))
    monkeypatch.setattr(export, "fused_graph", lambda *_: fused_graph(broken, {}))
    with pytest.raises(ParityError, match="does not decide like the trained one"):
        export_onnx(model, data.X, {}, seed=1)


def test_the_gate_sees_scores_that_depend_on_their_batch(data: Dataset) -> None:
    class Moody:
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            x = feed["features"]
            return [np.full((len(x), 2), 0.25 if len(x) > 2 else np.nextafter(0.25, 1.0))]

    changed = export._batch_differences(Moody(), data.X[:500], np.full((500, 2), 0.25))
    assert changed == 40 + 80  # forty batches of one row and forty of two


def test_one_decision_flip_fails_the_gate() -> None:
    good = Parity(rows=10, max_dp=0.0, max_draw=0.0, decision_flips=0, batch_differences=0)
    assert good.ok
    assert not replace(good, decision_flips=1).ok
    assert not replace(good, batch_differences=1).ok
    assert not replace(good, max_dp=2e-12).ok


def test_heads_of_different_losses_are_refused(models: dict[str, TrainedModel]) -> None:
    mixed = replace(models["focal"], stop_loss=models["logloss"].stop_loss)
    with pytest.raises(ValueError, match="same loss"):
        fused_graph(mixed, {})


def test_outcome_codes_stay_what_stored_labels_mean() -> None:
    assert [outcome.value for outcome in Outcome] == [0, 1, 2, 3]
