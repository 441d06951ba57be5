import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from marketdata.events import PRICE_SCALE
from tests.marketdata.lines import MS, START_NS, agg_trade, diff, line, snapshot, ticker

PROJECT = Path(__file__).resolve().parents[2]
CAPTURES = (
    "spot_3symbols_2021-04-04_91s",
    "spot_btcusdt_2024-08-08_650s",
    "spot_ethbtc_2020-11-01_1h",
    "usdm_5symbols_2021-04-05_119s",
    "usdm_btcusdt_2024-08-08_345s",
)


def replay(*arguments: object, hash_seed: int = 0, var_dir: Path | None = None) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    if var_dir:
        environment["SURGE_VAR_DIR"] = str(var_dir)
    command = [sys.executable, "manage.py", "replay", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=100)


def replay_json(*arguments: object, hash_seed: int = 0) -> dict:
    done = replay(*arguments, "--json", hash_seed=hash_seed)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def slow_book(path: Path) -> tuple[dict, dict]:
    """The book at the end of a spot capture, straight from the protocol's rules: plain dicts, no code of ours."""
    buffered, book_id, sides = [], None, ({}, {})

    def apply(bids: list, asks: list) -> None:
        for side, rows in zip(sides, (bids, asks), strict=True):
            for price, qty in rows:
                side.pop(float(price), None)
                if float(qty):
                    side[float(price)] = float(qty)

    with gzip.open(path) as lines:
        for text in lines:
            message = orjson.loads(text.partition(b" ")[2])
            data, stream = message["data"], message["stream"]
            if stream.endswith("@depthSnapshot") and book_id is None:
                book_id = data["lastUpdateId"]
                apply(data["bids"], data["asks"])
                waiting, buffered = buffered, []
            elif "@depth" in stream and "b" in data:
                waiting = [data]
            else:
                continue
            for event in waiting:
                if book_id is None:
                    buffered.append(event)
                elif event["u"] > book_id:
                    assert event["U"] <= book_id + 1
                    apply(event["b"], event["a"])
                    book_id = event["u"]
    return sides


@pytest.mark.realdata
@pytest.mark.parametrize("name", CAPTURES)
def test_every_recorded_file_replays_whole_and_alike(shared_data, tmp_path, name):
    path = shared_data / "captures" / f"{name}.txt.gz"
    market = name.partition("_")[0]
    first = replay_json(path, "--market", market, hash_seed=1)
    second = replay_json(path, "--market", market, hash_seed=2)
    with gzip.open(path) as lines:
        assert first["messages"] == sum(1 for _ in lines)
    assert first["rejected"] == 0 and first["feature_rows"] > 0 and first["decisions"] > 0
    for symbol, report in first["symbols"].items():
        assert (report["synced"], report["gaps"], report["resyncs"]) == (True, 0, 0), symbol
        assert 0 < report["best_bid"] < report["best_ask"]
    assert first["decisions_sha256"] == second["decisions_sha256"]


@pytest.mark.realdata
def test_the_book_after_an_hour_is_that_of_an_independent_reader(shared_data, tmp_path):
    path = shared_data / "captures" / "spot_ethbtc_2020-11-01_1h.txt.gz"
    replay_json(
        path, "--market", "spot", "--book-out", tmp_path / "book.json", "--features-out", tmp_path / "f.parquet"
    )
    ours = json.loads((tmp_path / "book.json").read_text())["ETHBTC"]
    for side, rows, best_first in zip(slow_book(path), (ours["bids"], ours["asks"]), (True, False), strict=True):
        expected = sorted(side.items(), reverse=best_first)[:500]
        assert [(float(price), float(qty)) for price, qty in rows[:500]] == expected
    assert (tmp_path / "f.parquet").stat().st_size > 10_000


@pytest.fixture
def good() -> list[bytes]:
    bids, asks = [("100.00", "5")], [("100.10", "3")]
    return [
        diff(START_NS, 5, 9),
        snapshot(START_NS + MS, 9, bids, asks),
        *(diff(START_NS + k * 100 * MS, 9 + k, 9 + k, [("100.00", str(k))]) for k in range(1, 30)),
        ticker(START_NS + 3000 * MS, "100.00", "100.10"),
    ]


def test_bad_lines_are_counted_and_the_rest_goes_on(tmp_path, good):
    bad = [
        b"no line at all\n",
        b"\x00\x01\xff\xfe\n",
        line(START_NS, "btcusdt@tea", {}),
        line(START_NS, "../etc@depth", {"e": "depthUpdate"}),
        agg_trade(START_NS, 1, "NaN", "1"),
        agg_trade(START_NS, 1, "-5", "1"),
        agg_trade(START_NS, 1, "5", "1" + "0" * 40),
        good[5][: len(good[5]) // 2] + b"\n",
    ]
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join([*good[:5], *bad, *good[5:]]))
    report = replay_json(path, "--market", "spot")
    assert report["messages"] == len(good) + len(bad) and report["rejected"] == len(bad)
    assert report["symbols"]["BTCUSDT"]["synced"] and report["symbols"]["BTCUSDT"]["gaps"] == 0


def test_a_rejected_diff_leaves_a_gap_and_the_book_unsynced(tmp_path, good):
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join([*good[:10], good[10].replace(b'"100.00"', b'"NaN"'), *good[11:]]))
    report = replay_json(path, "--market", "spot")["symbols"]["BTCUSDT"]
    assert (report["synced"], report["gaps"], report["best_bid"]) == (False, 1, None)


REFUSED = {
    "missing": (None, "There is no capture"),
    "empty": (b"", "is empty"),
    "noise": (bytes(range(256)) * 50, "Binance frame"),
    "cut gzip": (gzip.compress(b"".join([diff(START_NS + k, k + 1, k + 1) for k in range(500)]))[:-30], "cut off"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_capture_is_refused_in_one_sentence(tmp_path, name):
    content, says = REFUSED[name]
    path = tmp_path / "capture.gz"
    if content is not None:
        path.write_bytes(content)
    done = replay(path, "--market", "spot", "--json")
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_captures_out_of_order_are_refused(tmp_path, good):
    early, late = tmp_path / "early.txt", tmp_path / "late.txt"
    early.write_bytes(b"".join(good))
    late.write_bytes(agg_trade(START_NS + 10**12, 1, "100", "1"))
    assert replay_json(early, late, "--market", "spot")["messages"] == len(good) + 1
    done = replay(late, early, "--market", "spot")
    assert done.returncode == 2 and "oldest first" in done.stderr


def test_an_unknown_model_version_is_refused(tmp_path, good):
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join(good))
    done = replay(path, "--market", "spot", "--model-version", "nobody")
    assert done.returncode == 2 and "nobody" in done.stderr and "Traceback" not in done.stderr


def test_prices_of_the_written_book_are_exact_decimals(tmp_path, good):
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join(good))
    replay_json(path, "--market", "spot", "--book-out", tmp_path / "book.json")
    book = json.loads((tmp_path / "book.json").read_text())["BTCUSDT"]
    assert book["bids"] == [["100.00000000", "29.0"]] and book["last_update_id"] == 38
    assert int(book["asks"][0][0].replace(".", "")) == round(100.10 * PRICE_SCALE)
