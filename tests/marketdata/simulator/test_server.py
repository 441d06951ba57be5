import asyncio
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from marketdata.events import Market
from tests.marketdata.simulator.plain_client import PlainBook
from tests.marketdata.simulator.stage import answer, ask, client, frames, http, living, silence, until

BOTH = pytest.mark.parametrize("market", list(Market))
DEPTH_PATH = {Market.SPOT: "/api/v3/depth", Market.USDM: "/fapi/v1/depth"}
PREFIX = {Market.SPOT: "/api/v3", Market.USDM: "/fapi/v1"}
PUBLIC = {Market.SPOT: "", Market.USDM: "/public"}


@BOTH
async def test_a_client_who_follows_the_rules_rebuilds_the_exchange_book(market: Market) -> None:
    """Over real sockets: diffs are buffered, the snapshot joins them, and the book equals the oracle's, id for id."""
    async with (
        living(market, speed=4.0) as exchange,
        client(exchange, f"{PUBLIC[market]}/stream?streams=ethusdt@depth@100ms/btcusdt@depth@100ms") as socket,
    ):
        books = {"BTCUSDT": PlainBook(market is Market.USDM), "ETHUSDT": PlainBook(market is Market.USDM)}
        for number in range(120):
            message = json.loads((await frames(socket, 1))[0])
            books[message["data"]["s"]].diff(message["data"])
            if number == 10:
                for symbol, book in books.items():
                    _, _, body = await http(exchange, f"{DEPTH_PATH[market]}?symbol={symbol}&limit=1000")
                    book.snapshot(body)
        exchange.pause()
        oracles = {symbol: exchange.venue.oracle_book(symbol) for symbol in books}
        while any(book.last_id < oracles[symbol].last_update_id for symbol, book in books.items()):
            message = json.loads((await frames(socket, 1))[0])
            books[message["data"]["s"]].diff(message["data"])
        for symbol, book in books.items():
            assert (book.synced, book.breaks) == (True, 0)
            assert (book.last_id, *book.top(50)) == (
                oracles[symbol].last_update_id,
                oracles[symbol].bids[:50],
                oracles[symbol].asks[:50],
            )


@BOTH
async def test_combined_and_raw_sockets_get_the_same_message_in_their_own_wrapping(market: Market) -> None:
    path = PUBLIC[market]
    async with (
        living(market) as exchange,
        client(exchange, f"{path}/ws/btcusdt@bookTicker") as raw,
        client(exchange, f"{path}/stream?streams=btcusdt@bookTicker") as combined,
    ):
        wrapped = [json.loads(text) for text in await frames(combined, 5)]
        plain = [json.loads(text) for text in await frames(raw, 8)]
        assert {message["stream"] for message in wrapped} == {"btcusdt@bookTicker"}
        assert all(set(message) == {"stream", "data"} for message in wrapped)
        assert [m["data"] for m in wrapped if m["data"] in plain]


async def test_subscribing_is_acknowledged_listed_and_taken_back() -> None:
    async with living() as exchange, client(exchange, "/ws") as socket:
        assert await ask(socket, "SUBSCRIBE", ["btcusdt@bookTicker", "ethusdt@aggTrade"], 7) == {
            "result": None,
            "id": 7,
        }
        assert '"u":' in (await frames(socket, 1))[0]
        listed = await ask(socket, "LIST_SUBSCRIPTIONS", None, "me")
        assert listed == {"result": ["btcusdt@bookTicker", "ethusdt@aggTrade"], "id": "me"}
        assert await ask(socket, "UNSUBSCRIBE", ["btcusdt@bookTicker", "ethusdt@aggTrade"], None) == {
            "result": None,
            "id": None,
        }
        assert await silence(socket, 0.5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 3),
        ("[1]", 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":"' + "x" * 37 + '"}', 2),
        ('{"method":"JUMP","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"a","id":1}', 2),
    ],
)
async def test_a_malformed_request_gets_an_error_and_the_socket_lives_on(text: str, code: int) -> None:
    async with living() as exchange, client(exchange, "/ws") as socket:
        await socket.send(text)
        refused = await answer(socket)
        assert refused["code"] == code and refused["msg"]
        assert (await ask(socket, "LIST_SUBSCRIPTIONS", None))["result"] == []


