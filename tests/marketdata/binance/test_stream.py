import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from marketdata.binance.stream import StreamPool
from marketdata.events import Market
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.tape import tape_frames
from tests.marketdata.simulator.stage import START_NS, living, playing, until

DATA = '{"stream":"a@aggTrade","data":{"n":%d}}'
AGG_TRADE = '{"stream":"a@aggTrade","data":{"e":"aggTrade","a":%d}}'


class Ear:
    """Collects what a pool hands over."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.times: list[int] = []
        self.lost: list[list[str]] = []
        self.log: list[str] = []

    def on_frame(self, recv_ns: int, frame: bytes) -> None:
        self.frames.append(frame)
        self.times.append(recv_ns)
        self.log.append("frame")

    def on_disconnect(self, streams: list[str]) -> None:
        self.lost.append(streams)
        self.log.append("lost")

    @property
    def streams(self) -> set[str]:
        return {json.loads(frame)["stream"] for frame in self.frames}


def pool_for(url: str, ear: Ear, streams: list[str], market: Market = Market.SPOT, **options: Any) -> StreamPool:
    calls = {"on_frame": ear.on_frame, "on_disconnect": ear.on_disconnect, "draw": lambda: 0.1}
    return StreamPool(url, market, streams, **(calls | options))


@asynccontextmanager
async def running(pool: StreamPool) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(pool.run())
    try:
        yield task
    finally:
        await pool.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 5)


@asynccontextmanager
async def scripted(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """A websocket server whose whole behaviour is `handler`."""
    async with serve(handler, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


STREAMS = [
    f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("depth@100ms", "aggTrade", "bookTicker")
]


@pytest.mark.parametrize("market", list(Market))
async def test_every_stream_arrives_on_its_route_and_no_acknowledgement_does(market: Market) -> None:
    ear = Ear()
    async with (
        living(market, speed=5.0) as exchange,
        running(pool_for(exchange.stream_url, ear, STREAMS, market)) as task,
    ):
        await until(lambda: len(ear.frames) > 100 and ear.streams == set(STREAMS))
        assert not task.done()
    assert all(frame.startswith(b'{"stream":"') for frame in ear.frames)
    assert ear.lost == []


async def test_frames_arrive_byte_for_byte_and_in_order() -> None:
    lines = list(capture_lines(SimulatedMarket(3, Market.SPOT, 3, START_NS), 8.0))
    ear = Ear()
    async with playing(lines, Market.SPOT) as exchange:
        pool = pool_for(exchange.stream_url, ear, sorted(exchange.venue.survey.streams), ends_with="capture over")
        await asyncio.wait_for(pool.run(), 10)
    assert ear.frames == [frame.frame for frame in tape_frames(lines) if not frame.generated]
    assert len(ear.lost) == 1
    assert ear.log[-1] == "lost"


async def test_receive_times_never_decrease_even_if_the_clock_does() -> None:
    ear, ticks = Ear(), count()
    clock = lambda: 1_000_000 + (next(ticks) * 7919) % 1000  # noqa: E731
    async with (
        living(Market.USDM, speed=5.0) as exchange,
        running(pool_for(exchange.stream_url, ear, STREAMS, Market.USDM, clock_ns=clock)),
    ):
        await until(lambda: len(ear.frames) > 200)
    assert ear.times == sorted(ear.times)
    assert len(set(ear.times)) > 1


@pytest.mark.parametrize("code", [1000, 1001, 1006])
async def test_after_a_cut_the_lost_streams_are_reported_and_come_back(code: int) -> None:
    ear = Ear()
    async with living(speed=3.0) as exchange, running(pool_for(exchange.stream_url, ear, STREAMS)) as task:
        await until(lambda: len(ear.frames) > 20)
        loop = asyncio.get_running_loop()
        cut_s = loop.time()
        exchange.cut(code)
        await until(lambda: ear.lost != [])
        assert loop.time() - cut_s < 0.5, "promise P1: stale within half a second"
        heard = len(ear.frames)
        await until(lambda: len(ear.frames) > heard + 50)
        assert loop.time() - cut_s < 3.0
        assert not task.done()
    assert ear.lost == [STREAMS]


async def test_only_the_cut_connection_of_several_is_reported() -> None:
    ear = Ear()
    async with (
        living(speed=3.0) as exchange,
        running(pool_for(exchange.stream_url, ear, STREAMS, cap_per_connection=3)) as _,
    ):
        await until(lambda: ear.streams == set(STREAMS))
        assert exchange.cut(1006, "ETHUSDT") == 1
        await until(lambda: ear.lost != [])
        heard = len(ear.frames)
        await until(lambda: {json.loads(f)["stream"] for f in ear.frames[heard:]} == set(STREAMS))
    assert ear.lost == [STREAMS[3:]]


async def test_a_loss_is_told_before_the_first_frame_of_the_next_connection() -> None:
    ear = Ear()

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        for number in range(3):
            await connection.send(DATA % number)
        connection.transport.abort()

    async with scripted(handler) as url, running(pool_for(url, ear, ["a@aggTrade"])):
        await until(lambda: len(ear.frames) >= 9)
    told = "".join("F" if entry == "frame" else "L" for entry in ear.log)
    assert told.startswith("FFFLFFFLFFF")


async def test_an_exchange_that_is_not_there_is_tried_again_and_again() -> None:
    ear = Ear()
    async with living() as exchange:
        url = exchange.stream_url
    pool = pool_for(url, ear, STREAMS, draw=lambda: 0.02)
    async with running(pool) as task:
        await until(lambda: pool.statistics["failed_connects"] >= 5)
        assert not task.done()
        port = int(url.rpartition(":")[2])
        async with living(port=port, speed=3.0):
            await until(lambda: len(ear.frames) > 10, 10)
    assert ear.lost in ([], [STREAMS])


async def test_subscriptions_are_batched_and_paced() -> None:
    requests: list[tuple[float, dict[str, Any]]] = []

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            request = json.loads(message)
            requests.append((asyncio.get_running_loop().time(), request))
            await connection.send(json.dumps({"result": None, "id": request["id"]}))

    streams = [f"s{n}@aggTrade" for n in range(1000)]
    async with scripted(handler) as url:
        pool = pool_for(url, Ear(), streams, cap_per_connection=1024)
        async with running(pool):
            await until(lambda: pool.statistics["acknowledged"] == 5)
    assert [len(request["params"]) for _, request in requests] == [200] * 5
    assert [name for _, request in requests for name in request["params"]] == streams
    assert len({request["id"] for _, request in requests}) == 5
    times = [moment for moment, _ in requests]
    assert times[3] - times[0] >= 0.95, "never four in a second"


async def test_streams_without_a_first_frame_stay_pending(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    async with living(speed=3.0) as exchange:
        pool = pool_for(exchange.stream_url, ear, ["btcusdt@bookTicker", "BTCUSDT@aggTrade"], first_frame_s=0.4)
        async with running(pool):
            await until(lambda: list(pool.pending()) == ["BTCUSDT@aggTrade"])
            await until(lambda: "no frame yet from 1 streams, such as BTCUSDT@aggTrade" in caplog.text)
    assert ear.streams == {"btcusdt@bookTicker"}


async def test_a_silent_connection_is_replaced() -> None:
    ear = Ear()
    async with living(speed=3.0) as exchange:
        pool = pool_for(exchange.stream_url, ear, ["btcusdt@bookTicker"], silence_s=0.5)
        async with running(pool):
            await until(lambda: len(ear.frames) > 5)
            exchange.faults.stall()
            await until(lambda: pool.statistics["silent"] == 2)
            exchange.faults.heal()
            heard = len(ear.frames)
            await until(lambda: len(ear.frames) > heard + 5)
    assert ear.lost == [["btcusdt@bookTicker"]], "lost once: what is still lost is not told again"


@pytest.mark.parametrize(
    "notice",
    [
        '{"e":"serverShutdown","E":1770000000000}',
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770000000000}}',
    ],
)
async def test_a_shutdown_notice_moves_the_streams_to_another_connection(notice: str) -> None:
    ear, connections = Ear(), count()

    async def handler(connection: ServerConnection) -> None:
        number = next(connections)
        opened.append(number)
        await connection.recv()
        if number == 0:
            await connection.send(notice)
        with suppress(ConnectionClosed):
            while True:  # what happens on the exchange is told to everybody
                await connection.send(AGG_TRADE % (int(loop.time() * 200) - began))
                await asyncio.sleep(0.005)
        gone.append(number)

    loop = asyncio.get_running_loop()
    began = int(loop.time() * 200)
    opened: list[int] = []
    gone: list[int] = []
    async with scripted(handler) as url:
        pool = pool_for(url, ear, ["a@aggTrade"])
        async with running(pool):
            await until(lambda: gone == [0])
            heard = len(ear.frames)
            await until(lambda: len(ear.frames) > heard + 20)
    assert (pool.statistics["server_shutdowns"], pool.statistics["rotations"]) == (1, 1)
    assert opened == [0, 1] and ear.lost == []
    ids = [json.loads(frame)["data"]["a"] for frame in ear.frames]
    assert ids == sorted(set(ids)), "each trade once and in order"


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        ('{"error":{"code":2,"msg":"Invalid request"},"id":1}', "refusals"),
        ('{"code":4,"msg":"Too many streams","id":1}', "refusals"),
        ("not json", "unreadable"),
        ("[1,2]", "unreadable"),
        ('{"hello":1}', "unreadable"),
        ('{"result":null,"id":1}', "acknowledged"),
    ],
)
async def test_what_is_no_data_is_counted_and_not_passed_on(frame: str, counter: str) -> None:
    ear = Ear()

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(frame)
        await connection.send(DATA % 1)
        await connection.wait_closed()

    async with scripted(handler) as url:
        pool = pool_for(url, ear, ["a@aggTrade"])
        async with running(pool):
            await until(lambda: len(ear.frames) == 1)
    assert pool.statistics[counter] == 1
    assert ear.frames == [(DATA % 1).encode()]


async def test_a_message_in_fragments_is_put_together() -> None:
    ear = Ear()

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send([(DATA % 1)[:9], (DATA % 1)[9:20], (DATA % 1)[20:]])
        await connection.send(DATA % 2)
        await connection.wait_closed()

    async with scripted(handler) as url, running(pool_for(url, ear, ["a@aggTrade"])):
        await until(lambda: len(ear.frames) == 2)
    assert ear.frames == [(DATA % 1).encode(), (DATA % 2).encode()]


async def test_a_message_beyond_four_megabytes_ends_the_connection_not_the_pool() -> None:
    ear, connections = Ear(), count()

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("x" * ((4 << 20) + 1) if next(connections) == 0 else DATA % 1)
        await connection.wait_closed()

    async with scripted(handler) as url, running(pool_for(url, ear, ["a@aggTrade"])):
        await until(lambda: len(ear.frames) == 1)
    assert ear.lost == [["a@aggTrade"]]


async def test_an_error_of_the_consumer_ends_the_run_with_that_error() -> None:
    def on_frame(recv_ns: int, frame: bytes) -> None:
        raise RuntimeError("the disk is full")

    async with living(speed=3.0) as exchange:
        pool = pool_for(exchange.stream_url, Ear(), STREAMS, Market.SPOT, on_frame=on_frame)
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(pool.run(), 5)
    assert raised.group_contains(RuntimeError, match="the disk is full")


async def test_stopping_hangs_up_and_reports_no_loss() -> None:
    ear = Ear()
    async with living(speed=3.0) as exchange:
        pool = pool_for(exchange.stream_url, ear, STREAMS)
        task = asyncio.create_task(pool.run())
        await until(lambda: len(ear.frames) > 10 and pool.connected == 1)
        await pool.stop()
        await asyncio.wait_for(task, 3)
        await until(lambda: exchange.state()["clients"] == 0)
    assert ear.lost == []


async def test_cancelling_the_run_hangs_up_and_reports_no_loss() -> None:
    ear = Ear()
    async with living(speed=3.0) as exchange:
        task = asyncio.create_task(pool_for(exchange.stream_url, ear, STREAMS).run())
        await until(lambda: len(ear.frames) > 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: exchange.state()["clients"] == 0)
    assert ear.lost == []


async def test_symbols_beyond_ascii_are_subscribed_to() -> None:
    ear = Ear()
    async with (
        living(symbols=20, speed=3.0) as exchange,
        running(pool_for(exchange.stream_url, ear, ["币安人生usdt@bookTicker"])),
    ):
        await until(lambda: len(ear.frames) > 3)
    assert ear.streams == {"币安人生usdt@bookTicker"}


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with ws"):
        pool_for("stream.binance.com", Ear(), ["a@aggTrade"])


@pytest.mark.parametrize("market", list(Market))
async def test_rotation_loses_no_frame_and_repeats_none(market: Market) -> None:
    """Promise P4: the new connection stands before the old one goes. Here a day lasts less than a second."""
    ear = Ear()
    async with living(market, speed=5.0) as exchange:
        pool = pool_for(exchange.stream_url, ear, STREAMS, market, life_s=0.8)
        async with running(pool):
            await until(lambda: pool.statistics["rotations"] >= 3)
    assert ear.lost == []
    for stream in STREAMS:
        data = [body["data"] for frame in ear.frames if (body := json.loads(frame))["stream"] == stream]
        if stream.endswith("depth@100ms"):
            before = [message["u"] for message in data]
            follows = [m["U"] - 1 if market is Market.SPOT else m["pu"] for m in data]
            assert before[:-1] == follows[1:]
        elif stream.endswith("aggTrade"):
            ids = [message["a"] for message in data]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
        else:
            ids = [message["u"] for message in data]
            assert ids == sorted(set(ids))


async def test_a_stream_that_went_silent_is_told_and_brought_back_by_another_connection() -> None:
    ear = Ear()
    streams = ["btcusdt@depth@100ms", "ethusdt@depth@100ms"]
    deaf: set[str] = set()

    async def handler(connection: ServerConnection) -> None:
        """The first connection stops delivering one stream after sixty frames, whatever is asked of it."""
        heard: set[str] = set()
        mine = len(connections)
        connections.append(mine)

        async def listen() -> None:
            async for message in connection:
                request = json.loads(message)
                change = heard.update if request["method"] == "SUBSCRIBE" else heard.difference_update
                change(request["params"])

        listening = asyncio.create_task(listen())
        with suppress(ConnectionClosed):
            for number in count(1):
                for stream in [name for name in streams if name in heard]:
                    if mine == 0 and number > 60 and stream.startswith("eth"):
                        deaf.add(stream)
                        continue
                    await connection.send(f'{{"stream":"{stream}","data":{{"U":{number},"u":{number}}}}}')
                await asyncio.sleep(0.02)
        await listening

    connections: list[int] = []
    async with scripted(handler) as url:
        pool = pool_for(url, ear, streams, stream_silence_s=0.5, first_frame_s=0.3)
        async with running(pool):
            await until(lambda: ear.lost != [])
            heard = len(ear.frames)
            assert list(pool.pending()) == ["ethusdt@depth@100ms"]
            await until(lambda: any(b"ethusdt" in frame for frame in ear.frames[heard:]))
            assert len(connections) == 2
    assert ear.lost == [["ethusdt@depth@100ms"]]
    assert deaf and pool.statistics["moved"] >= 1
