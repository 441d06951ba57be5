"""What the engines must remember between two starts: kinds, ports, folders (var/engines.json) and passwords."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def file_write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def secret_path(var_dir: Path, name: str) -> Path:
    return var_dir / "secrets" / name


def secret_get(var_dir: Path, name: str, size: int = 24) -> str:
    """Return the secret of this name, made once and kept in a file of mode 0600."""
    path = secret_path(var_dir, name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        file_write_private(path, secrets.token_urlsafe(size))
    return path.read_text().strip()


class EngineRecord:
    """The facts of one engine in var/engines.json; a broken or missing file only means choosing afresh."""

    def __init__(self, var_dir: Path, engine: str) -> None:
        self.path = var_dir / "engines.json"
        self.engine = engine

    def get(self, key: str) -> Any:
        return self._all().get(self.engine, {}).get(key)

    def update(self, **facts: Any) -> None:
        everything = self._all()
        everything[self.engine] = {**everything.get(self.engine, {}), **facts}
        file_write_private(self.path, json.dumps(everything, indent=2, sort_keys=True) + "\n")

    def ports_of_others(self) -> set[int]:
        return {facts["port"] for name, facts in self._all().items() if name != self.engine and "port" in facts}

    def _all(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
