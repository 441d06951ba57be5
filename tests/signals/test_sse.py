"""The event stream: who hears what, what is published, and a listener that outlives every failure."""

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import django_eventstream.eventstream as library
import django_eventstream.views as library_views
import pytest
import redis
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, RequestFactory
from django_eventstream.models import Event as StoredEvent
from django_eventstream.views import Listener

from signals import sse, sse_listener
from tests.signals.factories import board_row


def request_of(user: Any, address: str = "/events/", **headers: str) -> Any:
    request = RequestFactory().get(address, headers=headers)
    request.user = user
    return request


# Who hears what


@pytest.mark.parametrize("address", ["/events/", "/events/?channel=production.signals", "/events/?channel=admin"])
def test_channels_come_from_the_session_and_never_from_the_address(address: str) -> None:
    event_request = sse.event_request_make(request_of(User(username="reader"), address))
    assert event_request.channels == {"demo.board", "demo.signals"}


def test_a_stranger_hears_nothing() -> None:
    assert sse.SurgeChannels().get_channels_for_request(request_of(AnonymousUser()), {}) == set()


def test_the_mode_is_part_of_each_channel(settings) -> None:
    settings.SURGE_MODE = "production"
    assert sse.channel_name(sse.SIGNALS) == "production.signals"
    assert not sse.SurgeChannels().can_read_channel(User(), "demo.signals")


@pytest.mark.parametrize(
    ("user", "channel", "may"),
    [
        (User(), "demo.board", True),
        (User(), "production.board", False),
        (User(), "other", False),
        (User(is_active=False), "demo.board", False),
        (None, "demo.board", False),
    ],
)
def test_only_an_active_user_hears_the_two_channels_of_this_mode(user: User | None, channel: str, may: bool) -> None:
    assert sse.SurgeChannels().can_read_channel(user, channel) is may


def test_only_signals_are_kept_for_pages_that_are_away() -> None:
    channels = sse.SurgeChannels()
    assert channels.is_channel_reliable("demo.signals")
    assert not channels.is_channel_reliable("demo.board")


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("demo.signals:12", "12"),
        ("other:3,demo.signals:12", "12"),
        ("error", None),
        ("", None),
        ("demo.signals:-1", None),
        ("demo.signals:999999999999999999999999", None),
        ("demo.signals:1; DROP TABLE", None),
        ("production.signals:12", None),
        ("xdemo.signals:12", None),
    ],
)
def test_a_page_resumes_at_its_own_id_and_nonsense_is_a_first_visit(told: str, read: str | None) -> None:
    wanted = {} if read is None else {"demo.signals": read}
    assert sse.last_ids_read(request_of(User(), **{"Last-Event-ID": told})) == wanted
    assert sse.last_ids_read(RequestFactory().get("/events/", {"lastEventId": told})) == wanted


@pytest.mark.django_db
class TestTheView:
    def test_a_stranger_is_refused_without_a_redirect(self, client: Client) -> None:
        assert client.get("/events/").status_code == 403

    def test_a_question_without_a_body_tells_whether_a_stream_would_open(self, page: Client, client: Client) -> None:
        assert page.head("/events/").status_code == 204
        client.logout()
        assert client.head("/events/").status_code == 403

    def test_nothing_can_be_sent_into_it(self, page: Client) -> None:
        assert page.post("/events/").status_code == 405

    def test_a_user_has_so_many_streams_and_no_more(self, page: Client, reader: User, monkeypatch) -> None:
        streams = sse.OpenStreams()
        monkeypatch.setattr(sse, "OPEN_STREAMS", streams)
        for _ in range(sse.STREAMS_PER_USER):
            streams.enter(reader.pk)
        answer = page.get("/events/")
        assert answer.status_code == 429
        assert answer["Retry-After"]
        streams.leave(reader.pk)
        assert page.head("/events/").status_code == 204


