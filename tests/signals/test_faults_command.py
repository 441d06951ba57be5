import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from signals.management.commands import faults as command
from signals.management.fault_scenarios.findings import Findings, p95
from signals.management.fault_scenarios.scenario import SCENARIOS, Scenario, run

PROJECT = Path(__file__).parents[2]
QUICK = [entry.name for entry in SCENARIOS.values() if entry.quick]

OPEN_DEFECTS = {"silent_stall_of_all"}
"""On a loaded machine the client once took 5.9 s instead of 5 s to see that everything had fallen silent."""


@pytest.mark.timeout(180)
def test_the_quick_run_measures_every_scenario_and_only_known_defects_fail() -> None:
    began = time.monotonic()
    words = [sys.executable, "manage.py", "faults", "--quick", "--json", "--seed", "5"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=170)
    report = json.loads(done.stdout)
    assert [row["name"] for row in report["scenarios"]] == QUICK
    assert all(row["detail"] for row in report["scenarios"])
    failed = {row["name"]: row["detail"] for row in report["scenarios"] if not row["ok"]}
    assert not failed.keys() - OPEN_DEFECTS, failed
    assert done.returncode == (1 if failed else 0)
    assert time.monotonic() - began < 150


def test_the_quick_list_is_short_enough_for_a_minute() -> None:
    assert 10 <= len(QUICK) <= 16


def test_every_scenario_names_faults_of_the_matrix_and_a_promise() -> None:
    for entry in SCENARIOS.values():
        assert entry.promise and entry.faults, entry.name
        assert set(entry.faults) <= set(range(1, 40))


def test_every_fault_of_the_matrix_has_a_scenario() -> None:
    assert {number for entry in SCENARIOS.values() for number in entry.faults} == set(range(1, 40))


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(CommandError, match="no scenario nonsense. Choose from: .*tcp_cut") as refused:
        call_command("faults", only=["nonsense"])
    assert refused.value.returncode == 2


def test_nothing_at_once_is_refused() -> None:
    with pytest.raises(CommandError, match="--at-once wants a number above 0"):
        call_command("faults", at_once=0)


def test_a_broken_promise_ends_with_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    async def broken(found: Findings, _random: object) -> None:
        found.at_most("stale", 0.7, 0.5)

    async def nothing() -> None:
        return

    monkeypatch.setattr(command, "rehearse", nothing)
    monkeypatch.setitem(SCENARIOS, "broken", Scenario("broken", (1,), "P1", False, False, broken))
    with pytest.raises(SystemExit) as ended:
        call_command("faults", only=["broken"], as_json=True)
    assert ended.value.code == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["scenarios"][0]["detail"]) == (False, "FAILED stale 0.7 s (promised <= 0.5)")


@pytest.mark.parametrize(
    ("play_error", "told"), [(ValueError("oops"), "broke with ValueError: oops"), (None, "nothing was measured")]
)
async def test_a_scenario_that_breaks_or_measures_nothing_has_failed(play_error: Exception | None, told: str) -> None:
    async def play(_found: Findings, _random: object) -> None:
        if play_error is not None:
            raise play_error

    result = await run(Scenario("strange", (1,), "P1", False, False, play), 1)
    assert not result.ok and told in result.detail


def test_findings_tell_every_figure_and_which_promise_broke() -> None:
    found = Findings()
    found.at_most("quick", 0.2, 0.5)
    found.at_most("never", None, 5.0)
    found.equal("gaps", 2, 1)
    found.at_least("tries", 3, 2)
    assert not found.ok
    assert found.detail == (
        "FAILED never never (promised within 5 s); FAILED gaps 2 (promised 1); quick 0.2 s (promised <= 0.5); "
        "tries 3 (promised >= 2)"
    )


def test_p95_of_few_is_the_greatest_and_of_nothing_nothing() -> None:
    assert p95([3.0, 1.0, 2.0]) == 3.0
    assert p95([float(n) for n in range(100)]) == 95.0
    assert p95([]) is None
