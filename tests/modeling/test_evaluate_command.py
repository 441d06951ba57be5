"""`evaluate` judges a registered model on rows it never saw, and refuses rows it has learnt from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from marketdata.events import Market
from modeling import services
from modeling.dataset import Dataset
from modeling.models import ModelVersion, TrainingRun
from modeling.training_config import TrainingConfig
from tests.modeling.cast import SMALL, made_up_dataset

pytestmark = pytest.mark.django_db
KEYS = {"ap", "auc", "brier", "ece", "event_recall", "alerts_per_day", "lead_s"}


@pytest.fixture(autouse=True)
def trained(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of a made-up market; the market played for an evaluation is another one, at the time asked for."""
    settings.SURGE_MODELS_DIR = tmp_path / "models"
    settings.SURGE_MODE = "demo"

    def play(config: TrainingConfig, market: Market, on_share: object) -> Dataset:
        data = made_up_dataset(config.history.seed, n_symbols=4, seconds=1000)
        later = config.history.start_ns - int(data.t0_ns[0])
        return replace(data, t0_ns=data.t0_ns + later, t1_ns=data.t1_ns + later)

    monkeypatch.setattr(services, "simulated_dataset", play)
    call_command("train", "--dataset", "simulated", "--config", json.dumps({**SMALL, "history": {"seed": 1}}))


def test_new_rows_are_scored_without_training(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    call_command("evaluate", "--dataset", "simulated", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["model_version"] == ModelVersion.objects.get().version and TrainingRun.objects.count() == 1
    assert set(report) >= {"rows", "events", "metrics", "baselines", "seconds"} and set(report["metrics"]) >= KEYS
    assert report["rows"] > 1000 and report["metrics"]["ap"]["value"] > 1.2 * report["baselines"]["rule"]["ap"]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("evaluate", "--dataset", "simulated")
    assert "of surges caught" in capsys.readouterr().out


def test_rows_it_was_trained_on_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = made_up_dataset(1, n_symbols=4, seconds=1000)
    monkeypatch.setattr(services, "simulated_dataset", lambda config, market, on_share: seen)
    with pytest.raises(CommandError, match="proves nothing"):
        call_command("evaluate", "--dataset", "simulated")


def test_a_model_is_only_asked_about_features_it_reads() -> None:
    version = ModelVersion.objects.get().version
    with pytest.raises(CommandError, match="reads features of book"):
        call_command("evaluate", "--dataset", "pumps", "--model-version", version)
    with pytest.raises(CommandError, match="no model that reads features of trades"):
        call_command("evaluate", "--dataset", "pumps")
    with pytest.raises(CommandError, match="no model 'nobody'"):
        call_command("evaluate", "--dataset", "simulated", "--model-version", "nobody")