def test_one_users_streams_leave_room_for_another_until_the_process_is_full(monkeypatch) -> None:
    monkeypatch.setattr(sse, "STREAMS_PER_PROCESS", 7)
    streams = sse.OpenStreams()
    for _ in range(sse.STREAMS_PER_USER):
        streams.enter("a")
    assert not streams.has_room("a")
    assert streams.has_room("b")
    streams.enter("b")
    streams.enter("b")
    assert not streams.has_room("c")
    streams.leave("a")
    assert streams.has_room("c")


# Publishing


@pytest.fixture
def published(redis_url: str):
    """Collect what goes out over Redis."""
    with redis.Redis.from_url(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(sse_listener.REDIS_TOPIC)
        heard.get_message(timeout=2)

        def take() -> list[dict[str, Any]]:
            messages = []
            while message := heard.get_message(timeout=0.3):
                messages.append(json.loads(message["data"]))
            return messages

        yield take


@pytest.mark.django_db
class TestPublishing:
    def test_board_rows_go_out_and_are_not_kept(self, published) -> None:
        sse.publish_board([board_row("BTCUSDT", tick_ns="5"), board_row("币安人生USDT", tick_ns="7")])
        (message,) = published()
        assert (message["channel"], message["event_type"], message["pub_id"]) == ("demo.board", "board", None)
        told = json.loads(message["data"])
        assert told["tick_ns"] == "7"
        assert [row["symbol"] for row in told["rows"]] == ["BTCUSDT", "币安人生USDT"]
        assert not StoredEvent.objects.exists()

    def test_no_rows_are_no_message(self, published) -> None:
        sse.publish_board([])
        assert published() == []

    def test_signals_and_outcomes_are_kept_in_order(self, published) -> None:
        sse.publish_signal({"public_id": "one"})
        sse.publish_outcome({"public_id": "one", "outcome": None})
        assert [message["event_type"] for message in published()] == ["signal", "outcome"]
        kept = StoredEvent.objects.filter(channel="demo.signals", eid__gt=0).order_by("eid")
        assert [event.type for event in kept] == ["signal", "outcome"]

    def test_what_is_not_a_number_goes_out_as_null(self, published) -> None:
        sse.publish_board([board_row(p=math.nan, utility_bps=math.inf)])
        (message,) = published()
        (row,) = json.loads(message["data"], parse_constant=lambda name: pytest.fail(name))["rows"]
        assert row["p"] is None
        assert row["utility_bps"] is None

    def test_a_silent_redis_is_an_error_for_the_publisher(self, redis_url: str, monkeypatch) -> None:
        monkeypatch.setattr(library, "redis_client", redis.Redis(port=1))
        with pytest.raises(redis.ConnectionError):
            sse.publish_signal({"public_id": "one"})


@pytest.mark.parametrize(
    ("data", "clean"),
    [
        (math.nan, None),
        ({"a": [1.0, -math.inf, {"b": (math.nan, 2)}]}, {"a": [1.0, None, {"b": [None, 2]}]}),
        ({1: "text", "n": None, "t": True}, {"1": "text", "n": None, "t": True}),
    ],
)
def test_only_what_is_not_finite_becomes_null(data: Any, clean: Any) -> None:
    assert sse.without_nan(data) == clean


# The listener


CONFIRMATION = {"type": "subscribe", "data": 1}


class ScriptedRedis:
    """A Redis client whose subscriptions play a script: bytes are messages, exceptions are raised."""

    def __init__(self, *scripts: list[Any]) -> None:
        self.scripts = list(scripts)
        self.subscriptions = 0

    def pubsub(self) -> "ScriptedRedis":
        return self

    async def __aenter__(self) -> "ScriptedRedis":
        self.subscriptions += 1
        self.script = [CONFIRMATION, *(self.scripts.pop(0) if self.scripts else [])]
        return self

    async def __aexit__(self, *details: Any) -> None:
        pass

    async def subscribe(self, topic: str) -> None:
        assert topic == sse_listener.REDIS_TOPIC

    async def get_message(self, **options: Any) -> dict[str, Any] | None:
        if not self.script:
            await asyncio.sleep(0.01)
            return None
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        if item is None:
            await asyncio.sleep(0.01)
            return None
        return item if isinstance(item, dict) else {"type": "message", "data": item}


def message(number: int) -> bytes:
    told = {"channel": "demo.signals", "event_type": "signal", "data": str(number), "pub_id": str(number)}
    return json.dumps(told).encode()


@pytest.fixture
async def ear(monkeypatch) -> Listener:
    """An open page of this process."""
    manager = library_views.ListenerManager.__new__(library_views.ListenerManager)
    manager.__dict__.update(lock=library_views.threading.Lock(), listeners_by_channel={}, redis_listener=None)
    monkeypatch.setattr(library_views, "listener_manager", manager)
    listener = Listener()
    listener.assign_loop()
    listener.channels = {"demo.signals"}
    manager.add_listener(listener)
    return listener


async def heard(ear: Listener, client: ScriptedRedis, count: int) -> list[str]:
    task = asyncio.create_task(sse_listener.supervise(SimpleNamespace(redis_client=client)))
    try:
        async with asyncio.timeout(5):
            while len(ear.channel_items.get("demo.signals", [])) < count:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return [event.data for event in ear.channel_items["demo.signals"]]


@pytest.fixture
def hurry(monkeypatch) -> None:
    monkeypatch.setattr(sse_listener, "FIRST_DELAY_S", 0.01)


async def test_the_listener_lives_through_lost_connections(ear: Listener, hurry: None) -> None:
    client = ScriptedRedis([message(1), redis.ConnectionError("gone")], [OSError("still gone")], [message(2)])
    assert await heard(ear, client, 2) == ["1", "2"]
    assert client.subscriptions == 3


async def test_a_message_nobody_can_read_is_dropped_and_the_next_one_heard(ear: Listener, caplog) -> None:
    poison = [b"{", b"[]", b"null", b'{"channel": "demo.signals"}', b"\xff\xfe", message(1)]
    with caplog.at_level(logging.WARNING):
        assert await heard(ear, ScriptedRedis(poison), 1) == ["1"]
    assert caplog.text.count("not an event") == 5


async def test_a_burst_loses_nothing(ear: Listener) -> None:
    assert await heard(ear, ScriptedRedis([message(n) for n in range(500)]), 500) == [str(n) for n in range(500)]


async def test_after_a_new_subscription_every_page_reads_what_it_missed(ear: Listener, hurry: None) -> None:
    assert not ear.overflow
    await heard(ear, ScriptedRedis([redis.ConnectionError("gone")], [message(1)]), 1)
    assert ear.overflow
    assert ear.aevent.is_set()


async def test_a_silent_reconnection_makes_every_page_read_again(ear: Listener) -> None:
    asyncio.get_running_loop().call_later(0.05, ear.__dict__.update, {"overflow": False})
    await heard(ear, ScriptedRedis([None] * 10 + [CONFIRMATION, message(1)]), 1)
    assert ear.overflow


async def test_the_listener_stops_when_it_is_told_to(ear: Listener) -> None:
    task = asyncio.create_task(sse_listener.supervise(SimpleNamespace(redis_client=ScriptedRedis())))
    await asyncio.sleep(0.05)
    assert task in sse_listener._alive
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task not in sse_listener._alive


def test_the_library_uses_our_parts() -> None:
    assert library_views.RedisListener.start is sse_listener.supervise
    assert library_views.MAX_PENDING == sse_listener.QUEUE_LIMIT
    assert library.get_events.__name__ == "read_and_release"


# One guarded stream


async def script_of(*chunks: Any) -> AsyncGenerator[str, None]:
    """Yield texts; a number waits so many seconds."""
    for chunk in chunks:
        if isinstance(chunk, int | float):
            await asyncio.sleep(chunk)
        else:
            yield chunk


@pytest.fixture
def alive(monkeypatch) -> dict[str, bool]:
    """Whether the session stands; the test may end it."""
    state = {"session": True}

    async def is_alive(request: Any) -> bool:
        return state["session"]

    monkeypatch.setattr(sse, "session_is_alive", is_alive)
    return state


async def collect(stream: AsyncGenerator[str, None]) -> list[str]:
    return [chunk async for chunk in sse.guarded(stream, None)]


async def test_chunks_pass_unchanged_and_the_end_is_the_end(alive) -> None:
    assert await collect(script_of("a", "b")) == ["a", "b"]


async def test_a_quiet_stream_beats_and_tells_the_servers_clock(alive, monkeypatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    chunks = await collect(script_of("a", 0.18, "b"))
    beats = [chunk for chunk in chunks if chunk.startswith("event: keep-alive")]
    assert len(beats) in (2, 3)
    told = json.loads(beats[0].split("data: ")[1])
    assert abs(told["now_ms"] - time.time() * 1000) < 2_000
    assert chunks[-1] == "b"


async def test_a_stream_ends_when_its_session_ends(alive, monkeypatch) -> None:
    monkeypatch.setattr(sse, "CHECK_S", 0.05)
    alive["session"] = False
    chunks = await collect(script_of("a", 10.0, "secret"))
    assert "signed-out" in chunks[-1]
    assert "secret" not in chunks


async def test_a_busy_stream_is_checked_too(alive, monkeypatch) -> None:
    monkeypatch.setattr(sse, "CHECK_S", 0.05)
    alive["session"] = False
    chunks = await collect(script_of(*[part for _ in range(200) for part in ("x", 0.005)]))
    assert "signed-out" in chunks[-1]
    assert len(chunks) < 100


@pytest.mark.parametrize(("limit", "value"), [("LIFE_S", 0.0), ("BYTES_PER_STREAM", 3)])
async def test_a_stream_is_renewed_in_time(alive, monkeypatch, limit: str, value: float) -> None:
    monkeypatch.setattr(sse, limit, value)
    chunks = await collect(script_of("abcd", 10.0, "never"))
    assert chunks == ["abcd", "event: stream-renew\ndata: \n\n"]


async def test_a_page_that_leaves_ends_the_stream_behind_it(alive) -> None:
    ended = []

    async def endless() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "a"
                await asyncio.sleep(60)
        finally:
            ended.append(True)

    guarded = sse.guarded(endless(), None)
    assert await anext(guarded) == "a"
    waiting = asyncio.create_task(anext(guarded))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await guarded.aclose()
    assert ended == [True]


async def test_a_page_that_leaves_makes_room(alive, monkeypatch) -> None:
    streams = sse.OpenStreams()
    monkeypatch.setattr(sse, "OPEN_STREAMS", streams)
    monkeypatch.setattr(sse, "library_stream", lambda request, listener: script_of("a", 60.0))
    monkeypatch.setattr(sse, "STREAMS_PER_USER", 1)
    page = sse.page_stream(request_of(User(pk=1)))
    assert await anext(page) == "a"
    refused = [chunk async for chunk in sse.page_stream(request_of(User(pk=1)))]
    assert "too-many-streams" in refused[0]
    await page.aclose()
    assert streams.has_room(1)


@pytest.mark.django_db(transaction=True)
class TestTheSession:
    def test_it_stands_until_the_reader_logs_out(self, page: Client) -> None:
        request = request_of(None)
        request.session = page.session
        assert asyncio.run(sse.session_is_alive(request))
        page.logout()
        assert not asyncio.run(sse.session_is_alive(request))

    @pytest.mark.parametrize("change", [{"is_active": False}, {"password": "other"}])
    def test_it_falls_when_the_user_is_closed_or_the_password_changed(self, page: Client, reader: User, change) -> None:
        request = request_of(None)
        request.session = page.session
        User.objects.filter(pk=reader.pk).update(**change)
        assert not asyncio.run(sse.session_is_alive(request))
