"""`promote` switches the champion, also where no page is up yet."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from modeling.selectors import champion_get
from modeling.services import model_version_register
from tests.modeling.test_scorer import card_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path, settings: Any) -> None:
    settings.SURGE_MODELS_DIR = tmp_path / "models"
    settings.SURGE_MODE = "demo"


def register(version: str, mode: str = "demo", ok: bool = True) -> None:
    model_version_register(card=card_of(version, gates={"parity": {"ok": ok}}), onnx_bytes=b"x", mode=mode)


def test_a_model_becomes_champion(capsys: pytest.CaptureFixture[str]) -> None:
    register("a-1")
    call_command("promote", "a-1", "--json")
    assert json.loads(capsys.readouterr().out) == {"model_version": "a-1", "mode": "demo", "gates_passed": True}
    champion = champion_get("demo")
    assert champion is not None and champion.version == "a-1"


def test_promoting_over_a_failed_gate_is_allowed_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    register("a-1", ok=False)
    call_command("promote", "a-1")
    assert "did NOT pass all gates" in capsys.readouterr().out


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    register("a-1")
    register("p-1", mode="production")
    with pytest.raises(CommandError, match="no model 'p-1' in demo mode. Newest models: a-1") as refused:
        call_command("promote", "p-1")
    assert refused.value.returncode == 2