@pytest.mark.parametrize(
    ("market", "path", "streams"),
    [
        (Market.SPOT, "/stream", ["BTCUSDT@depth@100ms", "nosuchusdt@aggTrade", "btcusdt@depth@250ms"]),
        (Market.USDM, "/public/stream", ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "BTCUSDT@bookTicker"]),
        (Market.USDM, "/market/stream", ["btcusdt@depth@100ms", "btcusdt@bookTicker"]),
        (Market.USDM, "/stream", ["btcusdt@aggTrade"]),
        (Market.USDM, "/private/stream", ["btcusdt@aggTrade", "btcusdt@bookTicker"]),
    ],
)
async def test_wrong_route_wrong_case_and_unknown_streams_are_acknowledged_and_silent(
    market: Market, path: str, streams: list[str]
) -> None:
    async with living(market, speed=3.0) as exchange, client(exchange, path) as socket:
        assert await ask(socket, "SUBSCRIBE", streams, 1) == {"result": None, "id": 1}
        assert await silence(socket, 0.7)


async def test_futures_trades_and_mark_prices_come_on_the_market_route() -> None:
    async with (
        living(Market.USDM, speed=5.0) as exchange,
        client(exchange, "/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s") as socket,
    ):
        kinds = {json.loads(text)["data"]["e"] for text in await frames(socket, 40)}
        assert kinds == {"aggTrade", "markPriceUpdate"}


async def test_a_connection_without_a_route_carries_public_futures_data() -> None:
    async with living(Market.USDM) as exchange, client(exchange, "/ws/btcusdt@bookTicker") as socket:
        assert '"e":"bookTicker"' in (await frames(socket, 1))[0]


async def test_symbols_beyond_ascii_work_raw_and_percent_encoded() -> None:
    async with (
        living(symbols=20) as exchange,
        client(exchange, "/stream?streams=币安人生usdt@bookTicker") as encoded,
        client(exchange, "/stream") as raw,
    ):
        await ask(raw, "SUBSCRIBE", ["币安人生usdt@bookTicker"])
        for socket in (encoded, raw):
            message = json.loads((await frames(socket, 1))[0])
            assert (message["stream"], message["data"]["s"]) == ("币安人生usdt@bookTicker", "币安人生USDT")
        status, _, body = await http(exchange, "/api/v3/depth?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=5")
        assert (status, len(body["bids"])) == (200, 5)


async def test_the_1025th_stream_ends_the_connection() -> None:
    async with living() as exchange, client(exchange, "/stream") as socket:
        await ask(socket, "SUBSCRIBE", [f"s{n}@aggTrade" for n in range(1024)], 1)
        assert (await ask(socket, "SUBSCRIBE", ["one@aggTrade"], 2))["code"] == 4
        await asyncio.wait_for(socket.wait_closed(), 3)
        assert socket.close_code == 1008


@pytest.mark.parametrize(("market", "allowed"), [(Market.SPOT, 5), (Market.USDM, 10)])
async def test_one_message_a_second_too_many_ends_the_connection(market: Market, allowed: int) -> None:
    async with living(market) as exchange, client(exchange, "/ws") as socket:
        for number in range(allowed):
            await ask(socket, "LIST_SUBSCRIPTIONS", None, number)
        assert socket.close_code is None
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":99}')
        await asyncio.wait_for(socket.wait_closed(), 3)
        assert socket.close_code == 1008


async def test_pings_count_as_messages() -> None:
    async with living() as exchange, client(exchange, "/ws") as socket:
        for _ in range(6):
            await socket.ping()
        await asyncio.wait_for(socket.wait_closed(), 3)
        assert socket.close_code == 1008


