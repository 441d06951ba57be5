"""The registry and the conductor of training, on a real database and a short simulated history."""

import gzip
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from marketdata.events import Market
from marketdata.features.feature_set import FEATURE_NAMES, FEATURE_SET_HASH, N_FEATURES
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.surges import SurgePlan
from modeling import services
from modeling.artifacts import ArtifactError
from modeling.dataset import Dataset
from modeling.models import ModelVersion, TrainingRun
from modeling.scorer import OnnxScorer
from modeling.selectors import champion_get, training_run_list_open
from modeling.services import (
    TrainingCancelled,
    TrainingFailed,
    model_version_promote,
    model_version_register,
    training_run_cancel,
    training_run_create,
    training_run_execute,
    training_run_perform,
)
from modeling.tasks import training_run_task
from tests.modeling.cast import FEATURES, SMALL, made_up_dataset
from tests.modeling.test_scorer import card_of

pytestmark = pytest.mark.django_db

START_NS = 1_700_000_000_000_000_000
QUICK: dict[str, Any] = {**SMALL, "bootstrap_draws": 10, "min_events": 5, "max_ece": 0.3}
PLAYED = {"history": {"seconds": 1200.0, "symbols": 12, "seed": 5}, "n_folds": 2}


@pytest.fixture(scope="module")
def market_made_up() -> Dataset:
    return made_up_dataset(1, n_symbols=4, seconds=1000)


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path, settings: Any) -> Path:
    settings.SURGE_MODELS_DIR = tmp_path / "models"
    return tmp_path / "models"


