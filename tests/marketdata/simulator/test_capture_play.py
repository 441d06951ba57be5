"""A capture served as if it were the exchange: every frame byte for byte, books that join, and a clear end."""

import asyncio
import json
import socket
from collections import Counter
from pathlib import Path

import pytest

from marketdata.events import Market
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.tape import TapeError, split_symbol, survey, tape_frames
from tests.marketdata.simulator.plain_client import PlainBook
from tests.marketdata.simulator.stage import START_NS, capture, client, frames, http, playing, until

BOTH = pytest.mark.parametrize("market", list(Market))
ROUTES = {Market.SPOT: ("",), Market.USDM: ("/public", "/market")}
DEPTH_PATH = {Market.SPOT: "/api/v3/depth", Market.USDM: "/fapi/v1/depth"}


def recording(market: Market, seconds: float = 3.0, symbols: int = 3) -> list[bytes]:
    return list(capture_lines(SimulatedMarket(3, market, symbols, START_NS), seconds, first_snapshot_s=0.5))


def payloads(lines: list[bytes]) -> list[bytes]:
    return [frame.frame for frame in tape_frames(lines) if not frame.generated]


async def play_out(exchange, streams: list[str], market: Market) -> tuple[list[bytes], set[tuple[int | None, str]]]:
    """Subscribe on every route, read to the end: (all frames, how the sockets were closed)."""
    received: list[bytes] = []
    ends = set()

    async def listen(route: str) -> None:
        async with client(exchange, f"{route}/stream?streams={'/'.join(streams)}") as socket:
            async for message in socket:
                received.append(str(message).encode())
            ends.add((socket.close_code, socket.close_reason))

    await asyncio.gather(*(listen(route) for route in ROUTES[market]))
    return received, ends


@BOTH
async def test_every_frame_is_delivered_byte_for_byte_and_in_order(market: Market) -> None:
    lines = recording(market)
    async with playing(lines, market) as exchange:
        received, ends = await play_out(exchange, sorted(exchange.venue.survey.streams), market)
        await exchange.wait_over()
    wanted = payloads(lines)
    assert Counter(received) == Counter(wanted)
    if market is Market.SPOT:
        assert received == wanted
    assert ends == {(1000, "capture over")}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "market"),
    [("spot_3symbols_2021-04-04_91s.txt.gz", Market.SPOT), ("usdm_5symbols_2021-04-05_119s.txt.gz", Market.USDM)],
)
async def test_a_real_capture_is_delivered_whole(shared_data: Path, name: str, market: Market) -> None:
    lines = capture(shared_data / "captures" / name)
    async with playing(lines, market) as exchange:
        received, _ = await play_out(exchange, sorted(exchange.venue.survey.streams), market)
        await exchange.wait_over()
        assert exchange.switchboard.unheard == 0
    assert Counter(received) == Counter(payloads(lines))


async def test_a_raw_socket_gets_the_inside_of_the_frame() -> None:
    lines = recording(Market.SPOT, 2.0, 1)
    async with playing(lines, Market.SPOT) as exchange, client(exchange, "/ws/btcusdt@bookTicker") as socket:
        received = [str(message).encode() async for message in socket]
    head = b'{"stream":"btcusdt@bookTicker","data":'
    assert received == [frame[len(head) : -1] for frame in payloads(lines) if frame.startswith(head)]


async def test_a_client_that_reads_slowly_loses_nothing() -> None:
    lines = recording(Market.SPOT, 20.0)
    async with playing(lines, Market.SPOT) as exchange:
        streams = "/".join(sorted(exchange.venue.survey.streams))
        async with client(exchange, f"/stream?streams={streams}") as socket:
            await asyncio.sleep(0.5)
            received = []
            async for message in socket:
                received.append(str(message).encode())
                if len(received) % 100 == 0:
                    await asyncio.sleep(0.005)
    assert received == payloads(lines)


