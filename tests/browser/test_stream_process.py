"""The event stream of a real web server: resumes, survives bursts, poison and lost connections, and holds nothing."""

import json
import time
from collections.abc import Callable

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django_eventstream.storage import DjangoModelStorage

from signals import sse
from signals.selectors import redis_client
from signals.sse_listener import REDIS_TOPIC
from tests.browser.site_process import Ear, SiteProcess

pytestmark = pytest.mark.django_db(transaction=True)


def signal(name: str) -> dict[str, str]:
    return {"public_id": name}


def caught_up(ear: Ear) -> None:
    """Wait until the stream hears: what is published before it subscribed to Redis reaches it by reading again."""
    ear.next("stream-open")
    sse.publish_signal(signal("hello"))
    ear.next("signal")


def test_a_stranger_hears_nothing(site: SiteProcess) -> None:
    with Ear(site) as ear:
        assert ear.status == 403


def test_a_reader_hears_rows_and_signals(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie) as ear:
        assert ear.response.headers["Content-Type"].startswith("text/event-stream")
        assert ear.response.headers["X-Accel-Buffering"] == "no"
        ear.next("stream-open")
        sse.publish_signal(signal("币安人生"))
        assert ear.next("signal").json == signal("币安人生")
        sse.publish_board([{"symbol": "BTCUSDT", "tick_ns": "1"}])
        assert ear.next("board").json["rows"] == [{"symbol": "BTCUSDT", "tick_ns": "1"}]


def test_asking_for_another_channel_opens_none(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie, "/events/?channel=production.signals&channel=secret") as ear:
        caught_up(ear)
        with redis_client() as client:
            for channel in ("production.signals", "secret"):
                told = {"channel": channel, "event_type": "signal", "data": '"leak"', "pub_id": "1"}
                client.publish(REDIS_TOPIC, json.dumps(told))
        sse.publish_signal(signal("own"))
        assert ear.next("signal").json == signal("own")


def test_a_returning_page_gets_what_it_missed_in_order(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie) as ear:
        caught_up(ear)
        sse.publish_signal(signal("1"))
        left_at = ear.next("signal").id
    for number in range(2, 7):
        sse.publish_signal(signal(str(number)))
    with Ear(site, cookie, last_id=left_at) as ear:
        assert [ear.next("signal").json["public_id"] for _ in range(5)] == ["2", "3", "4", "5", "6"]


def test_a_page_from_before_the_store_was_cleared_is_told_to_start_anew(site: SiteProcess, cookie: str) -> None:
    sse.publish_signal(signal("1"))
    with Ear(site, cookie, last_id="demo.signals:777") as ear:
        assert ear.next("stream-reset").json == {"channels": ["demo.signals"]}


def test_a_burst_of_five_hundred_loses_none(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie) as ear:
        caught_up(ear)
        for number in range(500):
            sse.publish_board([{"symbol": str(number), "tick_ns": "1"}])
        heard = [ear.next("board", timeout=20).json["rows"][0]["symbol"] for _ in range(500)]
    assert heard == [str(number) for number in range(500)]


def test_poison_is_survived(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie) as ear:
        caught_up(ear)
        with redis_client() as client:
            for poison in (b"\xff\xfe", b"{", b"[1]", b'{"channel": "demo.signals"}'):
                client.publish(REDIS_TOPIC, poison)
        sse.publish_signal(signal("after"))
        assert ear.next("signal").json == signal("after")


def test_a_lost_redis_connection_loses_no_signal(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie) as ear:
        caught_up(ear)
        kept = DjangoModelStorage().append_event("demo.signals", "signal", json.dumps(signal("while deaf")))
        with redis_client() as client:
            assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
        heard = ear.next("signal", timeout=15)
        assert (heard.json, heard.id) == (signal("while deaf"), f"demo.signals:{kept.id}")
        sse.publish_signal(signal("after"))
        assert ear.next("signal").json == signal("after")


def test_a_user_has_so_many_streams_and_room_again_when_they_close(site: SiteProcess, cookie: str) -> None:
    ears = [Ear(site, cookie) for _ in range(sse.STREAMS_PER_USER)]
    try:
        for ear in ears:
            ear.next("stream-open")
        with Ear(site, cookie) as one_too_many:
            assert one_too_many.status == 429
    finally:
        for ear in ears:
            ear.close()
    wait_until_let_in(site, cookie)


def test_open_streams_hold_no_connection_to_postgresql(site: SiteProcess, cookie_of: Callable[[str], str]) -> None:
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    cookies = [cookie_of(f"reader-{number}") for number in range(pool // sse.STREAMS_PER_USER + 2)]
    began = time.monotonic()
    ears = [Ear(site, cookie) for cookie in cookies for _ in range(sse.STREAMS_PER_USER)]
    try:
        assert len(ears) > pool
        for ear in ears:
            ear.next("stream-open")
        assert time.monotonic() - began < sse.CHECK_S  # later than that, the check of the session gave them back
        with Ear(site, cookies[0], "/api/v1/signals/") as question:
            assert question.status == 200
    finally:
        for ear in ears:
            ear.close()


def test_the_stream_ends_soon_after_the_session(site: SiteProcess, cookie: str) -> None:
    with Ear(site, cookie) as ear:
        caught_up(ear)
        Session.objects.all().delete()
        assert ear.ends(timeout=sse.CHECK_S + 5)


def wait_until_let_in(site: SiteProcess, cookie: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with Ear(site, cookie) as ear:
            if ear.status == 200:
                return
        time.sleep(0.1)
    raise AssertionError("streams that were closed still count")
