"""Each knob does what it says, seen by a plain client over real sockets, without the project's own client."""

import asyncio
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from marketdata.events import Market
from marketdata.simulator.knobs import FAULTS, KNOBS
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.schedule import PlannedFault
from marketdata.simulator.server import ExchangeServer
from marketdata.simulator.venue import LivingVenue
from tests.marketdata.simulator.stage import START_NS, answer, ask, client, compiled, frames, http, living, silence

DEPTH = "/stream?streams=btcusdt@depth@100ms"


async def texts(socket: Any, count: int) -> list[dict[str, Any]]:
    return [json.loads(text)["data"] for text in await frames(socket, count)]


def test_every_one_of_the_39_faults_has_a_knob_or_a_reason() -> None:
    assert [fault.number for fault in FAULTS] == list(range(1, 40))
    for fault in FAULTS:
        assert set(fault.knobs) <= KNOBS.keys()
        assert fault.knobs or fault.instead, fault


async def test_the_address_lists_knobs_and_faults_and_refuses_what_it_does_not_know() -> None:
    async with living() as exchange:
        _, _, knobs = await http(exchange, "/sim/knobs")
        assert knobs["cut"]["parameters"] == ["code", "symbol"] and knobs["cut"]["text"]
        assert len((await http(exchange, "/sim/faults"))[2]) == 39
        status, _, body = await http(exchange, "/sim/cut?colour=red")
        assert (status, "it takes code, symbol" in body["error"]) == (400, True)
        assert (await http(exchange, "/sim/spoil?stream=x&kind=melt"))[0] == 400
        assert (await http(exchange, "/sim/rest?kind=melt"))[0] == 400


# Connections


async def test_a_reset_line_is_torn_without_a_close_frame() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        await frames(socket, 1)
        assert exchange.fault("rst") == {"cut": 1}
        with pytest.raises(ConnectionClosed) as torn:
            await frames(socket, 1000)
        assert torn.value.rcvd is None


async def test_a_frozen_exchange_answers_nothing_and_goes_on_after_the_thaw() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        await frames(socket, 2)
        exchange.fault("freeze")
        while not await silence(socket, 0.3):
            pass
        pong = await socket.ping()
        newcomer = asyncio.create_task(http(exchange, "/api/v3/time"))
        await asyncio.sleep(0.4)
        assert not pong.done() and not newcomer.done() and socket.close_code is None
        exchange.fault("thaw")
        await asyncio.wait_for(pong, 3)
        assert (await asyncio.wait_for(newcomer, 3))[0] == 200
        assert await frames(socket, 5)


@pytest.mark.parametrize(
    ("path", "shape", "wanted"),
    [
        ("/ws/btcusdt@depth@100ms", "own", {"e"}),
        (DEPTH, "own", {"stream", "data"}),
        (DEPTH, "raw", {"e"}),
        ("/ws/btcusdt@depth@100ms", "combined", {"stream", "data"}),
    ],
)
async def test_the_shutdown_notice_comes_in_both_shapes_and_the_end_follows(
    path: str, shape: str, wanted: set[str]
) -> None:
    async with living() as exchange, client(exchange, path) as socket:
        await frames(socket, 1)
        exchange.fault("shutdown_notice", after_s=0.5, shape=shape)
        texts = []
        with pytest.raises(ConnectionClosed):
            while True:
                texts += await frames(socket, 1)
        notice = next(json.loads(text) for text in texts if "serverShutdown" in text)
        assert wanted <= notice.keys()
        assert notice.get("stream", "!serverShutdown") == "!serverShutdown"
        assert (socket.close_code, socket.close_reason) == (1001, "server shutdown")


async def test_a_shorter_day_ends_open_connections_too() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        exchange.fault("day", seconds=0.2)
        await asyncio.wait_for(socket.wait_closed(), 3)
        assert socket.close_reason == "24 hours are over"


async def test_at_speed_3600_the_day_takes_24_seconds() -> None:
    async with living(speed=3600.0) as exchange:
        assert exchange.sockets.lifetime_s == 24.0


async def test_an_exchange_that_is_down_refuses_and_comes_back_on_the_same_port() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        port = exchange.rest_url
        exchange.fault("down", for_s=0.5)
        await asyncio.wait_for(socket.wait_closed(), 3)
        with pytest.raises((OSError, InvalidMessage)):
            async with client(exchange, DEPTH):
                pass
        await asyncio.sleep(0.8)
        async with client(exchange, DEPTH) as again:
            assert await frames(again, 2)
        assert exchange.rest_url == port


