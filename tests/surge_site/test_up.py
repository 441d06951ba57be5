"""`up` as a whole, while its first training still runs: one per folder, a page at once, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surge_site.engines.run_file import RunFolder
from surge_site.up import answers
from tests.engines.places import open_folder, processes_in
from tests.engines.test_supervisor import wait_until

PROJECT = Path(__file__).resolve().parents[2]
START_S = 90.0  # a busy machine; usually 10


@pytest.fixture
def var_dir() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def environment(var_dir: Path) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("SURGE_")}
    return {
        **mine,
        "DJANGO_SETTINGS_MODULE": "surge_site.settings",
        "SURGE_VAR_DIR": str(var_dir),
        "SURGE_ENGINES": "wheel",
    }


@contextmanager
def up(var_dir: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Start `up`; yield it and the lines it has said so far. Whatever happens, it ends."""
    command = [sys.executable, "manage.py", "up", "--demo", *words]
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(var_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said: list[str] = []
        listener = threading.Thread(target=lambda: said.extend(process.stderr or []))
        listener.start()
        try:
            yield process, said
        finally:
            process.kill()
            listener.join()


def page_is_there(var_dir: Path) -> bool:
    url = RunFolder(var_dir).up_read().get("url")
    return bool(url) and answers(f"{url}healthz/ready")


@pytest.mark.timeout(240)
def test_one_run_per_folder_that_ends_without_a_trace(var_dir: Path) -> None:
    with up(var_dir) as (first, said):
        wait_until(lambda: page_is_there(var_dir), START_S)
        url = RunFolder(var_dir).up_read()["url"]
        with urllib.request.urlopen(f"{url}login/", timeout=30) as page:
            assert page.status == 200
        second = subprocess.run(
            [sys.executable, "manage.py", "up"],
            cwd=PROJECT, env=environment(var_dir), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr == f"Surge already runs from {PROJECT}: {url} (stop that one first).\n"
        assert answers(f"{url}healthz/ready")
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 0
        assert first.stdout and first.stdout.read() == ""
    assert processes_in(var_dir) == []
    assert any("training one on simulated history" in line for line in said)
    assert not any("Traceback" in line for line in said)


@pytest.mark.timeout(240)
def test_a_killed_run_leaves_no_process_and_its_data_can_be_used(var_dir: Path) -> None:
    with up(var_dir) as (first, _):
        wait_until(lambda: page_is_there(var_dir), START_S)
        first.kill()
    wait_until(lambda: processes_in(var_dir) == [], 60)
    users = "from django.contrib.auth.models import User; print(list(User.objects.values_list('username', flat=True)))"
    shell = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", users],
        cwd=PROJECT, env=environment(var_dir), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shell.stdout == "['demo']\n", shell.stderr
    assert processes_in(var_dir) == []


@pytest.mark.timeout(240)
def test_too_little_time_is_told_with_code_1_and_one_json_object(var_dir: Path) -> None:
    with up(var_dir, "--exit-after-signals", "3", "--timeout", "1", "--json") as (process, said):
        assert process.stdout
        report = json.loads(process.stdout.read())
        assert process.wait(60) == 1
    assert {name: facts["kind"] for name, facts in report["engines"].items()} == {
        "postgres": "wheel", "redis": "wheel", "clickhouse": "wheel",
    }  # fmt: skip
    assert (report["signals"], report["first_signal_s"]) == (0, None)
    assert report["login"]["username"] == "demo"
    assert said[-1].startswith("0 of 3 signals after 1 s; the logs are in ")
    assert processes_in(var_dir) == []
