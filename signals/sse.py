"""The event stream of the pages: what is published, who may hear it, and one guarded stream per open page.

Two channels, fixed by the session and never by the address: `board` (latest wins, not stored) and `signals` (stored, so
that a page that was away resumes at its Last-Event-ID). The mode is part of each channel's name, because Redis delivers
published messages across its databases: a demo page can never hear production.
"""

import asyncio
import json
import logging
import math
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from django_eventstream.channelmanager import ChannelManagerBase
from django_eventstream.eventrequest import EventRequest
from django_eventstream.eventstream import send_event
from django_eventstream.utils import add_default_headers, sse_encode_error, sse_encode_event
from django_eventstream.views import Listener
from django_eventstream.views import stream as library_stream

import signals.sse_listener  # noqa: F401  hardens django-eventstream before the first page opens

log = logging.getLogger(__name__)

BOARD, SIGNALS = "board", "signals"
TOPICS = (BOARD, SIGNALS)

STREAMS_PER_USER = 5  # browsers open at most 6 connections to one host
STREAMS_PER_PROCESS = 1_000
CHECK_S = 5.0
HEARTBEAT_S = 12.0
LIFE_S = 600.0
BYTES_PER_STREAM = 8 * 1024 * 1024
"""The web server buffers without limit for a reader that does not read; a stream that ends bounds that buffer."""


def channel_name(topic: str) -> str:
    return f"{settings.SURGE_MODE}.{topic}"


class SurgeChannels(ChannelManagerBase):
    """django-eventstream's view of who hears what."""

    def get_channels_for_request(self, request: HttpRequest, view_kwargs: Mapping[str, Any]) -> set[str]:
        return {channel_name(topic) for topic in TOPICS} if request.user.is_authenticated else set()

    def can_read_channel(self, user: Any, channel: str) -> bool:
        return user is not None and user.is_active and channel in {channel_name(topic) for topic in TOPICS}

    def is_channel_reliable(self, channel: str) -> bool:
        return channel == channel_name(SIGNALS)


# Publishing: plain blocking calls, for the live worker's thread


def publish_board(rows: Iterable[Mapping[str, Any]]) -> None:
    """Push changed board rows to every open page. Not stored: the next rows replace them."""
    told = [dict(row) for row in rows]
    if told:
        _publish(BOARD, "board", {"tick_ns": str(max(int(row["tick_ns"]) for row in told)), "rows": told})


def publish_signal(row: Mapping[str, Any]) -> None:
    """Push one new signal (the row of the signals API) and keep it for pages that are away."""
    _publish(SIGNALS, "signal", row)


def publish_outcome(row: Mapping[str, Any]) -> None:
    """Push what became of a signal: public_id, outcome and return_bps at least."""
    _publish(SIGNALS, "outcome", row)


def _publish(topic: str, event_type: str, data: Any) -> None:
    text = json.dumps(without_nan(data), allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=str)
    send_event(channel_name(topic), event_type, text, json_encode=False)


def without_nan(data: Any) -> Any:
    """Return the same data with null where a number is not finite: browsers refuse NaN."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [without_nan(value) for value in data]
    return data


# One stream per open page


class OpenStreams:
    """How many streams this process serves, in total and per user. Changed only by the event loop's thread."""

    def __init__(self) -> None:
        self._by_user: Counter[Any] = Counter()

    def has_room(self, user_id: Any) -> bool:
        return self._by_user[user_id] < STREAMS_PER_USER and self._by_user.total() < STREAMS_PER_PROCESS

    def enter(self, user_id: Any) -> None:
        self._by_user[user_id] += 1

    def leave(self, user_id: Any) -> None:
        self._by_user[user_id] -= 1
        if self._by_user[user_id] <= 0:
            del self._by_user[user_id]


OPEN_STREAMS = OpenStreams()


