"""./surge on its own: old Pythons, broken environments, a missing pip, a missing libgomp, clean output."""

import ast
import hashlib
import http.server
import importlib.machinery
import importlib.util
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LAUNCHER = PROJECT / "surge"


@pytest.fixture
def surge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The launcher as a module, with its folders in a place of its own."""
    monkeypatch.setenv("SURGE_VAR_DIR", str(tmp_path / "var"))
    loader = importlib.machinery.SourceFileLoader("surge_launcher", str(LAUNCHER))
    spec = importlib.util.spec_from_loader("surge_launcher", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    return module


@pytest.fixture
def installs(surge: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what would be installed instead of installing it."""
    noted: list[str] = []
    monkeypatch.setattr(surge, "install", lambda uv, wanted: noted.append(wanted.name))
    monkeypatch.setattr(surge.shutil, "which", lambda name: None)
    return noted


def test_without_arguments_it_lists_the_commands() -> None:
    done = subprocess.run([sys.executable, str(LAUNCHER)], capture_output=True, text=True, check=True)
    assert "./surge up " in done.stdout and "./surge test" in done.stdout
    assert done.stderr == ""


def test_every_process_knows_the_same_fingerprint() -> None:
    """Another order of the files would install everything again at every other start."""
    script = (
        "import runpy, sys; sys.argv = ['surge']\n"
        f"found = runpy.run_path({str(LAUNCHER)!r}, run_name='surge')\n"
        "print(found['fingerprint'](found['TOOLS']))"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(8)
    }
    assert len(prints) == 1


def test_an_older_python_gets_one_clear_sentence() -> None:
    script = (
        "import sys, runpy; sys.version_info = (3, 9, 2, 'final', 0); sys.argv = ['surge', 'up']\n"
        "import os; os.environ['PATH'] = ''\n"
        f"runpy.run_path({str(LAUNCHER)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "Surge needs Python 3.11 or newer, and this is 3.9: install a newer one and start ./surge again.\n"
    )


def test_an_older_python_can_read_the_file_as_far_as_the_sentence() -> None:
    ast.parse(LAUNCHER.read_text(), feature_version=(3, 7))


def test_requirements_are_installed_once_and_again_when_they_change(
    surge: ModuleType, installs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "requirements.txt"
    runtime.write_text("django==5.2\n")
    monkeypatch.setattr(surge, "RUNTIME", runtime)
    surge.environment_prepare(runtime)
    surge.environment_prepare(runtime)
    assert installs == ["requirements.txt"]
    runtime.write_text("django==5.3\n")
    surge.environment_prepare(runtime)
    assert installs == ["requirements.txt"] * 2


def test_the_tools_bring_the_runtime_along(surge: ModuleType, installs: list[str]) -> None:
    surge.environment_prepare(surge.TOOLS)
    surge.environment_prepare(surge.RUNTIME)
    surge.environment_prepare(surge.TOOLS)
    assert installs == ["requirements-dev.txt"]


def test_a_broken_environment_is_made_again(surge: ModuleType, installs: list[str]) -> None:
    surge.environment_prepare(surge.RUNTIME)
    surge.PYTHON.unlink()
    surge.PYTHON.symlink_to("/nowhere/python3")
    surge.environment_prepare(surge.RUNTIME)
    assert installs == ["requirements.txt"] * 2
    assert surge.python_runs()


def test_an_interrupted_installation_is_done_again(
    surge: ModuleType, installs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(uv: str | None, wanted: Path) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    with monkeypatch.context() as patch:
        patch.setattr(surge, "install", stop)
        with pytest.raises(subprocess.CalledProcessError):
            surge.environment_prepare(surge.RUNTIME)
    surge.environment_prepare(surge.RUNTIME)
    assert installs == ["requirements.txt"]


def test_a_missing_libgomp_is_lent_by_scikit_learn(surge: ModuleType, tmp_path: Path) -> None:
    bundled = tmp_path / ".venv/lib/python3.11/site-packages/scikit_learn.libs/libgomp-e985bcbb.so.1.0.0"
    bundled.parent.mkdir(parents=True)
    bundled.touch()
    environment = surge.libgomp_environment("libgomp-that-is-not-there.so.1")
    folder = Path(environment["LD_LIBRARY_PATH"].split(":")[0])
    assert (folder / "libgomp-that-is-not-there.so.1").resolve() == bundled


def test_a_present_libgomp_changes_nothing(surge: ModuleType) -> None:
    assert surge.libgomp_environment("libc.so.6") == {}


def test_number_crunchers_get_one_thread(surge: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert surge.process_environment()["OMP_NUM_THREADS"] == "1"


def test_changed_kernels_get_a_new_cache(surge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surge, "PROJECT", tmp_path)
    (tmp_path / "marketdata").mkdir()
    called, plain = tmp_path / "marketdata" / "called.py", tmp_path / "marketdata" / "plain.py"
    called.write_text("@njit\ndef add(a, b): return a + b\n")
    plain.write_text("NAME = 1\n")
    first = surge.kernels_folder()
    plain.write_text("NAME = 2\n")
    assert surge.kernels_folder() == first
    called.write_text("@njit\ndef add(a, b): return a - b\n")
    assert surge.kernels_folder() != first


def test_kernels_are_compiled_once_and_older_ones_removed(
    surge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Path] = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(surge.subprocess, "run", lambda words, **_: runs.append(words[2]) or done)
    older, folder = tmp_path / ".venv" / "kernels" / "older", tmp_path / ".venv" / "kernels" / "newer"
    older.mkdir(parents=True)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    surge.kernels_prepare()
    surge.kernels_prepare()
    assert runs == ["compile_kernels"]
    assert folder.exists() and not older.exists()


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one pip in it."""

    wheel = b""
    sha256 = ""

    def do_GET(self) -> None:
        file = {"filename": "pip-99.0-py3-none-any.whl", "url": f"http://{self.headers['Host']}/pip.whl"}
        page = json.dumps({"files": [{**file, "hashes": {"sha256": self.sha256}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.wheel if self.path.endswith(".whl") else page)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Index]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr("pip/__main__.py", "print('pip of the index')")
    Index.wheel, Index.sha256 = archive.getvalue(), hashlib.sha256(archive.getvalue()).hexdigest()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield Index
        server.shutdown()


def test_a_python_without_pip_gets_it_from_the_index(surge: ModuleType, index: type[Index], tmp_path: Path) -> None:
    pip = surge.pip_fetch(tmp_path) / "pip"
    done = subprocess.run([sys.executable, str(pip)], capture_output=True, text=True, check=True)
    assert done.stdout == "pip of the index\n"


def test_a_pip_that_is_not_what_the_index_promises_is_refused(
    surge: ModuleType, index: type[Index], tmp_path: Path
) -> None:
    index.sha256 = "0" * 64
    with pytest.raises(OSError, match="is not what its index promises"):
        surge.pip_fetch(tmp_path)
