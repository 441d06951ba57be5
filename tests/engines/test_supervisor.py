"""Child processes: kept alive with growing pauses, ended in order, never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from surge_site.engines.process import ChildProcess
from surge_site.engines.supervisor import CALM_S, FIRST_PAUSE_S, ChildGaveUp, Supervisor
from tests.engines.places import processes_in

PROJECT = Path(__file__).resolve().parents[2]
SLEEP = "import time; time.sleep(600)"


class HandClock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def python_child(name: str, script: str, folder: Path, **options: object) -> ChildProcess:
    words = [sys.executable, "-I", "-S", "-c", script, str(folder)]
    return ChildProcess(name, words, folder / f"{name}.log", **options)  # type: ignore[arg-type]


def wait_until(happens: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"did not happen in {seconds} s"
        threading.Event().wait(0.01)


def test_a_crashed_child_comes_back_after_growing_pauses(tmp_path: Path) -> None:
    clock = HandClock()
    supervisor = Supervisor(clock=clock)
    child = python_child("weak", "print('I fall'); raise SystemExit(3)", tmp_path)
    supervisor.add(child)
    supervisor.children["weak"].was_healthy = True
    for crash in range(3):
        wait_until(lambda: not child.is_running)
        pid = child.pid
        supervisor.look()
        clock.now += FIRST_PAUSE_S * 2**crash - 0.01
        supervisor.look()
        assert child.pid == pid
        clock.now += 0.02
        supervisor.look()
        assert child.pid != pid
    supervisor.stop()
    assert child.last_lines().count("I fall") >= 3


def test_a_child_that_ran_long_starts_again_at_the_shortest_pause(tmp_path: Path) -> None:
    clock = HandClock()
    supervisor = Supervisor(clock=clock)
    child = python_child("old", SLEEP, tmp_path)
    supervisor.add(child)
    supervisor.children["old"].crashes = 7
    clock.now += CALM_S + 1
    child.stop()
    supervisor.look()
    assert supervisor.children["old"].restart_at == clock.now + FIRST_PAUSE_S


def test_a_child_that_never_was_healthy_is_given_up_with_its_last_lines(tmp_path: Path) -> None:
    clock = HandClock()
    supervisor = Supervisor(give_up_after=2, clock=clock)
    child = python_child("dead", "raise SystemExit('no such table')", tmp_path)
    supervisor.add(child, is_healthy=lambda: False)
    wait_until(lambda: not child.is_running)
    supervisor.look()
    clock.now += 1
    supervisor.look()
    wait_until(lambda: not child.is_running)
    with pytest.raises(ChildGaveUp, match=r"(?s)dead stops again and again.*no such table"):
        supervisor.look()
    supervisor.stop()


def test_stopping_leaves_no_grandchild_behind(tmp_path: Path) -> None:
    script = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-I", "-S", "-c", "{SLEEP}", sys.argv[1]])
print("both run", flush=True)
time.sleep(600)
"""
    child = python_child("parent", script, tmp_path)
    child.start()
    wait_until(lambda: "both run" in child.last_lines())
    assert len(processes_in(tmp_path)) == 2
    child.stop()
    wait_until(lambda: processes_in(tmp_path) == [])


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = python_child("deaf", script, tmp_path, stop_timeout_s=0.2)
    child.start()
    wait_until(lambda: "deaf" in child.last_lines())
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_who_uses_the_others_ends_before_they_are_asked(tmp_path: Path) -> None:
    say_when = "import signal, time\ndef end(*_): print(time.monotonic_ns(), flush=True); raise SystemExit\n"
    script = f"{say_when}signal.signal(15, end); print('up', flush=True); time.sleep(600)"
    supervisor = Supervisor()
    for name in ("first", "second"):
        supervisor.add(python_child(name, script, tmp_path))
    children = [watched.process for watched in supervisor.children.values()]
    wait_until(lambda: all("up" in child.last_lines() for child in children))
    supervisor.stop(first=("second",))
    ended = [int(child.last_lines(1)) for child in children]
    assert ended[0] > ended[1]


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent_script = f"""
import pathlib, sys, time
from surge_site.engines.process import ChildProcess
folder = pathlib.Path(sys.argv[1])
child = ChildProcess("orphan", [sys.executable, "-I", "-S", "-c", {SLEEP!r}, str(folder)], folder / "orphan.log")
child.start()
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", parent_script, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        wait_until(lambda: b"leash.py" not in Path(f"/proc/{pid}/cmdline").read_bytes())
        parent.kill()
    wait_until(lambda: processes_in(tmp_path) == [])
