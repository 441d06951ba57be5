import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django.core.management import CommandError, call_command

from marketdata.binance.rest import RestClient
from marketdata.binance.stream import StreamPool
from marketdata.events import Market
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.schedule import fault_schedule
from marketdata.simulator.tape import tape_frames
from tests.marketdata.simulator.stage import START_NS

PROJECT = Path(__file__).parents[3]


@contextmanager
def exchange(*words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command in a process of its own, and the addresses it printed."""
    command = [sys.executable, "manage.py", "exchange", "--json", *words]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_the_exchange_says_where_it_is_and_stops_cleanly() -> None:
    with exchange("--symbols", "2", "--seed", "9") as (process, addresses):
        client = RestClient(addresses["rest_url"], Market.SPOT)
        assert [one.symbol for one in asyncio.run(client.exchange_info())] == ["BTCUSDT", "ETHUSDT"]
        assert addresses["stream_url"].startswith("ws://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        code, errors = wait(process)
    assert code == 0
    assert "Traceback" not in errors


def test_a_capture_is_played_to_whoever_connects_and_the_command_ends(tmp_path: Path) -> None:
    lines = list(capture_lines(SimulatedMarket(3, Market.SPOT, 2, START_NS), 3.0))
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join(lines))
    frames: list[bytes] = []
    with exchange("--capture", str(path), "--speed", "max") as (process, addresses):
        streams = [
            f"{symbol}@{kind}"
            for symbol in ("btcusdt", "ethusdt")
            for kind in ("depth@100ms", "aggTrade", "bookTicker")
        ]

        async def listen() -> None:
            pool = StreamPool(
                addresses["stream_url"],
                Market.SPOT,
                streams,
                on_frame=lambda _, frame: frames.append(frame),
                on_disconnect=lambda _: None,
                silence_s=30.0,
                ends_with="capture over",
            )
            rest = RestClient(addresses["rest_url"], Market.SPOT)
            run = asyncio.create_task(pool.run())
            while not run.done():  # the tape waits for these at its snapshots
                await asyncio.gather(rest.depth("BTCUSDT"), rest.depth("ETHUSDT"), return_exceptions=True)
            await run

        asyncio.run(listen())
        code, errors = wait(process)
    assert frames == [frame.frame for frame in tape_frames(lines) if not frame.generated]
    assert (code, errors.strip().splitlines()[-1]) == (0, "capture over")


def test_faults_of_a_seed_happen_by_themselves_and_bans_are_kept(tmp_path: Path) -> None:
    state = tmp_path / "bans.json"
    words = ("--symbols", "2", "--speed", "50", "--faults", "4", "--faults-every", "5", "--state", str(state))
    with exchange(*words) as (_, addresses):
        happened: list[Any] = []
        deadline = time.monotonic() + 20.0
        while len(happened) < 3 and time.monotonic() < deadline:
            with contextlib.suppress(OSError), urlopen(f"{addresses['rest_url']}/sim/state", timeout=5) as answer:
                happened = [one for one in json.load(answer)["happened"] if not one[1].startswith("/sim/")]
            time.sleep(0.1)
        planned = fault_schedule(4, 86_400.0, ("BTCUSDT", "ETHUSDT"), every_s=5.0)
    assert [one[1:] for one in happened[:3]] == [[one.fault, one.parameters] for one in planned[:3]]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"capture": Path("no/such/file.gz")}, "no capture at"),
        ({"capture": PROJECT / "tests"}, "is a folder"),
        ({"capture": PROJECT / "manage.py"}, "line 1 is no capture line"),
        ({"speed": "max"}, "--speed max is not possible: use a number above 0"),
        ({"speed": "0"}, "--speed 0 is not possible"),
        ({"speed": "fast", "capture": Path("x")}, "above 0, or max"),
        ({"symbols": 0}, "--symbols 0 is not possible"),
        ({"day": 0.0}, "--day wants seconds above 0"),
        ({"faults": 1, "faults_every": -1.0}, "--faults-every wants seconds above 0"),
        ({"unlisted": -1}, "--unlisted wants a number of 0 or more"),
        ({"surge_every": -1.0}, "--surge-every wants seconds above 0"),
        ({"port": 99_999}, "Port 99999 cannot be used"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence_with_exit_code_2(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CommandError, match=problem) as refused:
        call_command("exchange", **options)
    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)


@pytest.mark.realdata
def test_a_capture_of_the_other_market_is_refused_by_name(shared_data: Path) -> None:
    path = shared_data / "captures" / "usdm_5symbols_2021-04-05_119s.txt.gz"
    with pytest.raises(CommandError, match="start with --market usdm"):
        call_command("exchange", capture=path)
