"""The admin of models and trainings: shows the numbers, promotes one, edits nothing."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from modeling.models import ModelVersion, TrainingRun
from modeling.selectors import champion_get
from modeling.services import model_version_register, training_run_create
from modeling.tasks import training_run_task
from tests.modeling.test_scorer import card_of

pytestmark = pytest.mark.django_db
METRICS = {"ap": {"value": 0.5, "low": 0.4, "high": 0.6}, "ece": {"value": 0.01, "low": 0.0, "high": 0.02}}


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path, settings: Any) -> None:
    settings.SURGE_MODELS_DIR = tmp_path / "models"


def registered(version: str, **gates: bool) -> ModelVersion:
    card = card_of(version, metrics=METRICS, gates={name: {"ok": ok} for name, ok in gates.items()})
    return model_version_register(card=card, onnx_bytes=version.encode(), mode="demo")


def act(client: Client, model: str, action: str, *rows: Any) -> Any:
    url = reverse(f"admin:modeling_{model}_changelist")
    return client.post(url, {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True)


def test_the_list_shows_numbers_and_failed_gates(admin_client: Client) -> None:
    registered("good-1", parity=True)
    registered("bad-1", parity=True, beats_rule=False)
    page = admin_client.get(reverse("admin:modeling_modelversion_changelist")).content.decode()
    assert "0.500 [0.400, 0.600]" in page and "0.0100" in page and "beats_rule" in page


def test_a_card_can_be_read_and_nothing_changed(admin_client: Client) -> None:
    version = registered("good-1")
    url = reverse("admin:modeling_modelversion_change", args=[version.pk])
    page = admin_client.get(url)
    assert page.status_code == 200 and "feature_set_hash" in page.content.decode()
    admin_client.post(url, {"version": "renamed", "status": "champion"})
    version.refresh_from_db()
    assert (version.version, version.status) == ("good-1", "candidate")
    assert admin_client.get(reverse("admin:modeling_modelversion_add")).status_code == 403


def test_one_model_can_be_promoted_two_cannot(admin_client: Client) -> None:
    a, b = registered("a-1"), registered("b-1")
    assert "exactly one" in act(admin_client, "modelversion", "promote", a, b).content.decode()
    assert champion_get("demo") is None
    act(admin_client, "modelversion", "promote", a)
    assert champion_get("demo") == a


def test_a_damaged_model_is_refused_with_its_reason(admin_client: Client, settings: Any) -> None:
    version = registered("a-1")
    (settings.SURGE_MODELS_DIR / "a-1" / "card.json").unlink()
    assert "card.json" in act(admin_client, "modelversion", "promote", version).content.decode()
    assert champion_get("demo") is None


def test_a_training_can_be_repeated_and_cancelled(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(training_run_task, "apply_async", lambda args, queue: sent.append((*args, queue)))
    old = training_run_create(dataset="simulated", config={"seed": 3}, mode="demo")
    with django_capture_on_commit_callbacks(execute=True):
        act(admin_client, "trainingrun", "repeat", old)
    new = TrainingRun.objects.exclude(pk=old.pk).get()
    assert sent == [(new.pk, "cpu")] and new.config == old.config and new.status == "queued"
    act(admin_client, "trainingrun", "cancel", new)
    new.refresh_from_db()
    assert new.status == "cancelled"
