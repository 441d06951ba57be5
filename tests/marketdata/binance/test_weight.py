import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from marketdata.binance.rest import HttpError, OverBudgetError, RateLimitError, RestClient
from marketdata.binance.weight import SharedWeight
from marketdata.binance.weight_budget import WeightBudget, request_weight
from marketdata.events import Market
from tests.marketdata.binance.test_rest import BINANCE_429, http_answer, scripted

NOON_S = 1_790_000_040.0  # a full minute


@pytest.fixture
def store(redis_url: str) -> Iterator[Redis]:
    client = Redis.from_url(redis_url, socket_timeout=2)
    client.delete(*client.keys("surge:weight:*") or ["surge:weight:none"])
    yield client
    client.close()


class Away:
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        raise ConnectionError("no Redis here")


@pytest.mark.parametrize(
    ("market", "name", "limit", "weight"),
    [
        (Market.SPOT, "depth", 100, 5),
        (Market.SPOT, "depth", 1000, 50),
        (Market.SPOT, "depth", 5000, 250),
        (Market.USDM, "depth", 50, 2),
        (Market.USDM, "depth", 1000, 20),
        (Market.SPOT, "exchangeInfo", None, 20),
        (Market.USDM, "exchangeInfo", None, 1),
    ],
)
def test_requests_cost_what_the_exchange_counts(market: Market, name: str, limit: int | None, weight: int) -> None:
    assert request_weight(market, name, limit) == weight


def test_no_minute_spends_more_than_its_share() -> None:
    draw = random.Random(3)
    budget, now_s, spent = WeightBudget(6000), NOON_S, {}
    for _ in range(5000):
        now_s += draw.random() * 0.2
        weight = draw.choice([1, 5, 50, 250])
        grant = budget.take(weight, now_s)
        if grant.wait_s:
            assert grant.wait_s <= 60.0
            now_s += grant.wait_s
        else:
            spent[now_s // 60] = spent.get(now_s // 60, 0) + weight
    assert len(spent) > 5
    assert max(spent.values()) <= 4800
    assert sorted(spent.values())[1] > 4000, "thrift is no idleness"


def test_what_the_exchange_counted_counts() -> None:
    budget = WeightBudget(6000)
    budget.note_used(4790, NOON_S)
    assert budget.take(50, NOON_S + 1.0).wait_s == 59.0
    assert budget.take(50, NOON_S + 60.0).wait_s == 0.0


def test_a_refusal_shuts_the_budget_for_as_long_as_it_says() -> None:
    budget = WeightBudget(6000)
    budget.shut(120.0, NOON_S)
    budget.shut(5.0, NOON_S)
    assert budget.take(1, NOON_S + 119.0) == (1.0, True)
    assert budget.take(1, NOON_S + 120.5).wait_s == 0.0


def test_two_processes_share_one_budget(store: Redis) -> None:
    now_s = NOON_S
    shares = [SharedWeight(store, "spot", WeightBudget(1000), lambda: now_s) for _ in range(2)]
    sent = [0, 0]

    def spend(which: int) -> None:
        while shares[which].take(10).wait_s == 0.0:
            sent[which] += 1

    threads = [threading.Thread(target=spend, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 80
    now_s += 60.0
    assert shares[0].take(10).wait_s == 0.0


def test_a_ban_holds_for_all_and_outlives_a_restart(store: Redis) -> None:
    now_s = NOON_S
    SharedWeight(store, "spot", WeightBudget(6000), lambda: now_s).shut(300.0)
    restarted = SharedWeight(store, "spot", WeightBudget(6000), lambda: now_s)
    now_s += 299.0
    assert restarted.take(1) == (1.0, True)
    now_s += 1.5
    assert restarted.take(1).wait_s == 0.0
    other_market = SharedWeight(store, "usdm", WeightBudget(2400), lambda: NOON_S)
    assert other_market.take(1).wait_s == 0.0


def test_without_redis_a_process_keeps_to_its_own_budget_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    alone = SharedWeight(Away(), "spot", WeightBudget(1000), lambda: NOON_S)
    sent = 0
    while alone.take(100).wait_s == 0.0:
        sent += 1
    assert sent == 8
    assert caplog.text.count("the shared weight budget is away") == 1
    alone.shut(10.0)
    assert alone.take(1).is_shut


@pytest.mark.parametrize("status", [429, 418, 403])
async def test_a_refused_client_silences_the_clients_of_other_processes(store: Redis, status: int) -> None:
    async with scripted(http_answer(status, BINANCE_429, Retry_After="30")) as script:
        clients = [
            RestClient(script.url, Market.SPOT, weight=SharedWeight(store, "spot", WeightBudget(6000), time.time))
            for _ in range(2)
        ]
        with pytest.raises(HttpError, match="answered"):
            await clients[0].ping()
        with pytest.raises(RateLimitError, match="nothing sent") as refused:
            await clients[1].depth("BTCUSDT")
        assert refused.value.retry_after_s == pytest.approx(30.0, abs=2.0)
        assert len(script.asked) == 1


async def test_a_spent_minute_sends_nothing() -> None:
    async with scripted(http_answer(200, b"{}")) as script:
        weight = SharedWeight(None, "spot", WeightBudget(100), clock_s=lambda: NOON_S + 15.0)
        client = RestClient(script.url, Market.SPOT, weight=weight)
        for _ in range(80):
            await client.ping()
        with pytest.raises(OverBudgetError, match="45 s left"):
            await client.ping()
        assert len(script.asked) == 80