async def test_five_messages_each_second_are_welcome_for_ever() -> None:
    async with living() as exchange, client(exchange, "/ws") as socket:
        for number in range(7):
            await ask(socket, "LIST_SUBSCRIPTIONS", None, number)
            await asyncio.sleep(0.21)
        assert socket.close_code is None


async def test_a_connection_is_ended_when_its_day_is_over() -> None:
    async with living(lifetime_s=0.3) as exchange, client(exchange, "/ws/btcusdt@bookTicker") as socket:
        async with asyncio.timeout(3):
            await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (1001, "24 hours are over")


async def test_an_unknown_path_is_not_a_websocket() -> None:
    async with living() as exchange:
        with pytest.raises(InvalidStatus) as refused:
            async with client(exchange, "/public/stream"):
                pass
        assert refused.value.response.status_code == 404


# REST


@BOTH
async def test_rest_serves_what_a_client_needs(market: Market) -> None:
    async with living(market) as exchange:
        assert (await http(exchange, f"{PREFIX[market]}/ping"))[2] == {}
        _, _, clock = await http(exchange, f"{PREFIX[market]}/time")
        assert abs(clock["serverTime"] - exchange.venue.now_ns // 1_000_000) < 2000
        _, _, info = await http(exchange, f"{PREFIX[market]}/exchangeInfo")
        assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
        _, _, book = await http(exchange, f"{PREFIX[market]}/depth?symbol=BTCUSDT&limit=5")
        assert (len(book["bids"]), len(book["asks"])) == (5, 5)
        assert ("E" in book) == (market is Market.USDM)


async def test_rest_of_the_other_market_is_not_served() -> None:
    async with living(Market.SPOT) as exchange:
        assert (await http(exchange, "/fapi/v1/ping"))[0] == 404
        assert (await http(exchange, "/api/v3/premiumIndex"))[0] == 404
    async with living(Market.USDM) as exchange:
        assert (await http(exchange, "/api/v3/ping"))[0] == 404


async def test_premium_index_answers_for_one_and_for_all() -> None:
    async with living(Market.USDM) as exchange:
        _, _, one = await http(exchange, "/fapi/v1/premiumIndex?symbol=ETHUSDT")
        assert one["symbol"] == "ETHUSDT" and 3000 < float(one["markPrice"]) < 4000
        _, _, everyone = await http(exchange, "/fapi/v1/premiumIndex")
        assert len(everyone) == 3


@pytest.mark.parametrize(
    ("market", "query", "code"),
    [
        (Market.SPOT, "", -1102),
        (Market.SPOT, "?symbol=NOPEUSDT", -1121),
        (Market.SPOT, "?symbol=BTCUSDT&limit=many", -1100),
        (Market.USDM, "?symbol=BTCUSDT&limit=7", -4021),
    ],
)
async def test_a_wrong_depth_request_is_refused_by_its_code(market: Market, query: str, code: int) -> None:
    async with living(market) as exchange:
        status, _, body = await http(exchange, f"{DEPTH_PATH[market]}{query}")
        assert (status, body["code"]) == (400, code)


async def test_weight_is_counted_and_too_much_of_it_is_refused() -> None:
    async with living(Market.SPOT) as exchange:
        exchange.pause()  # so that no minute ends meanwhile
        _, headers, _ = await http(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
        assert headers["X-MBX-USED-WEIGHT-1M"] == "250"
        _, headers, _ = await http(exchange, "/api/v3/exchangeInfo")
        assert headers["X-MBX-USED-WEIGHT-1M"] == "270"
        exchange.rest_desk.used_weight = 5990
        assert (await http(exchange, "/api/v3/ping"))[0] == 200
        status, headers, body = await http(exchange, "/api/v3/exchangeInfo")
        assert (status, body["code"]) == (429, -1003)
        assert 1 <= int(headers["Retry-After"]) <= 60


# Ground truth and faults


async def test_the_ground_truth_can_be_asked_for() -> None:
    async with living(speed=200.0, symbols=4) as exchange:
        await until(lambda: len(exchange.venue.surges) > 5, 10)
        _, _, surges = await http(exchange, "/sim/surges")
        assert {"symbol", "start_ns", "ramp_ns", "peak_ns", "end_ns", "gain_bps", "kind"} == set(surges[0])
        exchange.pause()
        _, _, book = await http(exchange, "/sim/book?symbol=BTCUSDT")
        oracle = exchange.venue.oracle_book("BTCUSDT")
        assert oracle is not None
        assert (book["last_update_id"], book["bids"][0]) == (oracle.last_update_id, list(oracle.bids[0]))


@pytest.mark.parametrize(("path", "status"), [("/sim/nothing", 404), ("/sim/book", 400), ("/sim/cut?code=x", 400)])
async def test_a_wrong_command_is_refused(path: str, status: int) -> None:
    async with living() as exchange:
        assert (await http(exchange, path))[0] == status


async def test_a_dropped_diff_leaves_a_gap_of_exactly_its_ids() -> None:
    async with living(speed=4.0) as exchange, client(exchange, "/ws/btcusdt@depth@100ms") as socket:
        before = json.loads((await frames(socket, 3))[-1])
        assert (await http(exchange, "/sim/drop?stream=btcusdt@depth@100ms&count=2"))[0] == 200
        diffs = [before] + [json.loads(text) for text in await frames(socket, 12)]
        gaps = [later["U"] - earlier["u"] - 1 for earlier, later in zip(diffs, diffs[1:], strict=False)]
        assert sum(gap > 0 for gap in gaps) == 1
        assert exchange.faults.dropped == {"btcusdt@depth@100ms": 2}


async def test_a_stalled_stream_is_silent_while_the_others_speak() -> None:
    path = "/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker"
    async with living(speed=4.0) as exchange, client(exchange, path) as socket:
        await frames(socket, 4)
        await http(exchange, "/sim/stall?stream=btcusdt@bookTicker")
        await frames(socket, 5)
        heard = {json.loads(text)["data"]["s"] for text in await frames(socket, 15)}
        assert heard == {"ETHUSDT"}
        await http(exchange, "/sim/heal")
        heard = {json.loads(text)["data"]["s"] for text in await frames(socket, 60)}
        assert heard == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("code", [1000, 1001, 1006])
async def test_a_cut_ends_the_connection_by_its_code(code: int) -> None:
    async with living() as exchange, client(exchange, "/ws/btcusdt@bookTicker") as socket:
        await frames(socket, 1)
        assert (await http(exchange, f"/sim/cut?code={code}"))[2] == {"cut": 1}
        with pytest.raises(ConnectionClosed):
            await frames(socket, 1000)
        assert socket.close_code == code


async def test_a_cut_can_choose_the_clients_of_one_symbol() -> None:
    async with (
        living() as exchange,
        client(exchange, "/ws/btcusdt@bookTicker") as bitcoin,
        client(exchange, "/ws/ethusdt@bookTicker") as ether,
    ):
        await frames(bitcoin, 1)
        assert exchange.cut(1001, "BTCUSDT") == 1
        await asyncio.wait_for(bitcoin.wait_closed(), 3)
        assert await frames(ether, 5)


async def test_a_paused_exchange_says_nothing_and_goes_on_where_it_stopped() -> None:
    async with living() as exchange, client(exchange, "/ws/btcusdt@depth@100ms") as socket:
        last: dict[str, Any] = json.loads((await frames(socket, 3))[-1])
        await http(exchange, "/sim/pause")
        while not await silence(socket, 0.4):
            pass
        stopped_ns = exchange.venue.now_ns
        await asyncio.sleep(0.2)
        assert exchange.venue.now_ns == stopped_ns
        await http(exchange, "/sim/resume")
        assert json.loads((await frames(socket, 1))[0])["U"] > last["u"]
