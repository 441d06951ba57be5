"""The machine's settings in layers, from defaults to the command line; each value keeps its origin."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

PROJECT = Path(__file__).resolve().parents[1]
PREFIX = "SURGE_"
OWN_ENGINES_VARIABLE = "SURGE_OWN_ENGINES"  # JSON, set by the engine lease for this process and its children
COMMAND_LINE_VARIABLE = "SURGE_COMMAND_LINE"  # JSON, set by manage.py from --set
FOLDER_VARIABLE = "SURGE_SETTINGS_FOLDER"  # where surge.toml and .env lie, when not in the project
NOT_SETTINGS = {OWN_ENGINES_VARIABLE, COMMAND_LINE_VARIABLE, FOLDER_VARIABLE, "SURGE_RUN"}
DEMO_KEY = "demo-only-"
LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}
EXCHANGE_URLS = {
    ("production", "spot"): ("https://api.binance.com", "wss://stream.binance.com:9443"),
    ("production", "usdm"): ("https://fapi.binance.com", "wss://fstream.binance.com"),
    ("demo", "spot"): ("http://127.0.0.1:8470", "ws://127.0.0.1:8470"),
    ("demo", "usdm"): ("http://127.0.0.1:8470", "ws://127.0.0.1:8470"),
}


class ConfigError(Exception):
    """One plain sentence per wrong value."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class EngineChoice(StrEnum):
    AUTO = "auto"
    WHEEL = "wheel"
    SYSTEM = "system"
    URL = "url"


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _absolute(path: Path) -> Path:
    return path if path.is_absolute() else PROJECT / path


Words = Annotated[list[str], NoDecode, BeforeValidator(_words)]
Folder = Annotated[Path, AfterValidator(_absolute)]


