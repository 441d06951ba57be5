"""The command `lookahead`: what it prints, its exit codes, and that it needs no database."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from marketdata.features import lookahead_tapes
from marketdata.features.feature_set import FEATURE_NAMES, N_FEATURES
from marketdata.features.lookahead import Rows
from marketdata.features.lookahead_tapes import CaptureTape, capture_rows
from tests.marketdata.lines import START_NS, agg_trade


def lookahead_json(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("lookahead", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_seeded_tapes_of_both_markets_hold_every_feature_and_no_violation() -> None:
    got = lookahead_json("--cuts", "3")
    assert (got["features"], got["prefixes"], got["violations"]) == (N_FEATURES, 12, 0)
    assert got["unseen"] == [] and got["violated_prefixes"] == 0
    assert sorted(got["tapes"]) == ["spot seed 1", "spot seed 2", "usdm seed 1", "usdm seed 2"]


def test_the_same_seed_gives_the_same_answer_but_for_the_seconds() -> None:
    one, two = (lookahead_json("--cuts", "2", "--market", "spot", "--seed", "5") for _ in range(2))
    assert one | {"seconds": 0} == two | {"seconds": 0}


@pytest.mark.realdata
def test_a_capture_tells_its_market_by_itself(shared_data: Path) -> None:
    path = shared_data / "captures" / "usdm_5symbols_2021-04-05_119s.txt.gz"
    told, named = (lookahead_json(str(path), "--cuts", "2", *more) for more in ([], ["--market", "usdm"]))
    assert told | {"seconds": 0} == named | {"seconds": 0}
    assert told["violations"] == 0 and list(told["tapes"]) == [path.name]


def test_a_leak_fails_the_command_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(tape: CaptureTape) -> Rows:
        rows = capture_rows(tape)
        rows.X[:, 3] -= np.nanmean(rows.X[:, 3])
        return rows

    monkeypatch.setattr(lookahead_tapes, "capture_rows", leaking)
    out = StringIO()
    with pytest.raises(CommandError, match=FEATURE_NAMES[3]) as failure:
        call_command("lookahead", "--json", "--cuts", "2", "--market", "spot", stdout=out)
    assert failure.value.returncode == 1
    assert json.loads(out.getvalue())["violations"] > 0


def test_people_read_sentences() -> None:
    out = StringIO()
    call_command("lookahead", "--cuts", "1", "--market", "spot", stdout=out)
    assert "0 violations: the past never changes." in out.getvalue()
    assert f"{N_FEATURES} features" in out.getvalue()


@pytest.mark.parametrize("cuts", ["0", "-3"])
def test_no_cuts_prove_nothing(cuts: str) -> None:
    with pytest.raises(CommandError, match="--cuts 1") as failure:
        call_command("lookahead", f"--cuts={cuts}")
    assert failure.value.returncode == 2


def test_a_capture_that_is_missing_or_too_short_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_bytes(agg_trade(START_NS, 1, "100", "1"))
    for path, reason in ((tmp_path / "none.txt", "no capture at"), (short, "no two feature rows")):
        with pytest.raises(CommandError, match=reason) as failure:
            call_command("lookahead", str(path))
        assert failure.value.returncode == 2