@login_not_required  # answers 403 itself: an event source cannot follow a redirect to a login page
@require_safe
def events(request: HttpRequest) -> HttpResponseBase:
    if not request.user.is_authenticated:
        return JsonResponse({"detail": _("Log in to hear the event stream.")}, status=403)
    if not OPEN_STREAMS.has_room(request.user.pk):
        detail = _("Too many live pages are open for this user. Close one and try again.")
        return JsonResponse({"detail": detail}, status=429, headers={"Retry-After": "5"})
    if request.method == "HEAD":  # a page asks why its stream was refused
        return HttpResponse(status=204)
    response = StreamingHttpResponse(page_stream(request), content_type="text/event-stream; charset=utf-8")
    add_default_headers(response, request=request)
    return response


def event_request_make(request: HttpRequest) -> EventRequest:
    """Return what django-eventstream needs, from the session alone; its own reading of the address is not used."""
    event_request = EventRequest()
    event_request.is_next = False  # left out by the library when it is not given the address
    event_request.user = request.user
    event_request.channels = SurgeChannels().get_channels_for_request(request, {})
    event_request.channel_last_ids = last_ids_read(request)
    return event_request


def last_ids_read(request: HttpRequest) -> dict[str, str]:
    """Return where a returning page left off; anything that is not one of our ids counts as a first visit."""
    told = request.headers.get("Last-Event-ID") or request.GET.get("lastEventId", "")
    channel = channel_name(SIGNALS)
    found = re.search(rf"(?:^|,){re.escape(channel)}:(\d{{1,18}})(?:,|$)", told)
    return {channel: found[1]} if found else {}


async def page_stream(request: HttpRequest) -> AsyncGenerator[str, None]:
    """Yield server-sent events until the page leaves, the session ends, or the stream is due for renewal."""
    user_id = request.user.pk
    if not OPEN_STREAMS.has_room(user_id):  # several requests may have passed the view's look at the same time
        yield sse_encode_error("too-many-streams", "Too many live pages are open for this user.")
        return
    OPEN_STREAMS.enter(user_id)
    try:
        listener = Listener()
        listener.user_id = user_id
        event_request = event_request_make(request)
        listener.channels = event_request.channels
        async with aclosing(guarded(library_stream(event_request, listener), request)) as chunks:
            async for chunk in chunks:
                yield chunk
    except DatabaseError as error:
        log.warning("event stream: ended for one page, PostgreSQL does not answer (%s)", error)
    finally:
        OPEN_STREAMS.leave(user_id)


async def guarded(stream: Any, request: HttpRequest) -> AsyncGenerator[str, None]:
    """Pass a stream on; add heartbeats, end it when the session ends, and have the page renew it in time."""
    began = checked = spoke = time.monotonic()
    sent = 0
    pending: asyncio.Future[Any] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(stream, None))
            await asyncio.wait({pending}, timeout=min(CHECK_S, HEARTBEAT_S))
            now = time.monotonic()
            if now - checked >= CHECK_S:
                checked = now
                if not await session_is_alive(request):
                    yield sse_encode_error("signed-out", "The session has ended.")
                    return
            if pending.done():
                chunk = pending.result()
                pending = None
                if chunk is None:
                    return
                sent += len(chunk)
                spoke = now
                yield chunk
            elif now - spoke >= HEARTBEAT_S:
                spoke = now
                yield heartbeat()
            if sent >= BYTES_PER_STREAM or now - began >= LIFE_S:
                yield sse_encode_event("stream-renew", "")
                return
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await stream.aclose()


def heartbeat() -> str:
    return sse_encode_event("keep-alive", json.dumps({"now_ms": time.time_ns() // 1_000_000}))


@sync_to_async
def session_is_alive(request: HttpRequest) -> bool:
    """Whether the page's session still stands for an active user with the same password; read afresh each time."""
    try:
        fresh = type(request.session)(request.session.session_key)
        user = get_user(SimpleNamespace(session=fresh, META=request.META))
        return bool(user.is_authenticated and user.is_active)
    finally:
        connections.close_all()