async def test_a_client_that_does_not_read_stops_the_tape_instead_of_filling_memory() -> None:
    lines = recording(Market.SPOT, 90.0, 20)
    async with playing(lines, Market.SPOT) as exchange:
        streams = sorted(exchange.venue.survey.streams)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", int(exchange.rest_url.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
        writer.write(
            b"GET /stream HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        request = json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1}).encode()
        writer.write(b"\x81\xfe" + len(request).to_bytes(2, "big") + b"\0\0\0\0" + request)  # a mask of zeros
        sent = exchange.switchboard.sent
        await until(lambda: sent.total() > 0)
        before = -1
        while sent.total() > before:
            before = sent.total()
            await asyncio.sleep(0.3)
        assert before < exchange.venue.survey.frames
        assert not exchange.finished.is_set()
        writer.close()
        await writer.wait_closed()


async def test_a_capture_waits_for_its_first_subscriber() -> None:
    lines = recording(Market.SPOT, 1.0, 1)
    async with playing(lines, Market.SPOT, settle_s=0.0) as exchange, client(exchange, "/stream") as socket:
        await asyncio.sleep(0.3)
        assert not exchange.switchboard.sent and exchange.switchboard.unheard == 0
        await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@bookTicker"],"id":1}')
        assert len(await frames(socket, 5)) == 5


async def test_a_capture_starts_when_the_last_of_its_streams_has_a_subscriber() -> None:
    lines = recording(Market.SPOT, 1.0, 1)
    async with (
        playing(lines, Market.SPOT, settle_s=30.0) as exchange,
        client(exchange, "/stream?streams=btcusdt@bookTicker/btcusdt@depth@100ms") as first,
        client(exchange, "/stream?streams=btcusdt@aggTrade") as second,
    ):
        early, late = [str(m).encode() async for m in first], [str(m).encode() async for m in second]
    assert Counter(early + late) == Counter(payloads(lines))


async def test_original_pacing_takes_the_time_of_the_recording() -> None:
    lines = recording(Market.SPOT, 1.5, 2)
    loop = asyncio.get_running_loop()
    async with (
        playing(lines, Market.SPOT, speed=2.0, settle_s=0.0) as exchange,
        client(exchange, "/stream?streams=btcusdt@bookTicker") as socket,
    ):
        began = loop.time()
        async for _ in socket:
            pass
        assert 0.6 < loop.time() - began < 1.5


@BOTH
async def test_depth_is_refused_until_the_book_stands_and_then_joins_the_diffs(market: Market) -> None:
    """The client's book after the play equals a plain client's who read the capture itself."""
    lines = recording(market, 4.0, 2)
    truth = {"BTCUSDT": PlainBook(market is Market.USDM), "ETHUSDT": PlainBook(market is Market.USDM)}
    for frame in tape_frames(lines):
        if "@depthSnapshot" in frame.stream:
            truth[frame.symbol].snapshot(json.loads(frame.data))
        elif "@depth" in frame.stream:
            truth[frame.symbol].diff(json.loads(frame.data))
    books = {symbol: PlainBook(market is Market.USDM) for symbol in truth}
    refusals = 0

    async with playing(lines, market, snapshot_hold_s=5.0) as exchange:

        async def fetch(symbol: str) -> None:
            nonlocal refusals
            path = f"{DEPTH_PATH[market]}?symbol={symbol}&limit=1000"
            status, headers, body = await http(exchange, path)
            while status == 503:
                refusals += 1
                assert headers["Retry-After"] == "1"
                await asyncio.sleep(0.05)
                status, headers, body = await http(exchange, path)
            books[symbol].snapshot(body)

        async with client(
            exchange, f"{ROUTES[market][0]}/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms"
        ) as socket:
            fetches = [asyncio.create_task(fetch(symbol)) for symbol in books]
            async for message in socket:
                data = json.loads(message)["data"]
                books[data["s"]].diff(data)
            await asyncio.gather(*fetches)
    assert refusals >= 2
    for symbol, book in books.items():
        assert (book.synced, book.breaks, book.last_id) == (True, 0, truth[symbol].last_id)
        assert book.top(200) == truth[symbol].top(200)


@pytest.mark.realdata
async def test_the_book_of_a_real_capture_is_served_at_its_end(shared_data: Path) -> None:
    lines = capture(shared_data / "captures" / "usdm_5symbols_2021-04-05_119s.txt.gz")
    truth = PlainBook(True)
    for frame in tape_frames(lines):
        if frame.stream == "neousdt@depthSnapshot":
            truth.snapshot(json.loads(frame.data))
        elif frame.stream == "neousdt@depth@100ms":
            truth.diff(json.loads(frame.data))
    async with playing(lines, Market.USDM) as exchange, client(exchange, "/market/ws/neousdt@aggTrade") as socket:
        async for _ in socket:
            pass
        _, _, body = await http(exchange, "/fapi/v1/depth?symbol=NEOUSDT&limit=500")
        _, _, oracle = await http(exchange, "/sim/book?symbol=NEOUSDT")
    assert (truth.synced, truth.breaks) == (True, 0)
    assert body["lastUpdateId"] == oracle["last_update_id"] == truth.last_id
    assert [[tuple(level) for level in body[side]] for side in ("bids", "asks")] == list(truth.top(500))


@pytest.mark.realdata
async def test_a_real_capture_lists_its_symbols_with_their_steps(shared_data: Path) -> None:
    lines = capture(shared_data / "captures" / "usdm_5symbols_2021-04-05_119s.txt.gz")
    async with playing(lines, Market.USDM) as exchange:
        _, _, info = await http(exchange, "/fapi/v1/exchangeInfo")
    steps = {
        row["symbol"]: (row["baseAsset"], row["filters"][0]["tickSize"], row["filters"][1]["stepSize"])
        for row in info["symbols"]
    }
    assert steps == {
        "SANDUSDT": ("SAND", "0.00001", "1"),
        "CHRUSDT": ("CHR", "0.0001", "1"),
        "NEOUSDT": ("NEO", "0.001", "0.01"),
        "CTKUSDT": ("CTK", "0.00001", "1"),
        "BATUSDT": ("BAT", "0.0001", "0.1"),
    }


async def test_a_pause_stops_the_tape() -> None:
    lines = recording(Market.SPOT, 3.0, 1)
    async with (
        playing(lines, Market.SPOT, speed=3.0, settle_s=0.0) as exchange,
        client(exchange, "/stream?streams=btcusdt@bookTicker") as socket,
    ):
        await frames(socket, 3)
        exchange.pause()
        await asyncio.sleep(0.1)
        sent = exchange.switchboard.sent.total()
        await asyncio.sleep(0.5)
        assert exchange.switchboard.sent.total() == sent
        exchange.resume()
        await until(lambda: exchange.switchboard.sent.total() > sent)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([b"not a capture\n"], "line 1 is no capture line"),
        ([b"\xff\xfe\x00\n"], "line 1 is no capture line"),
        ([b'12 {"stream":"a@b","data":{}}\n', b"12 {\n"], "line 2 is no capture line"),
        ([], "no market data"),
        ([b'12 {"stream":"!tick","generated":true,"data":{}}\n'], "no market data"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_sentence(lines: list[bytes], problem: str) -> None:
    with pytest.raises(TapeError, match=problem):
        survey(lines, Market.SPOT)


def test_a_capture_of_the_other_market_is_refused() -> None:
    with pytest.raises(TapeError, match="recorded on usdm, not on spot: start with --market usdm"):
        survey(recording(Market.USDM, 1.0, 1), Market.SPOT)


@pytest.mark.parametrize(
    ("symbol", "parts"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("ETHBTC", ("ETH", "BTC")),
        ("币安人生USDT", ("币安人生", "USDT")),
        ("BTCUSDT_260626", ("BTC", "USDT")),
        ("USDCUSDT", ("USDC", "USDT")),
    ],
)
def test_a_symbol_is_split_at_its_quote(symbol: str, parts: tuple[str, str]) -> None:
    assert split_symbol(symbol) == parts