class SurgeConfig(BaseSettings):
    """Every setting, its meaning and its default; the environment writes them as SURGE_<NAME>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    mode: Literal["demo", "production"] = Field("demo", description="demo = simulated exchange, production = Binance")
    market: Literal["spot", "usdm"] = Field("spot", description="which Binance market to watch")
    engines: EngineChoice = Field(EngineChoice.AUTO, description="where PostgreSQL, Redis and ClickHouse come from")
    database_url: str | None = Field(None, description="postgresql://user:password@host:port/name")
    redis_url: str | None = Field(None, description="redis://:password@host:port/0")
    clickhouse_url: str | None = Field(None, description="clickhouse://user:password@host:port/name")
    database_pool: bool = Field(True, description="keep a pool of PostgreSQL connections per process")
    exchange_rest_url: str | None = Field(None, description="base address of the exchange's REST interface")
    exchange_stream_url: str | None = Field(None, description="base address of the exchange's websocket streams")
    var_dir: Folder = Field(PROJECT / "var", description="where everything that changes is kept")
    data_root: Folder = Field(PROJECT.parent / "shared" / "data", description="recorded market data for tests")
    models_dir: Folder | None = Field(None, description="where model versions are kept")
    capture_dir: Folder | None = Field(None, description="where the live worker records the exchange's messages")
    secret_key: str | None = Field(None, description="Django's secret key; made by itself in demo mode")
    secret_key_fallbacks: Words = Field([], description="older secret keys that still verify")
    debug: bool = Field(False, description="Django's debug pages; never in production")
    allowed_hosts: Words = Field([], description="host names this site answers to, comma-separated")
    csrf_trusted_origins: Words = Field([], description="origins such as https://surge.example.org")
    https: bool | None = Field(None, description="pages travel over HTTPS (secure cookies, HSTS)")
    port: int = Field(8000, ge=1, le=65535, description="port of the web server")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="how much is logged")
    metrics_token: str | None = Field(None, min_length=20, description="bearer token Prometheus sends to /metrics")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # config_layers reads the layers, so that each value keeps its origin

    @field_validator("database_url", "redis_url", "clickhouse_url", "exchange_rest_url", "exchange_stream_url")
    @classmethod
    def _address_is_whole(cls, value: str | None, info: Any) -> str | None:
        if value is None:
            return None
        schemes = URL_SCHEMES[info.field_name]
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"write it as {schemes[0]}://host:port")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _values_fit_together(self) -> "SurgeConfig":
        problems = [*self._production_problems(), *self._engine_problems(), *self._exchange_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _production_problems(self) -> list[str]:
        if self.mode != "production":
            return []
        key = self.secret_key or ""
        checks = {
            "SURGE_SECRET_KEY must be your own key of at least 50 characters in production; make one with: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(64))'": len(key) >= 50
            and not key.startswith((DEMO_KEY, "django-insecure-"))
            and len(set(key)) >= 5,
            "SURGE_DEBUG must be false in production: its error pages show secrets.": not self.debug,
            "SURGE_ALLOWED_HOSTS must name the host names of the site in production, for example "
            "surge.example.org.": bool(self.allowed_hosts) and "*" not in self.allowed_hosts,
        }
        return [sentence for sentence, fine in checks.items() if not fine]

    def _engine_problems(self) -> list[str]:
        if self.engines is not EngineChoice.URL:
            return []
        names = ("database_url", "redis_url", "clickhouse_url")
        missing = [PREFIX + name.upper() for name in names if getattr(self, name) is None]
        return [f"SURGE_ENGINES is url, so also set {', '.join(missing)}."] if missing else []

    def _exchange_problems(self) -> list[str]:
        problems = []
        for name in ("exchange_rest_url", "exchange_stream_url"):
            url = getattr(self, name)
            is_loopback = url is not None and urlsplit(url).hostname in LOOPBACK_HOSTS
            if url and self.mode == "demo" and not is_loopback:
                problems.append(
                    f"{PREFIX}{name.upper()} is {url}, but demo mode only talks to the simulated exchange on this "
                    "machine: remove it, or set SURGE_MODE=production."
                )
            if is_loopback and self.mode == "production":
                problems.append(
                    f"{PREFIX}{name.upper()} is {url}, but production may not take a simulated exchange for Binance: "
                    "remove it, or set SURGE_MODE=demo."
                )
        return problems

    @property
    def exchange_rest(self) -> str:
        return self.exchange_rest_url or EXCHANGE_URLS[self.mode, self.market][0]

    @property
    def exchange_stream(self) -> str:
        return self.exchange_stream_url or EXCHANGE_URLS[self.mode, self.market][1]

    @property
    def models_folder(self) -> Path:
        return self.models_dir or self.var_dir / "models" / self.mode

    @property
    def capture_folder(self) -> Path:
        return self.capture_dir or self.var_dir / "captures" / self.mode

    @property
    def is_https(self) -> bool:
        return self.mode == "production" if self.https is None else self.https


URL_SCHEMES = {
    "database_url": ("postgresql", "postgres"),
    "redis_url": ("redis", "rediss", "unix"),
    "clickhouse_url": ("clickhouse", "clickhouses"),
    "exchange_rest_url": ("http", "https"),
    "exchange_stream_url": ("ws", "wss"),
}
SECRET_FIELDS = {"database_url", "redis_url", "clickhouse_url", "secret_key", "secret_key_fallbacks", "metrics_token"}


def config_load(*, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> SurgeConfig:
    """Read all layers; raise ConfigError with one sentence per wrong value."""
    config, _ = config_with_origins(environment=environment, folder=folder)
    return config


def config_with_origins(
    *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[SurgeConfig, dict[str, str]]:
    """Return the settings and, for each name, the layer its value came from."""
    environment = os.environ if environment is None else environment
    layers = _layers(environment, folder or Path(environment.get(FOLDER_VARIABLE) or PROJECT))
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SurgeConfig.model_fields, "default")
    problems = []
    for origin, found in layers:
        problems += _unknown_names(found, origin)
        values.update(found)
        origins.update(dict.fromkeys(found, origin))
    known = {name: value for name, value in values.items() if name in SurgeConfig.model_fields}
    try:
        config = SurgeConfig(**known)
    except ValidationError as error:
        raise ConfigError(problems + _sentences(error, known, origins)) from None
    if problems:
        raise ConfigError(problems)
    return config, origins


def config_explain(*, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> list[dict[str, str]]:
    """One row per setting: name, value (secrets hidden), origin, meaning."""
    config, origins = config_with_origins(environment=environment, folder=folder)
    return [
        {"name": name, "value": _shown(name, getattr(config, name)), "origin": origins[name], "meaning": meaning}
        for name, field in SurgeConfig.model_fields.items()
        if (meaning := field.description or "")
    ]


def _layers(environment: Mapping[str, str], folder: Path) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("surge.toml", _toml_layer(folder / "surge.toml")),
        (".env", _named(dotenv_values(folder / ".env"))),
        ("environment", _named(environment, only_near_misses=True)),
        ("own engines", json.loads(environment.get(OWN_ENGINES_VARIABLE, "{}"))),
        ("command line", json.loads(environment.get(COMMAND_LINE_VARIABLE, "{}"))),
    ]


def _toml_layer(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path} is not a TOML file: {error}. Correct that line or remove the file."]) from None


def _named(variables: Mapping[str, str | None], *, only_near_misses: bool = False) -> dict[str, Any]:
    """Take SURGE_<NAME>=value pairs. In the shell's environment a strange name may belong to another program."""
    found = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in variables.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS and value not in (None, "")
    }
    if not only_near_misses:
        return found
    return {name: value for name, value in found.items() if name in SurgeConfig.model_fields or _near(name)}


def _near(name: str) -> list[str]:
    return difflib.get_close_matches(name, SurgeConfig.model_fields, n=1, cutoff=0.75)


def _unknown_names(found: Mapping[str, Any], origin: str) -> list[str]:
    unknown = [name for name in found if name not in SurgeConfig.model_fields]
    return [
        f"{PREFIX}{name.upper()} ({origin}) is not a setting{_suggestion(name)}; "
        "`./surge config_explain` lists all of them."
        for name in unknown
    ]


def _suggestion(name: str) -> str:
    near = _near(name)
    return f": did you mean {PREFIX}{near[0].upper()}" if near else ""


def _sentences(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, str]) -> list[str]:
    sentences = []
    for problem in error.errors(include_url=False):
        reason = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            sentences += reason.splitlines()
            continue
        name = str(problem["loc"][0])
        shown = _shown(name, values.get(name))
        sentences.append(f"{PREFIX}{name.upper()} is {shown!r} ({origins[name]}): {_plain(reason)}.")
    return sentences


def _plain(reason: str) -> str:
    reason = reason.replace("Input should be ", "it must be ").replace("String should ", "it must ")
    return reason.split(", unable to")[0].rstrip(".")


def _shown(name: str, value: Any) -> str:
    if value in (None, [], ""):
        return ""
    if name in SECRET_FIELDS:
        return "(hidden)"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