@pytest.fixture
def quick(market_made_up: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up market in place of the simulated one: learned within a blink."""
    monkeypatch.setattr(services, "simulated_dataset", lambda config, market, on_share: market_made_up)


def execute(mode: str = "demo", dataset: str = "simulated", **config: Any) -> TrainingRun:
    return training_run_execute(dataset=dataset, config={**QUICK, **config}, mode=mode, market="spot")


def registered(version: str, mode: str = "demo") -> ModelVersion:
    return model_version_register(card=card_of(version), onnx_bytes=version.encode(), mode=mode)


def test_training_on_simulated_history_makes_a_champion_that_scores(models_dir: Path) -> None:
    heard: list[tuple[float, str]] = []
    run = training_run_execute(
        dataset="simulated",
        config={**QUICK, **PLAYED},
        mode="demo",
        market="spot",
        on_progress=lambda share, step: heard.append((share, step)),
    )
    assert (run.status, run.progress, run.error) == ("done", 1.0, "")
    version = run.model_version
    assert version is not None and champion_get("demo") == version
    scorer = OnnxScorer.load(models_dir / version.folder, sha256=version.sha256)
    p = scorer.score(np.zeros((3, N_FEATURES)))
    assert p.shape == (3, 2)
    assert scorer.card.feature_names == FEATURE_NAMES and scorer.card.feature_set_hash == FEATURE_SET_HASH
    assert scorer.card.as_json() == version.card
    assert heard[0][0] == 0.0 and [share for share, _ in heard] == sorted(share for share, _ in heard)


def test_the_card_tells_all_one_needs_to_judge(quick: None) -> None:
    version = execute().model_version
    assert version is not None
    card = version.card
    assert {"parity", "events", "calibration", "beats_base_rate", "beats_rule", "beats_momentum"} <= set(card["gates"])
    assert card["gates"]["parity"]["decision_flips"] == 0 and card["gates"]["parity"]["rows"] > 2000
    assert card["barriers"]["take_profit_bps"] == 60.0 and card["barriers"]["mean_timeout_bps"] != 0.0
    assert card["data_hash"] and card["seeds"]["training"] == 7 and card["config"]["n_folds"] == 3
    assert card["dataset"]["rows"] == card["metrics"]["rows"]
    assert len(card["folds"]) == 3 and card["reliability"] and card["decision_region"] and card["importances"]


@pytest.mark.parametrize("kind", ["logloss", "logistic", "rule"])
def test_every_kind_of_model_can_be_trained_and_promoted(quick: None, models_dir: Path, kind: str) -> None:
    version = execute(model=kind).model_version
    assert version is not None and version.card["kind"] == kind
    model_version_promote(model_version=version)
    assert champion_get("demo") == version
    assert OnnxScorer.load(models_dir / version.folder).score(np.zeros((1, len(FEATURES)))).shape == (1, 2)


def test_a_later_training_waits_for_a_person(quick: None) -> None:
    first, second = execute().model_version, execute(seed=8).model_version
    assert first is not None and second is not None
    assert champion_get("demo") == first and second.status == "candidate"


def test_a_champion_of_other_features_gives_way(quick: None) -> None:
    old = model_version_promote(model_version=registered("old-1"))
    version = execute().model_version
    old.refresh_from_db()
    assert champion_get("demo") == version and old.status == "retired"


def test_a_model_that_fails_a_gate_is_kept_but_not_promoted(quick: None) -> None:
    run = execute(min_events=100_000)
    assert run.status == "done" and run.model_version is not None
    assert run.model_version.status == "candidate" and not run.model_version.gates_passed
    assert champion_get("demo") is None


def test_simulated_data_never_decide_in_production(quick: None) -> None:
    run = execute(mode="production")
    assert run.model_version is not None and run.model_version.gates_passed
    assert champion_get("production") is None


def test_a_recording_can_be_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "session.txt.gz"
    exchange = SimulatedMarket(5, Market.SPOT, 8, START_NS, SurgePlan(surge_every_s=200.0))
    path.write_bytes(gzip.compress(b"".join(capture_lines(exchange, 450.0, seed=5)), 1))
    run = execute(dataset=str(path), n_folds=2)
    assert run.status == "done" and run.model_version is not None
    assert run.model_version.card["dataset"]["name"] == "session.txt.gz"


def test_a_model_of_recorded_trades_can_never_decide_live() -> None:
    model_version = model_version_register(
        card=card_of("trades-1", dataset={"input_level": "trades"}), onnx_bytes=b"x", mode="demo"
    )
    with pytest.raises(ArtifactError, match="features of trades only"):
        model_version_promote(model_version=model_version)


def test_recorded_data_that_are_not_there_are_asked_for(tmp_path: Path, settings: Any) -> None:
    settings.SURGE_DATA_ROOT = tmp_path
    for name in ("pumps", "klines"):
        with pytest.raises(TrainingFailed, match="Set SURGE_DATA_ROOT"):
            training_run_execute(dataset=name, config={}, mode="demo", market="spot")


def test_a_recording_too_short_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_bytes(b"".join(capture_lines(SimulatedMarket(5, Market.SPOT, 3, START_NS), 40.0)))
    with pytest.raises(TrainingFailed, match=r"short\.txt: No decision .* Use a longer recording"):
        execute(dataset=str(path))
    run = TrainingRun.objects.get()
    assert run.status == "failed" and "longer recording" in run.error and run.model_version is None


@pytest.mark.parametrize("dataset", ["no/such/file.gz", "pumpz"])
def test_a_missing_dataset_is_refused_in_a_sentence(dataset: str) -> None:
    with pytest.raises(TrainingFailed, match="There is no dataset or capture file"):
        execute(dataset=dataset)
    assert TrainingRun.objects.get().status == "failed"


def test_wrong_settings_are_refused_before_anything_waits() -> None:
    with pytest.raises(TrainingFailed, match="Unknown training setting 'leaves'"):
        execute(leaves=3)
    assert not TrainingRun.objects.exists()


def test_a_cancelled_training_stops_and_leaves_nothing(quick: None, models_dir: Path) -> None:
    run = training_run_create(dataset="simulated", config=QUICK, mode="demo")

    def cancel(share: float, step: str) -> None:
        assert training_run_cancel(run=run)

    with pytest.raises(TrainingCancelled):
        training_run_perform(run_id=run.pk, on_progress=cancel)
    run.refresh_from_db()
    assert run.status == "cancelled" and run.finished_at is not None
    assert not ModelVersion.objects.exists() and not models_dir.exists()
    assert not training_run_cancel(run=run)


def test_a_training_delivered_twice_is_done_once(quick: None) -> None:
    run = training_run_create(dataset="simulated", config=QUICK, mode="demo")
    training_run_task(run.pk)
    training_run_task(run.pk)
    assert ModelVersion.objects.count() == 1


def test_a_training_that_runs_elsewhere_is_left_alone(quick: None) -> None:
    run = training_run_create(dataset="simulated", config=QUICK, mode="demo")
    TrainingRun.objects.filter(pk=run.pk).update(status="running", heartbeat_at=timezone.now())
    assert training_run_perform(run_id=run.pk).status == "running"
    assert not ModelVersion.objects.exists()


def test_a_training_whose_process_died_can_be_claimed_again(quick: None) -> None:
    run = training_run_create(dataset="simulated", config=QUICK, mode="demo")
    long_ago = timezone.now() - timedelta(hours=1)
    TrainingRun.objects.filter(pk=run.pk).update(status="running", heartbeat_at=long_ago)
    assert training_run_perform(run_id=run.pk).status == "done"


def test_a_failed_task_tells_its_row_and_not_the_worker() -> None:
    run = training_run_create(dataset="nowhere.gz", config=QUICK, mode="demo")
    training_run_task(run.pk)
    run.refresh_from_db()
    assert run.status == "failed" and "nowhere.gz" in run.error


def test_an_unforeseen_error_is_recorded_and_raised(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "model_version_register", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execute()
    assert TrainingRun.objects.get().error.startswith("ZeroDivisionError")


def test_promotion_retires_the_one_before_in_the_same_mode_only() -> None:
    a, b, other = registered("a-1"), registered("b-1"), registered("c-1", mode="production")
    for version in (a, other, b):
        model_version_promote(model_version=version)
    a.refresh_from_db()
    assert a.status == "retired" and champion_get("demo") == b and champion_get("production") == other
    assert b.promoted_at is not None


def test_a_model_whose_files_changed_cannot_be_promoted(models_dir: Path) -> None:
    version = registered("a-1")
    (models_dir / "a-1" / "model.onnx").write_bytes(b"evil")
    with pytest.raises(ArtifactError):
        model_version_promote(model_version=version)
    assert champion_get("demo") is None


def test_the_database_itself_allows_one_champion_per_mode() -> None:
    model_version_promote(model_version=registered("a-1"))
    rival = registered("b-1")
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelVersion.objects.filter(pk=rival.pk).update(status="champion", promoted_at=timezone.now())


def test_open_trainings_are_those_that_wait_or_run() -> None:
    runs = [training_run_create(dataset="simulated", config={}, mode="demo") for _ in range(3)]
    training_run_cancel(run=runs[0])
    assert set(training_run_list_open()) == set(runs[1:])
