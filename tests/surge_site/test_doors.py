"""Every door is closed unless it is on the list: routes, hosts, forms, logins, metrics, production settings."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

PROJECT = Path(__file__).resolve().parents[2]
OPEN = {"health_live", "health_ready", "set_language", "login", "admin:login"}
SAMPLES: dict[str, Any] = {"public_id": uuid.UUID(int=7), "symbol": "BTCUSDT", "object_id": 1, "app_label": "signals"}
GOOD_KEY = "".join(chr(code) for code in range(40, 100))


def routes(resolver: URLResolver, prefix: str = "/", space: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, address) of every route, with samples for its parameters."""
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern).lstrip("^").replace(r"\Z", "").rstrip("$")
        if isinstance(entry, URLResolver):
            yield from routes(entry, route, f"{entry.namespace}:" if entry.namespace else space)
        elif isinstance(entry, URLPattern):
            yield f"{space}{entry.name}", filled(route)


def filled(route: str) -> str:
    for name, value in SAMPLES.items():
        for kind in ("", "uuid:", "str:", "path:", "int:"):
            route = route.replace(f"<{kind}{name}>", str(value))
    return route.replace("(?P<app_label>auth|axes)", "auth")


def all_routes() -> list[tuple[str, str]]:
    return [(name, path) for name, path in routes(get_resolver()) if "(?P" not in path and "<" not in path]


@pytest.mark.django_db
@pytest.mark.usefixtures("redis_url")
def test_a_stranger_gets_in_nowhere_else(client: Client) -> None:
    seen = all_routes()
    assert len(seen) > 30
    for name, path in seen:
        if name in OPEN:
            continue
        answer = client.get(path)
        is_refused = answer.status_code in {401, 403, 404} or (
            answer.status_code in {301, 302} and ("login" in answer["Location"] or answer.status_code == 301)
        )
        assert is_refused, f"{name} {path} answered {answer.status_code} to a stranger"


@pytest.mark.django_db
@pytest.mark.usefixtures("redis_url")
def test_the_open_doors_are_open(client: Client) -> None:
    assert client.get("/login/").status_code == 200
    assert client.get("/healthz/live").json() == {"live": True}
    assert client.get("/healthz/ready").json() == {"ready": True, "postgres": True, "redis": True, "migrations": True}
    answer = client.post("/i18n/setlang/", {"language": "zh-hans", "next": "/login/"})
    assert (answer.status_code, answer["Location"]) == (302, "/login/")


@pytest.mark.django_db
def test_a_process_without_redis_is_alive_but_not_ready(client: Client, settings: Any) -> None:
    settings.SURGE_REDIS_URL = "redis://127.0.0.1:9/0"
    answer = client.get("/healthz/ready")
    assert (answer.status_code, answer.json()["redis"]) == (503, False)
    assert client.get("/healthz/live").status_code == 200


@pytest.mark.django_db
def test_probes_are_answered_under_any_host_and_pages_are_not(client: Client) -> None:
    stranger = {"HTTP_HOST": "evil.example.org"}
    assert client.get("/healthz/live", **stranger).status_code == 200
    assert client.get("/login/", **stranger).status_code == 400


@pytest.mark.django_db
def test_pages_carry_a_strict_policy(client: Client) -> None:
    answer = client.get("/login/")
    policy = {part.split()[0]: part.split()[1:] for part in answer["Content-Security-Policy"].split("; ")}
    assert policy["default-src"] == ["'self'"]
    assert not {"'unsafe-eval'", "'unsafe-inline'"} & set(policy["script-src"])
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused() -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/login/", {"username": "x", "password": "y"}).status_code == 403
    assert strict.post("/i18n/setlang/", {"language": "en"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("spoofed", [False, True], ids=["plain", "with a made-up X-Forwarded-For"])
def test_the_sixth_guess_is_locked_out_even_when_right(client: Client, spoofed: bool) -> None:
    User.objects.create_user("alice", password="correct horse battery")
    for guess in range(5):
        headers = {"HTTP_X_FORWARDED_FOR": f"10.0.0.{guess}"} if spoofed else {}
        client.post("/login/", {"username": "alice", "password": f"wrong {guess}"}, **headers)
    answer = client.post("/login/", {"username": "alice", "password": "correct horse battery"})
    assert answer.status_code == 429
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_metrics_want_the_token_or_staff(client: Client, settings: Any) -> None:
    settings.SURGE_METRICS_TOKEN = "a token of twenty letters"
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 403
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer a token of twenty letters").status_code == 200
    client.force_login(User.objects.create_user("bob"))
    assert client.get("/metrics").status_code == 403
    client.force_login(User.objects.create_user("root", is_staff=True))
    assert b"python_info" in client.get("/metrics").content


@pytest.mark.django_db
def test_no_token_means_no_bearer_gets_in(client: Client, settings: Any) -> None:
    settings.SURGE_METRICS_TOKEN = None
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer ").status_code == 403
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer None").status_code == 403


def manage(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "surge_site.settings", **variables}
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


def test_production_settings_pass_djangos_own_judge() -> None:
    production = {"mode": "production", "secret_key": GOOD_KEY, "allowed_hosts": "surge.example.org"}
    done = manage("check", "--deploy", "--fail-level", "WARNING", SURGE_COMMAND_LINE=json.dumps(production))
    assert done.returncode == 0, done.stderr


def test_a_wrong_value_starts_nothing_and_says_what_to_do() -> None:
    done = manage("up", "--demo", SURGE_COMMAND_LINE="{}", SURGE_PORT="99999")
    assert done.returncode == 2
    assert done.stderr == "SURGE_PORT is '99999' (environment): it must be less than or equal to 65535.\n"
    assert done.stdout == ""


def test_several_wrong_values_get_one_sentence_each() -> None:
    done = manage("migrate", "--set", "mode=production", "--set", "debug=yes", SURGE_COMMAND_LINE="{}")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert [line.split()[0] for line in told] == ["SURGE_SECRET_KEY", "SURGE_DEBUG", "SURGE_ALLOWED_HOSTS"]


def test_cookies_of_the_two_modes_never_meet() -> None:
    assert settings.SESSION_COOKIE_NAME.endswith("_demo")
    assert settings.SESSION_COOKIE_HTTPONLY
    assert settings.SESSION_COOKIE_SAMESITE == "Lax"
