"""`train` as a person or a script calls it: one JSON object, progress beside it, and plain refusals."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from marketdata.events import Market
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from modeling.models import ModelVersion
from tests.modeling.cast import SMALL

pytestmark = pytest.mark.django_db
QUICK = json.dumps({**SMALL, "n_folds": 2, "history": {"seconds": 1200.0, "symbols": 12, "seed": 5}})


@pytest.fixture(autouse=True)
def models_dir(tmp_path: Path, settings: Any) -> None:
    settings.SURGE_MODELS_DIR = tmp_path / "models"


def test_json_is_one_object_and_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("train", "--dataset", "simulated", "--json", "--config", QUICK)
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert {"model_version", "folds", "metrics", "baselines", "gates", "seconds"} <= set(report)
    assert report["model_version"] == ModelVersion.objects.get().version
    assert report["metrics"]["ap"]["low"] <= report["metrics"]["ap"]["value"] <= report["metrics"]["ap"]["high"]
    assert "  0 %  playing" in err and "exporting" in err


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("train", "--dataset", "simulated", "--model", "rule", "--config", QUICK)
    out = capsys.readouterr().out
    assert "Baselines in the same folds" in out and "FAIL beats_rule" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset", "missing.gz"], "There is no dataset or capture file 'missing.gz'"),
        (["--dataset", "simulated", "--config", "{"], "--config is no valid JSON"),
        (["--dataset", "simulated", "--config", "[1]"], "must be a JSON object"),
        (["--dataset", "simulated", "--config", '{"n_fold": 3}'], "Unknown training setting 'n_fold'"),
    ],
)
def test_refusals_are_sentences_with_exit_code_2(words: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence.replace("(", r"\(")) as refused:
        call_command("train", *words)
    assert refused.value.returncode == 2
    assert not ModelVersion.objects.exists()


def test_a_cut_off_recording_is_refused_unless_salvaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt.gz"
    whole = gzip.compress(b"".join(capture_lines(SimulatedMarket(5, Market.SPOT, 2, 10**18), 30.0)), 1)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match="cut off or damaged"):
        call_command("train", "--dataset", str(path))
    with pytest.raises(CommandError, match=r"cut\.txt\.gz: The data hold no decision"):
        call_command("train", "--dataset", str(path), "--salvage")


@pytest.mark.realdata
def test_a_calm_real_recording_is_refused_because_nothing_surged(shared_data: Path) -> None:
    capture = shared_data / "captures" / "spot_3symbols_2021-04-04_91s.txt.gz"
    with pytest.raises(CommandError, match="rows reached the gain first|No decision"):
        call_command("train", "--dataset", str(capture), "--market", "spot")
