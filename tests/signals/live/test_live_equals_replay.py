"""The exchange plays a recorded capture over real sockets; what live recorded replays to what live decided."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from marketdata.archive import Archive
from marketdata.capture import read_lines
from marketdata.events import Market
from modeling.services import model_version_promote, training_run_execute
from signals.live.assemble import LiveOptions
from signals.management.commands.live import work
from signals.models import Signal
from signals.selectors import board_rows
from signals.services import strategy_presets_install

PROJECT = Path(__file__).resolve().parents[3]

QUICK: dict[str, Any] = {
    "model": "logloss",
    "n_folds": 2,
    "bootstrap_draws": 10,
    "workers": 1,
    "min_events": 1,
    "max_ece": 0.5,
    "history": {"seconds": 500.0, "symbols": 4, "seed": 5},
    "boosting": {"max_rounds": 20, "patience": 5, "min_data_in_leaf": 30, "learning_rate": 0.1},
}

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@dataclass
class LiveRun:
    report: dict[str, Any]
    recording: Path


@contextmanager
def exchange(*arguments: object) -> Iterator[dict[str, str]]:
    """The simulated exchange as a process of its own; yields its addresses."""
    command = [sys.executable, "manage.py", "exchange", "--json", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def stage(tmp_path: Path, settings: Any, redis_url: str, clickhouse_url: str) -> Any:
    """A champion, the preset strategies (loosened, so that some signals fire) and empty folders."""
    settings.SURGE_MODELS_DIR = tmp_path / "models"
    settings.SURGE_CAPTURE_DIR = tmp_path / "captures"
    run = training_run_execute(dataset="simulated", config=QUICK, mode="demo", market="spot")
    model_version_promote(model_version=run.model_version)
    for strategy in strategy_presets_install():
        strategy.p_min, strategy.utility_min_bps, strategy.cooldown_s = 0.02, -1000.0, 5.0
        strategy.max_spread_bps, strategy.min_depth_ratio = 1000.0, 0.0
        strategy.save()
    return settings


def live_run(settings: Any, addresses: dict[str, str], market: Market, recording: Path) -> LiveRun:
    settings.SURGE_EXCHANGE_REST_URL, settings.SURGE_EXCHANGE_STREAM_URL = (
        addresses["rest_url"],
        addresses["stream_url"],
    )
    report = asyncio.run(work(LiveOptions(market, recording, idle_exit_s=10.0, all_quotes=True)))
    return LiveRun(report, recording)


def replay(recording: Path, market: Market) -> dict[str, Any]:
    out = io.StringIO()
    call_command("replay", str(recording), "--market", market.value, "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.realdata
def test_what_live_recorded_replays_to_what_live_decided(shared_data, stage, tmp_path):
    capture = shared_data / "captures" / "usdm_5symbols_2021-04-05_119s.txt.gz"
    with exchange("--market", "usdm", "--capture", capture, "--speed", "3.5") as addresses:
        run = live_run(stage, addresses, Market.USDM, tmp_path / "recording.txt.zst")
    live, again = run.report, replay(run.recording, Market.USDM)
    assert live["decisions_sha256"] == again["decisions_sha256"]
    for name in ("messages", "rejected", "events", "feature_rows", "decisions", "signals", "symbols", "model_version"):
        assert live[name] == again[name], name
    assert live["rejected"] == 0 and len(live["symbols"]) == 5
    assert all(row["gaps"] == row["resyncs"] == 0 for row in live["symbols"].values())  # unsynced: the exchange hung up
    assert live["messages"] > 8_000 and live["decisions"] > 500

    frames = {line.partition(b" ")[2] for line in read_lines(run.recording)}
    played = [line.partition(b" ")[2] for line in read_lines(capture) if b'"generated"' not in line]
    wanted = [frame for frame in played if b"@kline" not in frame]
    assert sum(frame in frames for frame in wanted) > 0.99 * len(wanted)

    assert Signal.objects.count() == live["signals"] > 0
    assert not Signal.objects.filter(published_at=None).exists()
    assert {row["symbol"] for row in board_rows("demo")} == set(live["symbols"])
    with Archive(django_settings.SURGE_CLICKHOUSE_URL) as archive:
        assert len(archive.read_scores("BATUSDT", 0, 2**62, mode="demo", market="usdm")["p"]) > 10


def test_a_living_market_replays_to_what_live_decided(stage, tmp_path):
    with exchange("--market", "spot", "--seed", "3", "--symbols", "4") as addresses:
        stage.SURGE_EXCHANGE_REST_URL, stage.SURGE_EXCHANGE_STREAM_URL = addresses["rest_url"], addresses["stream_url"]

        async def for_a_while() -> dict[str, Any]:
            options = LiveOptions(Market.SPOT, tmp_path / "recording.txt.gz")
            task = asyncio.create_task(work(options))
            await asyncio.sleep(6)  # the length of the recording, not a wait for something
            os.kill(os.getpid(), signal.SIGTERM)
            return await task

        live = asyncio.run(for_a_while())
    assert (
        live["decisions"] > 0
        and live["decisions_sha256"] == replay(tmp_path / "recording.txt.gz", Market.SPOT)["decisions_sha256"]
    )