async def test_a_trickle_delivers_whole_frames_slowly() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        exchange.fault("trickle", bytes_per_s=3000)
        await frames(socket, 1)
        began = asyncio.get_running_loop().time()
        got = await frames(socket, 12)
        took_s = asyncio.get_running_loop().time() - began
        assert sum(map(len, got)) / took_s < 4500
        assert [json.loads(text)["stream"] for text in got]


async def test_pings_are_sent_and_an_answer_to_each_is_too_much() -> None:
    async with living() as exchange, client(exchange, "/ws") as socket:
        exchange.fault("pings", count=20)
        await asyncio.wait_for(socket.wait_closed(), 3)
        assert socket.close_code == 1008
        assert exchange.sockets.fastest_client > 5


@pytest.mark.parametrize(
    ("kind", "is_answered", "heard"),
    [("drop", False, 0), ("mute", False, 2), ("lost", True, 0), ("partial", True, 1), ("error", True, 0)],
)
async def test_acknowledgements_can_lie(kind: str, is_answered: bool, heard: int) -> None:
    streams = ["btcusdt@depth@100ms", "ethusdt@depth@100ms"]
    async with living() as exchange, client(exchange, "/stream") as socket:
        exchange.fault("acks", kind=kind)
        await socket.send(json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}))
        if is_answered:
            assert ("code" in await answer(socket)) == (kind == "error")
        elif not heard:
            assert await silence(socket, 0.4)
        said = {json.loads(text)["stream"] for text in (await frames(socket, 10) if heard else [])}
        assert len(said) == heard
        assert (await ask(socket, "LIST_SUBSCRIPTIONS", None))["result"] == streams[:heard]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("binary", bytes(range(256))), ("empty", ""), ("number", "12345"), ("text", "Service temporarily unavailable")],
)
async def test_a_strange_frame_arrives_as_it_is(kind: str, wanted: str | bytes) -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        exchange.fault("inject", kind=kind)
        async with asyncio.timeout(5):
            while await socket.recv() != wanted:
                pass


async def test_huge_and_fragmented_frames_are_whole_frames() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        exchange.fault("inject", kind="big", size=3 << 20)
        exchange.fault("inject", kind="fragmented")
        sizes, pieces = [], ""
        while not pieces:
            text = (await frames(socket, 1))[0]
            sizes.append(len(text))
            pieces = text if "in pieces" in text else ""
        assert max(sizes) > 2_900_000
        assert json.loads(pieces) == {"stream": "btcusdt@depth@100ms", "data": {"e": "in pieces"}}


# Messages


async def test_a_doubled_diff_comes_twice_over_the_socket() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        assert (await http(exchange, "/sim/double?stream=btcusdt@depth@100ms&count=2"))[0] == 200
        ids = [data["u"] for data in await texts(socket, 8)]
        assert len(ids) - len(set(ids)) == 2


