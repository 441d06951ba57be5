"""The plan of the house as a test: imports go down, never in circles, and pure rooms know no outside world."""

import ast
import graphlib
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ["marketdata", "modeling", "signals", "backtests", "surge_site"]  # ground floor first
SHELL = {
    "models", "admin", "apps", "services", "selectors", "views", "urls", "api", "api_urls", "serializers", "forms",
    "tasks", "consumers", "sse", "sse_listener", "live", "management", "migrations", "templatetags",
}  # fmt: skip
DOORS = {
    "binance/stream", "binance/rest", "binance/weight", "binance/dumps", "archive", "artifacts", "scorer", "export",
    "capture",
    "simulator/server",
}  # fmt: skip
FRAMEWORK = {"django", "celery", "channels", "rest_framework", "django_eventstream"}
WORLD = {
    "os", "pathlib", "io", "gzip", "tempfile", "shutil", "subprocess", "socket", "ssl", "select", "asyncio",
    "threading", "time", "urllib", "http", "requests", "websockets", "redis", "psycopg", "clickhouse_driver",
    "onnxruntime",
}  # fmt: skip
NO_SUBJECT = {"utils", "helpers", "common", "misc"}
GLOBAL_STATE = re.compile(
    r"\b(?:np|numpy)\.random\.(?!default_rng|Generator|SeedSequence|PCG64)\w+|\bdatetime\.(?:now|utcnow)\(|\bdate\.today\("
    r"|^import random\b|^from random import (?!Random\b)\w+",
    re.MULTILINE,
)
MACHINE_PATH = re.compile(r"/(?:work|farm|root|home/\w+|tmp/\w+)/")


@cache
def rooms() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [ROOT / name for name in sorted(listed) if (ROOT / name).is_file()]


def houses() -> list[Path]:
    return [room for room in rooms() if floor_of(room) in FLOORS and room.read_text().strip()]


def name(room: Path) -> str:
    return room.relative_to(ROOT).as_posix()


def floor_of(room: Path) -> str:
    return name(room).split("/")[0]


@cache
def tree_of(room: Path) -> ast.Module:
    return ast.parse(room.read_text())


def is_shell(room: Path) -> bool:
    places = name(room).removesuffix(".py").split("/")
    return places[0] == "surge_site" or bool(SHELL & set(places))


def is_door(room: Path) -> bool:
    place = name(room).removesuffix(".py").removesuffix("/__init__")
    return any(place.endswith(f"/{door}") or f"/{door}/" in place for door in DOORS)


def imports(room: Path) -> Iterator[str]:
    """Yield the full name of everything a file imports, also inside functions."""
    for node in ast.walk(tree_of(room)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def file_of(module: str) -> Path | None:
    """The file of this house that an imported name lives in, if any."""
    parts = module.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if candidate in set(rooms()):
                return candidate
    return None


def test_every_floor_is_there() -> None:
    assert {floor_of(room) for room in houses()} == set(FLOORS)
    assert any(is_door(room) for room in houses())
    assert any(not is_door(room) and not is_shell(room) for room in houses())


@pytest.mark.parametrize("room", houses(), ids=name)
def test_imports_are_absolute(room: Path) -> None:
    assert not [module for module in imports(room) if module.startswith(".")]


@pytest.mark.parametrize("room", houses(), ids=name)
def test_imports_go_down(room: Path) -> None:
    above = FLOORS[FLOORS.index(floor_of(room)) + 1 :]
    reached = [module for module in imports(room) if module.split(".")[0] in [*above, "tests"]]
    assert not reached, f"{name(room)} reaches up to {reached}"


@pytest.mark.parametrize("room", [room for room in houses() if not is_shell(room)], ids=name)
def test_only_shells_know_the_framework(room: Path) -> None:
    shells = {module for module in imports(room) if (file := file_of(module)) and is_shell(file)}
    framework = {module for module in imports(room) if module.split(".")[0] in FRAMEWORK}
    assert not shells | framework, f"{name(room)} may not know {shells | framework}"


@pytest.mark.parametrize("room", [room for room in houses() if not is_shell(room) and not is_door(room)], ids=name)
def test_pure_rooms_know_no_outside_world(room: Path) -> None:
    doors = {module for module in imports(room) if (file := file_of(module)) and is_door(file)}
    world = {module for module in imports(room) if module.split(".")[0] in WORLD}
    assert not doors | world, f"{name(room)} may not know {doors | world}"


@pytest.mark.parametrize("room", [room for room in houses() if not is_shell(room) and not is_door(room)], ids=name)
def test_pure_rooms_read_no_clock_and_no_global_dice(room: Path) -> None:
    hit = GLOBAL_STATE.search(room.read_text())
    assert hit is None, (
        f"{name(room)} uses {hit.group() if hit else ''}: take the time or a seeded generator as an argument"
    )


def test_no_circles() -> None:
    graph = {room: {file for module in imports(room) if (file := file_of(module))} - {room} for room in houses()}
    graphlib.TopologicalSorter(graph).prepare()


def test_services_never_know_tasks_or_views() -> None:
    above = {"tasks", "views", "consumers", "api"}
    for room in houses():
        if room.stem in {"services", "selectors"}:
            reached = [module for module in imports(room) if (file := file_of(module)) and file.stem in above]
            assert not reached, f"{name(room)} reaches up to {reached}"


def test_every_file_is_named_for_its_subject() -> None:
    assert not [name(room) for room in rooms() if room.stem in NO_SUBJECT]


def test_nobody_pickles() -> None:
    shut = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    takers = {name(room): module for room in houses() for module in imports(room) if module.split(".")[0] in shut}
    assert not takers


def test_no_path_of_one_machine() -> None:
    found = {name(room): hit.group() for room in houses() if (hit := MACHINE_PATH.search(room.read_text()))}
    assert not found


@pytest.mark.parametrize("room", houses(), ids=name)
def test_the_first_line_says_what_the_room_is_for(room: Path) -> None:
    if "migrations" in room.parts:
        return
    assert ast.get_docstring(tree_of(room)), f"{name(room)} has no docstring"
