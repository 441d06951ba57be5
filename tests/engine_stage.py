"""The engines of one test session: addresses known from the beginning, each server started by its first user."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from surge_site.config import FOLDER_VARIABLE, OWN_ENGINES_VARIABLE, EngineChoice
from surge_site.engines.choice import MAKERS, engine_make
from surge_site.engines.engine import Engine
from surge_site.engines.lease import SETTING_OF
from surge_site.engines.ports import port_choose

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
ANNOUNCED_BY = "TESTS_STAGE_OF"  # child processes of a worker play on its stage; other workers have their own


class EngineStage:
    """Ports and passwords are fixed before Django reads its settings; `use` starts a server once."""

    def __init__(self) -> None:
        choice = EngineChoice(os.environ.get("SURGE_ENGINES", "wheel"))
        self.choice = EngineChoice.WHEEL if choice is EngineChoice.AUTO else choice
        self.var_dir: Path | None = None
        self.engines: dict[str, Engine] = {}
        self.running: set[str] = set()

    def announce(self) -> None:
        """Tell Django, and every child process, where the engines are going to be."""
        if os.environ.get(ANNOUNCED_BY) == WORKER:
            return
        self.var_dir = Path(tempfile.mkdtemp(prefix="surge-test-"))
        self.var_dir.chmod(0o711)  # PostgreSQL may run as another user
        os.environ[ANNOUNCED_BY] = WORKER
        os.environ["SURGE_VAR_DIR"] = str(self.var_dir)
        os.environ[FOLDER_VARIABLE] = str(self.var_dir)  # this machine's .env must not change what tests see
        if self.choice is EngineChoice.URL:
            return
        for name in MAKERS:
            engine = self.engines[name] = engine_make(name, self.choice, self.var_dir, durable=False)
            engine.port = port_choose(taken={other.port for other in self.engines.values()})
        os.environ[OWN_ENGINES_VARIABLE] = json.dumps({SETTING_OF[name]: self._url(name) for name in self.engines})

    def use(self, name: str) -> None:
        if name in self.engines and name not in self.running:
            self.engines[name].start()
            self.running.add(name)

    def strike(self) -> None:
        """Stop what was started and clear the stage."""
        if self.var_dir is None:
            return
        for name in self.running:
            self.engines[name].stop()
        for engine in self.engines.values():
            data = engine.record.get("data")
            if data and not Path(data).is_relative_to(self.var_dir):  # a shelter outside
                shutil.rmtree(Path(data).parent, ignore_errors=True)
        shutil.rmtree(self.var_dir, ignore_errors=True)

    def _url(self, name: str) -> str:
        url = self.engines[name].url
        return f"{url}_demo" if name == "postgres" else url


STAGE = EngineStage()
