"""One run of the whole system: engines, database, model, and every process under one supervisor."""

import http.client
import logging
import os
import secrets
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from signals.models import Signal
from signals.selectors import board_updated_ns
from surge_site.celery import app as celery_app
from surge_site.config import PROJECT
from surge_site.engines.lease import EngineLease
from surge_site.engines.ports import LOOPBACK, port_choose, port_next
from surge_site.engines.process import ChildProcess
from surge_site.engines.record import EngineRecord
from surge_site.engines.run_file import RUN_VARIABLE, RunFolder
from surge_site.engines.supervisor import Supervisor
from surge_site.startup import Login, champion_usable, database_prepare, demo_login_ensure

log = logging.getLogger("surge.up")
LOOK_EVERY_S = 0.25
COUNT_EVERY_S = 1.0
START_TIMEOUT_S = 300.0
WORKER_STOP_S = 25.0  # it hands unfinished tasks back within 20 s
PINGS = {"spot": "/api/v3/ping", "usdm": "/fapi/v1/ping"}


class UpError(Exception):
    """The run ends without success; the text says why and what to do."""


@dataclass(frozen=True)
class UpOptions:
    exit_after_signals: int | None = None
    timeout_s: float | None = None
    seed: int | None = None


class Up:
    """Start everything, keep it running, stop it in order."""

    def __init__(self, lease: EngineLease, options: UpOptions, say: Callable[[str], None]) -> None:
        self.lease = lease
        self.options = options
        self.say = say
        self.folder = RunFolder(settings.SURGE_VAR_DIR)
        self.supervisor = Supervisor()
        self.stopping = threading.Event()
        self.began_s = time.monotonic() - process_age_s()
        self.began_at = datetime.now(UTC) - timedelta(seconds=process_age_s())
        self.token = secrets.token_hex(8)
        self.web_port = port_next(int(lease.config.port))
        self.trainer: ChildProcess | None = None
        self.login: Login | None = None
        self.model_version: str | None = None
        self.signals = 0
        self.first_signal_s: float | None = None
        self.exchange_environment: dict[str, str] = {}
        self._counted_s = 0.0
        self._is_ready = False

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.web_port}/"

    def run(self, on_ready: Callable[[], None]) -> None:
        """Return when asked to stop, or when the wanted number of signals is out; UpError otherwise."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_stop_signal)
        try:
            self._prepare()
            while not self.stopping.wait(LOOK_EVERY_S):
                self._step(on_ready)
                if self._has_enough():
                    return
                self._watch_timeout()
        finally:
            self.stop()

    def stop(self) -> None:
        self.say("Stopping ...")
        if self.trainer:
            self.trainer.stop()
        self.supervisor.stop(first=("live",))  # it uses all the others
        self.folder.up.unlink(missing_ok=True)

    def report(self) -> dict[str, Any]:
        facts = self.lease.facts
        return {
            "url": self.url,
            "engines": {name: {"kind": fact.kind, "version": fact.version} for name, fact in facts.items()},
            "signals": self.signals,
            "first_signal_s": None if self.first_signal_s is None else round(self.first_signal_s, 2),
            "model_version": self.model_version,
            "login": self.login and {"username": self.login.username, "password": self.login.password},
        }

    def _prepare(self) -> None:
        self.folder.up_write(run=self.token, pid=os.getpid(), url=self.url)
        self.say("Preparing the database")
        database_prepare()
        self.login = demo_login_ensure()
        champion = champion_usable()
        if champion is None and settings.SURGE_MODE == "production":
            raise UpError(
                "There is no champion model for production yet: train one with `./surge train`, then promote it."
            )
        if champion is None:
            self.say("No model yet: training one on simulated history (once, under a minute)")
            self.trainer = self._manage("train", "train", "--dataset", "simulated", "--json", shows_errors=True)
            self.trainer.start()
        self._start_page()
        if champion is not None:
            self._start_market(champion.version)

    def _start_page(self) -> None:
        web = [sys.executable, "-m", "daphne", "-v", "0", "-b", LOOPBACK, "-p", str(self.web_port)]
        self.supervisor.add(self._child("web", [*web, "surge_site.asgi:application"]), self._web_is_ready)

    def _start_market(self, version: str) -> None:
        """Live comes first: the first signal waits for it, and a small machine starts one program at a time."""
        self.model_version = version
        if settings.SURGE_MODE == "demo":
            self._start_exchange()
        self.supervisor.add(self._manage("live", "live"), self._live_is_ready)
        self._start_celery()

    def _start_celery(self) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "surge_site"]
        worker = [*celery, "worker", "-Q", "cpu,io", "--concurrency", "2", "-l", "INFO", "--without-gossip"]
        schedule = "django_celery_beat.schedulers:DatabaseScheduler"
        self.supervisor.add(self._child("worker", worker, stop_timeout_s=WORKER_STOP_S), worker_answers)
        self.supervisor.add(self._child("beat", [*celery, "beat", "-l", "INFO", "--scheduler", schedule]))

    def _start_exchange(self) -> None:
        record = EngineRecord(settings.SURGE_VAR_DIR, "exchange")
        port = port_choose(record.get("port"), record.ports_of_others())
        record.update(port=port)
        seed = [] if self.options.seed is None else ["--seed", str(self.options.seed)]
        exchange = self._manage("exchange", "exchange", "--market", settings.SURGE_MARKET, "--port", str(port), *seed)
        self.exchange_environment = {
            "SURGE_EXCHANGE_REST_URL": f"http://{LOOPBACK}:{port}",
            "SURGE_EXCHANGE_STREAM_URL": f"ws://{LOOPBACK}:{port}",
        }
        ping = f"http://{LOOPBACK}:{port}{PINGS[settings.SURGE_MARKET]}"
        self.supervisor.add(exchange, lambda: answers(ping))

    def _manage(self, name: str, *words: str, **how: Any) -> ChildProcess:
        return self._child(name, [sys.executable, str(PROJECT / "manage.py"), *words], **how)

    def _child(self, name: str, command: list[str], **how: Any) -> ChildProcess:
        return ChildProcess(
            name=name,
            command=command,
            log_path=settings.SURGE_VAR_DIR / "log" / f"{name}.log",
            environment={RUN_VARIABLE: self.token, "REMAP_SIGTERM": "SIGQUIT", **self.exchange_environment},
            folder=PROJECT,
            **how,
        )

    def _step(self, on_ready: Callable[[], None]) -> None:
        self._watch_engines()
        self.supervisor.look()
        self._watch_trainer()
        if not self._is_ready and self.trainer is None and not self.supervisor.waiting_for():
            self._is_ready = True
            on_ready()
        if self.first_signal_s is None or self.options.exit_after_signals is not None:
            self._count_signals()

    def _watch_engines(self) -> None:
        if self.lease.is_kept():
            return
        self.say("The engines have stopped: starting them again")
        before = self.lease.settings
        self.lease.ensure()
        if self.lease.settings != before:
            raise UpError(
                "Another program took an engine's port meanwhile: start ./surge up again, it chooses new ones."
            )

    def _watch_trainer(self) -> None:
        trainer = self.trainer
        if trainer is None or trainer.exit_code is None:
            return
        self.trainer = None
        champion = champion_usable()
        if trainer.exit_code or champion is None:
            raise UpError(
                f"The training ended without a usable model (exit code {trainer.exit_code}); see {trainer.log_path} "
                "and the lines above."
            )
        self.say(f"Model {champion.version} is ready")
        self._start_market(champion.version)

    def _count_signals(self) -> None:
        now = time.monotonic()
        if now - self._counted_s < COUNT_EVERY_S or self.model_version is None:
            return
        self._counted_s = now
        try:
            published = Signal.objects.filter(mode=settings.SURGE_MODE, published_at__gte=self.began_at)
            self.signals = published.count()
            first = published.order_by("published_at").values_list("published_at", "symbol").first()
        except DatabaseError as error:
            log.warning("Cannot count signals just now: %s", error)
            return
        if first and self.first_signal_s is None:
            self.first_signal_s = (first[0] - self.began_at).total_seconds()
            self.say(f"First signal after {self.first_signal_s:.0f} s: {first[1]}")

    def _has_enough(self) -> bool:
        wanted = self.options.exit_after_signals
        return wanted is not None and self.signals >= wanted

    def _watch_timeout(self) -> None:
        wanted, limit = self.options.exit_after_signals, self.options.timeout_s
        elapsed = time.monotonic() - self.began_s
        if wanted is not None and limit is not None and elapsed > limit:
            raise UpError(f"{self.signals} of {wanted} signals after {limit:.0f} s; the logs are in {self.log_dir}.")
        if not self._is_ready and elapsed > (limit or START_TIMEOUT_S):
            waiting = ", ".join(self.supervisor.waiting_for()) or "the training"
            raise UpError(
                f"Not ready after {elapsed:.0f} s, still waiting for {waiting}; the logs are in {self.log_dir}."
            )

    @property
    def log_dir(self) -> Path:
        return Path(settings.SURGE_VAR_DIR) / "log"

    def _web_is_ready(self) -> bool:
        return answers(f"{self.url}healthz/ready")

    def _live_is_ready(self) -> bool:
        try:
            updated_ns = board_updated_ns(settings.SURGE_MODE)
        except RedisError:
            return False
        return updated_ns is not None and updated_ns > self.began_at.timestamp() * 1e9

    def _on_stop_signal(self, number: int, frame: Any) -> None:
        self.stopping.set()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def worker_answers() -> bool:
    try:
        return bool(celery_app.control.ping(timeout=0.5))
    except (OSError, OperationalError):
        return False


def process_age_s() -> float:
    """Seconds since this process began; the launcher becomes this process, so its time counts too."""
    started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
