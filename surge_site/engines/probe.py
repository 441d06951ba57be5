"""Engines that run elsewhere: do they answer, and are they new enough?"""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
from clickhouse_driver import Client
from redis import Redis

from surge_site.engines import clickhouse, postgres, redis
from surge_site.engines.engine import EngineError, version_tuple

TIMEOUT_S = 5


class Probe(NamedTuple):
    variable: str
    version: Callable[[str], str]
    oldest: tuple[int, ...]


def postgres_version(url: str) -> str:
    with psycopg.connect(url, connect_timeout=TIMEOUT_S) as connection:
        return str(connection.info.parameter_status("server_version"))


def redis_version(url: str) -> str:
    with Redis.from_url(url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S) as client:
        return str(client.info("server")["redis_version"])


def clickhouse_version(url: str) -> str:
    client = Client.from_url(f"{url}{'&' if '?' in url else '?'}connect_timeout={TIMEOUT_S}")
    try:
        return str(client.execute("SELECT version()")[0][0])
    finally:
        client.disconnect()


PROBES = {
    "postgres": Probe("SURGE_DATABASE_URL", postgres_version, (postgres.OLDEST_MAJOR,)),
    "redis": Probe("SURGE_REDIS_URL", redis_version, redis.OLDEST),
    "clickhouse": Probe("SURGE_CLICKHOUSE_URL", clickhouse_version, clickhouse.OLDEST),
}


def engine_probe(name: str, url: str) -> str:
    """Return the version of the engine behind the URL; raise EngineError with what to do."""
    probe, parts = PROBES[name], urlsplit(url)
    try:
        answer = probe.version(url)
    except Exception as error:  # three drivers, three trees of exceptions, one meaning
        reason = str(error).replace(parts.password or "\0", "***").strip().splitlines() or [type(error).__name__]
        raise EngineError(
            f"{name} at {parts.hostname} does not answer ({reason[0]}): correct {probe.variable}, start that server, "
            f"or remove {probe.variable} and ./surge starts its own."
        ) from None
    version = (re.match(r"\d+(?:\.\d+)*", answer) or [answer])[0]
    if version_tuple(version) < probe.oldest:
        oldest = ".".join(map(str, probe.oldest))
        raise EngineError(f"{name} at {parts.hostname} is {version}, and Surge needs {oldest} or newer.")
    return version