async def test_ids_that_jump_jump_in_diffs_and_snapshots_alike() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        before = (await texts(socket, 1))[0]["u"]
        exchange.fault("skip_ids", symbol="BTCUSDT", ids="-1000000")
        after = [data["u"] for data in await texts(socket, 3)][-1]
        _, _, body = await http(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5")
        assert -1_001_000 < after - before < -900_000
        assert abs(body["lastUpdateId"] - after) < 10_000
        oracle = exchange.venue.oracle_book("BTCUSDT")
        assert oracle is not None and abs(oracle.last_update_id - after) < 10_000


async def test_a_skewed_clock_shows_in_messages_and_in_time() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        exchange.fault("skew", by_s=-5.0)
        await frames(socket, 2)
        event_ms = (await texts(socket, 1))[0]["E"]
        _, _, told = await http(exchange, "/api/v3/time")
        now_ms = exchange.venue.now_ns // 1_000_000
        assert -5300 < event_ms - now_ms < -4700
        assert -5300 < told["serverTime"] - now_ms < -4700


async def test_microseconds_are_a_thousand_times_as_many() -> None:
    async with living() as exchange, client(exchange, DEPTH) as socket:
        exchange.fault("microseconds")
        await frames(socket, 2)
        assert len(str((await texts(socket, 1))[0]["E"])) == 16


async def test_a_retired_stream_is_acknowledged_and_silent_even_after_a_heal() -> None:
    async with living() as exchange, client(exchange, "/stream") as socket:
        exchange.fault("retire", stream="btcusdt@bookTicker")
        exchange.fault("heal")
        assert (await ask(socket, "SUBSCRIBE", ["btcusdt@bookTicker"]))["result"] is None
        assert await silence(socket, 0.6)


async def test_mark_prices_of_all_come_in_two_frames_with_foreign_rows() -> None:
    async with (
        living(Market.USDM, symbols=5, speed=5.0) as exchange,
        client(exchange, "/market/stream?streams=!markPrice@arr@1s") as socket,
    ):
        first, second = await texts(socket, 2)
        rows = [*first, *second]
        assert first and second
        assert {row["s"] for row in rows if row["st"] == 1} >= {"BTCUSDT", "ETHUSDT"}
        assert [row["s"] for row in rows if row["st"] == 2] == ["BTCUSD_PERP"]
        assert [row["s"] for row in rows if row["T"] == 0] == ["BTCUSDT_261225"]


# REST


@pytest.mark.parametrize(("status", "retry"), [(429, "7"), (418, "7"), (451, None), (500, None)])
async def test_a_refusal_by_knob_has_its_status_and_its_retry_after(status: int, retry: str | None) -> None:
    async with living() as exchange:
        exchange.fault("rest", path="ping", status=status, retry_after_s=7 if retry else 0)
        got, headers, _ = await http(exchange, "/api/v3/ping")
        assert (got, headers.get("Retry-After")) == (status, retry)
        again, _, _ = await http(exchange, "/api/v3/ping")
        assert again == (status if status in (429, 418) else 200)


async def test_who_ignores_a_429_is_banned_and_the_ban_outlives_the_exchange(tmp_path: Path) -> None:
    state = tmp_path / "bans.json"
    async with living(state_file=state) as exchange:
        exchange.pause()  # so that no minute ends meanwhile
        exchange.fault("weight", used=6000)
        statuses = [(await http(exchange, "/api/v3/ping"))[0] for _ in range(8)]
        assert statuses == [429] * 6 + [418] * 2
    async with living(state_file=state) as exchange:
        status, headers, _ = await http(exchange, "/api/v3/ping")
        assert status == 418 and 100 < int(headers["Retry-After"]) <= 121


async def test_broken_answers_are_broken_and_slow_ones_slow() -> None:
    async with living() as exchange:
        for kind in ("truncated", "html", "empty"):
            exchange.fault("rest", path="depth", kind=kind)
            with pytest.raises(ValueError, match="Expecting|delimiter|Unterminated"):
                await http(exchange, "/api/v3/depth?symbol=BTCUSDT")
        exchange.fault("rest", path="depth", kind="slow", delay_s=0.5, symbol="ETHUSDT")
        began = asyncio.get_running_loop().time()
        await http(exchange, "/api/v3/depth?symbol=BTCUSDT")
        quick_s = asyncio.get_running_loop().time() - began
        await http(exchange, "/api/v3/depth?symbol=ETHUSDT")
        assert asyncio.get_running_loop().time() - began - quick_s >= 0.5


async def test_old_snapshots_are_of_the_moment_they_were_kept() -> None:
    async with living(speed=20.0) as exchange:
        _, _, kept = await http(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5")
        exchange.fault("old_snapshot", count=1)
        await asyncio.sleep(0.3)
        _, _, old = await http(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5")
        _, _, new = await http(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5")
        assert kept["lastUpdateId"] <= old["lastUpdateId"] < new["lastUpdateId"]


async def test_capped_snapshots_are_thin() -> None:
    async with living() as exchange:
        exchange.fault("depth_cap", levels=20)
        _, _, body = await http(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=1000")
        assert (len(body["bids"]), len(body["asks"])) == (20, 20)


async def test_unknown_words_appear_in_exchange_info() -> None:
    async with living() as exchange:
        exchange.fault("enums")
        _, _, info = await http(exchange, "/api/v3/exchangeInfo")
        assert {row["status"] for row in info["symbols"]} == {"TRADING", "SOMETHING_NEW", "CANCEL_ONLY"}
        assert "T_PLUS_SELL" in {one["filterType"] for one in info["symbols"][0]["filters"]}


async def test_trades_that_were_missed_can_be_asked_for_by_id() -> None:
    async with living(speed=10.0) as exchange, client(exchange, "/ws/btcusdt@aggTrade") as socket:
        seen = [json.loads(text) for text in await frames(socket, 6)]
        _, _, rows = await http(exchange, f"/api/v3/aggTrades?symbol=BTCUSDT&fromId={seen[1]['a']}&limit=4")
        assert [row["a"] for row in rows] == [trade["a"] for trade in seen[1:5]]
        assert {name: seen[1][name] for name in rows[0]} == rows[0]


# The market


def with_unlisted() -> ExchangeServer:
    compiled()
    return ExchangeServer(LivingVenue(SimulatedMarket(1, Market.SPOT, 3, START_NS), ["SOLUSDT"]), speed=4.0)


async def listed(exchange: ExchangeServer) -> dict[str, str]:
    _, _, info = await http(exchange, "/api/v3/exchangeInfo")
    return {row["symbol"]: row["status"] for row in info["symbols"]}


async def test_a_listing_appears_and_speaks_and_a_delisting_falls_silent() -> None:
    async with with_unlisted() as exchange, client(exchange, "/ws/solusdt@bookTicker") as socket:
        assert "SOLUSDT" not in await listed(exchange)
        assert await silence(socket, 0.4)
        assert exchange.fault("enlist") == {"listed": "SOLUSDT"}
        assert '"s":"SOLUSDT"' in (await frames(socket, 1))[0]
        exchange.fault("delist", symbol="SOLUSDT")
        while not await silence(socket, 0.4):
            pass
        assert (await http(exchange, "/api/v3/depth?symbol=SOLUSDT"))[0] == 400


async def test_a_halted_symbol_is_listed_and_silent_until_it_trades_again() -> None:
    async with living(speed=4.0) as exchange, client(exchange, "/ws/btcusdt@bookTicker") as socket:
        exchange.fault("status", symbol="BTCUSDT", status="CANCEL_ONLY")
        assert (await listed(exchange))["BTCUSDT"] == "CANCEL_ONLY"
        while not await silence(socket, 0.4):
            pass
        exchange.fault("status", symbol="BTCUSDT", status="TRADING")
        assert await frames(socket, 2)


async def test_a_renamed_symbol_speaks_under_its_new_name_only() -> None:
    streams = "/stream?streams=ethusdt@depth@100ms/lunausdt@depth@100ms"
    async with living(speed=4.0) as exchange, client(exchange, streams) as socket:
        await frames(socket, 2)
        exchange.fault("rename", symbol="ETHUSDT", new="LUNAUSDT")
        await frames(socket, 10)
        assert {data["s"] for data in await texts(socket, 5)} == {"LUNAUSDT"}
        assert list(await listed(exchange)) == ["BTCUSDT", "LUNAUSDT", "SOLUSDT"]
        assert exchange.venue.oracle_book("LUNAUSDT") is not None


async def test_a_schedule_makes_its_faults_by_itself_at_the_exchange_s_time() -> None:
    plan = [PlannedFault(1.0, "status", {"symbol": "ETHUSDT", "status": "HALT"}), PlannedFault(3.0, "heal", {})]
    async with living(speed=10.0, schedule=plan) as exchange:
        async with asyncio.timeout(10):
            while len(exchange.happened) < 2:
                await asyncio.sleep(0.01)
        assert [name for _, name, _ in exchange.happened] == ["status", "heal"]
        assert 0 <= (exchange.happened[0][0] - START_NS) / 1e9 - 1.0 < 1.0


async def test_the_ledger_accounts_for_every_id_that_was_lost() -> None:
    stream = "btcusdt@depth@100ms"
    async with living(speed=4.0) as exchange, client(exchange, DEPTH) as socket:
        before = await texts(socket, 3)
        exchange.fault("drop", stream=stream, count=2)
        diffs = before + await texts(socket, 12)
        exchange.pause()
        _, _, row = await http(exchange, f"/sim/ledger?stream={stream}")
        gaps = [[a["u"] + 1, b["U"] - 1] for a, b in zip(diffs, diffs[1:], strict=False) if b["U"] > a["u"] + 1]
        assert len(gaps) == 1 and gaps[0] in row["unsent"]
        assert row["messages"] >= 15


async def test_the_301st_connect_is_refused() -> None:
    async with living() as exchange:
        exchange.rest_desk.penalties.connects = tuple([exchange.venue.now_ns] * 300)
        with pytest.raises(InvalidStatus) as refused:
            async with client(exchange, "/ws"):
                pass
        assert refused.value.response.status_code == 429


async def test_with_a_certificate_the_exchange_speaks_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with living(tls=ours) as exchange:
        async with connect(f"{exchange.stream_url}/ws/btcusdt@bookTicker", ssl=trusting, proxy=None) as socket:
            assert await socket.recv()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(f"{exchange.stream_url}/ws", proxy=None):
                pass
