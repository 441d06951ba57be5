"""Two questions a supervisor asks: does this process turn (live), can it serve people (ready)?"""

from collections.abc import Callable

import psycopg
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis import Redis
from redis.exceptions import RedisError

ANSWER_TIMEOUT_S = 2
_applied = False


@login_not_required
def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"live": True})


@login_not_required
def ready(request: HttpRequest) -> JsonResponse:
    parts = {"postgres": postgres_answers(), "redis": redis_answers()}
    parts["migrations"] = parts["postgres"] and migrations_are_applied()
    is_ready = all(parts.values())
    return JsonResponse({"ready": is_ready, **parts}, status=200 if is_ready else 503)


def postgres_answers() -> bool:
    try:
        with psycopg.connect(settings.SURGE_DATABASE_URL, connect_timeout=ANSWER_TIMEOUT_S) as fresh:
            fresh.execute(f"SET statement_timeout = {ANSWER_TIMEOUT_S * 1000}")
            fresh.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def redis_answers() -> bool:
    limits = {"socket_connect_timeout": ANSWER_TIMEOUT_S, "socket_timeout": ANSWER_TIMEOUT_S}
    try:
        with Redis.from_url(settings.SURGE_REDIS_URL, **limits) as client:
            return bool(client.ping())
    except RedisError:
        return False


def migrations_are_applied() -> bool:
    """Look until it is true; once applied, they stay applied while this process runs."""
    global _applied
    if not _applied:
        executor = MigrationExecutor(connection)
        _applied = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _applied


class ProbeMiddleware:
    """Answer probes before the host check: they come by address, often without a Host header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.probes = {"/healthz/live": live, "/healthz/ready": ready}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = self.probes.get(request.path)
        return probe(request) if probe else self.get_response(request)
