"""Which engine comes from where: a URL, a system server that is new enough, or a wheel."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from surge_site.config import EngineChoice
from surge_site.engines.clickhouse import ClickhouseEngine, clickhouse_system, clickhouse_wheel
from surge_site.engines.engine import Binary, Engine, EngineError, Kind, log
from surge_site.engines.postgres import PostgresEngine, postgres_system, postgres_wheel
from surge_site.engines.record import EngineRecord
from surge_site.engines.redis import RedisEngine, redis_system, redis_wheel


class Maker(NamedTuple):
    make: Callable[..., Engine]
    system: Callable[[], Binary]
    wheel: Callable[[], Binary]


MAKERS = {
    "clickhouse": Maker(ClickhouseEngine, clickhouse_system, clickhouse_wheel),  # the slowest starts first
    "redis": Maker(RedisEngine, redis_system, redis_wheel),
    "postgres": Maker(PostgresEngine, postgres_system, postgres_wheel),
}


def engine_make(name: str, choice: EngineChoice, var_dir: Path, *, durable: bool = True) -> Engine:
    """Return the engine to start, not yet started; raise EngineError with the reason when there is none."""
    maker = MAKERS[name]
    return maker.make(_binary(name, maker, choice, var_dir), var_dir, durable=durable)


def _binary(name: str, maker: Maker, choice: EngineChoice, var_dir: Path) -> Binary:
    sources = {Kind.SYSTEM: maker.system, Kind.WHEEL: maker.wheel}
    if choice in (EngineChoice.SYSTEM, EngineChoice.WHEEL):
        return _forced(name, Kind(choice.value), sources)
    if EngineRecord(var_dir, name).get("kind") == Kind.WHEEL:  # data made by one server stays with it
        sources = dict(reversed(sources.items()))
    reasons = []
    for kind, find in sources.items():
        try:
            return find()
        except EngineError as error:
            reasons.append(str(error))
            log.debug("%s: no %s server: %s", name, kind, error)
    raise EngineError(f"There is no {name} to start: {'; '.join(reasons)}. Or set SURGE_{_variable(name)}_URL.")


def _forced(name: str, kind: Kind, sources: dict[Kind, Callable[[], Binary]]) -> Binary:
    try:
        return sources[kind]()
    except EngineError as error:
        raise EngineError(f"SURGE_ENGINES={kind} cannot be met for {name}: {error}.") from None


def _variable(name: str) -> str:
    return "DATABASE" if name == "postgres" else name.upper()
