"""Folders for engines in tests, and who still lives in them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that another system user may enter, as PostgreSQL must when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="surge-engine-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def processes_in(folder: Path) -> list[str]:
    """The processes that name this folder in their words, their environment or as their working folder."""
    return [line for entry in Path("/proc").iterdir() if (line := _line_if_in(entry, str(folder)))]


def _line_if_in(entry: Path, folder: str) -> str | None:
    if not entry.name.isdigit():
        return None
    try:
        words, variables = (entry / "cmdline").read_text(), (entry / "environ").read_text(errors="replace")
        place = str((entry / "cwd").readlink())
    except (OSError, UnicodeDecodeError):  # it ended meanwhile
        return None
    lives_there = folder in words or f"SURGE_VAR_DIR={folder}" in variables or place.startswith(folder)
    return f"{entry.name}: {words}" if words and lives_there else None
