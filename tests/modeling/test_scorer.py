"""Files of a version and the scorer over them: whole, checked, and strict about what it is fed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modeling.artifacts import ArtifactError, CardBarriers, ModelCard, artifact_read, artifact_write, sha256_hex
from modeling.dataset import Dataset
from modeling.heads import TrainedModel
from modeling.onnx_graph import fused_graph
from modeling.scorer import ModelContractError, OnnxScorer
from modeling.train import train
from tests.modeling.cast import FEATURES, made_up_dataset, small_config

HASH = "a" * 64


def card_of(version: str = "focal-1", **values: object) -> ModelCard:
    card = ModelCard(
        version=version,
        kind="focal",
        created_at="2026-01-01T00:00:00+00:00",
        feature_names=FEATURES,
        feature_set_hash=HASH,
        barriers=CardBarriers(60.0, 40.0, 60.0, -3.0, 100.0),
        dataset={},
        data_hash="",
        config={},
        seeds={},
        folds=[],
        metrics={"lead_s": float("nan")},
        baselines={},
        gates={},
        calibration={},
        rounds={},
        importances=[],
        reliability=[],
        decision_region=[],
        libraries={},
    )
    return replace(card, **values)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_dataset(8)


@pytest.fixture(scope="module")
def model(data: Dataset) -> TrainedModel:
    return train(data, small_config(bootstrap_draws=2)).model


@pytest.fixture
def folder(tmp_path: Path, model: TrainedModel) -> Path:
    return artifact_write(tmp_path / "models", card_of(), fused_graph(model, {}))


@pytest.fixture
def scorer(folder: Path) -> OnnxScorer:
    return OnnxScorer.load(folder, feature_set_hash=HASH)


def test_it_scores_like_the_trained_model(scorer: OnnxScorer, model: TrainedModel, data: Dataset) -> None:
    got = scorer.score(data.X)
    assert got.shape == (len(data), 2) and got.dtype == np.float64
    np.testing.assert_allclose(got, model.probabilities(data.X), atol=1e-12, rtol=0)


@pytest.mark.parametrize("batch", [1, 2, 7, 300])
def test_it_is_batch_invariant_to_the_bit(scorer: OnnxScorer, data: Dataset, batch: int) -> None:
    x = data.X[:900]
    parts = [scorer.score(x[i : i + batch]) for i in range(0, len(x), batch)]
    np.testing.assert_array_equal(np.concatenate(parts), scorer.score(x))


def test_rows_of_all_nan_and_no_rows_at_all_are_fine(scorer: OnnxScorer) -> None:
    p = scorer.score(np.full((3, len(FEATURES)), np.nan))
    assert np.all((p >= 0) & (p <= 1))
    assert scorer.score(np.empty((0, len(FEATURES)))).shape == (0, 2)


def test_a_view_of_a_larger_array_is_scored_alike(scorer: OnnxScorer, data: Dataset) -> None:
    np.testing.assert_array_equal(scorer.score(data.X[::3]), scorer.score(data.X[::3].copy()))
    fortran = np.asfortranarray(data.X[:50])
    np.testing.assert_array_equal(scorer.score(fortran), scorer.score(data.X[:50]))


@pytest.mark.parametrize("columns", [len(FEATURES) - 1, len(FEATURES) + 1])
def test_a_wrong_number_of_columns_is_refused(scorer: OnnxScorer, columns: int) -> None:
    with pytest.raises(ModelContractError, match=f"reads rows of {len(FEATURES)} features"):
        scorer.score(np.zeros((2, columns)))


def test_a_single_row_without_its_axis_is_refused(scorer: OnnxScorer) -> None:
    with pytest.raises(ModelContractError, match="shape"):
        scorer.score(np.zeros(len(FEATURES)))


def test_float32_rows_are_refused(scorer: OnnxScorer) -> None:
    with pytest.raises(ModelContractError, match="float64"):
        scorer.score(np.zeros((2, len(FEATURES)), np.float32))


def test_another_feature_set_is_refused_in_a_sentence_that_helps(folder: Path) -> None:
    with pytest.raises(ModelContractError, match="surge train"):
        OnnxScorer.load(folder, feature_set_hash="b" * 64)


def test_the_card_comes_back_as_it_was_written(folder: Path) -> None:
    card, onnx_bytes = artifact_read(folder)
    assert card == card_of(metrics={"lead_s": None})  # JSON has no NaN
    assert (folder / "SHA256SUMS").read_text().startswith(sha256_hex(onnx_bytes))


def test_a_version_is_never_overwritten(folder: Path) -> None:
    before = (folder / "model.onnx").read_bytes()
    with pytest.raises(ArtifactError, match="never changed"):
        artifact_write(folder.parent, card_of(), b"other")
    assert (folder / "model.onnx").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["focal-1"]  # no draft is left behind


@pytest.mark.parametrize("name", ["model.onnx", "card.json"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        OnnxScorer.load(folder, feature_set_hash=HASH)


def test_a_model_swapped_with_its_sums_is_caught_by_the_registry(folder: Path) -> None:
    registered = sha256_hex((folder / "model.onnx").read_bytes())
    (folder / "model.onnx").write_bytes(b"evil")
    sums = f"{sha256_hex(b'evil')}  model.onnx\n{sha256_hex((folder / 'card.json').read_bytes())}  card.json\n"
    (folder / "SHA256SUMS").write_text(sums)
    with pytest.raises(ArtifactError, match="registered"):
        OnnxScorer.load(folder, sha256=registered, feature_set_hash=HASH)


@pytest.mark.parametrize("name", ["model.onnx", "card.json", "SHA256SUMS"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        artifact_read(folder)


def test_a_card_of_another_version_of_the_program_is_refused(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    del card["barriers"]
    content = json.dumps(card).encode()
    (folder / "card.json").write_bytes(content)
    model_sum = sha256_hex((folder / "model.onnx").read_bytes())
    (folder / "SHA256SUMS").write_text(f"{model_sum}  model.onnx\n{sha256_hex(content)}  card.json\n")
    with pytest.raises(ArtifactError, match="lacks barriers"):
        artifact_read(folder)
