"""django-eventstream made fit to run for months: its Redis listener, its queues and its database connections.

Importing this module replaces three parts of django-eventstream 5.3.4. As shipped, the listener of a process dies at
its first Redis error or first message that is not JSON, a burst of more than 10 events is dropped without a word, and
every open page holds one PostgreSQL connection for as long as it stays open.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import django_eventstream.eventstream as library
import django_eventstream.views as library_views
from django.db import connections
from django_eventstream.event import Event
from django_eventstream.eventresponse import EventResponse

log = logging.getLogger(__name__)

REDIS_TOPIC = "events_channel"  # where django-eventstream publishes
QUEUE_LIMIT = 1_000
FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 5.0
POLL_S = 1.0

_alive: set[asyncio.Task[Any]] = set()  # asyncio itself keeps only weak references to tasks


def deliver(message: bytes | str) -> None:
    """Hand one published message to the open pages of this process; a message nobody can read is dropped."""
    try:
        told = json.loads(message)
        event = Event(told["channel"], told["event_type"], told["data"], id=told["pub_id"])
    except (ValueError, TypeError, KeyError) as error:
        log.warning("event stream: a message that is not an event was dropped (%r)", error)
        return
    library_views.get_listener_manager().add_to_queues(event.channel, event)


def reread_all() -> None:
    """Have every open page read its stored events again: some may have been published while nobody listened."""
    manager = library_views.get_listener_manager()
    with manager.lock:
        pages = set().union(*manager.listeners_by_channel.values())
        for page in pages:
            page.overflow = True
            page.wake_threadsafe()


async def listen(redis_client: Any) -> None:
    """Deliver what is published until the connection breaks.

    The client reconnects by itself after a short break and says nothing; only the new confirmation of the
    subscription tells that something may have been missed.
    """
    async with redis_client.pubsub() as subscription:
        await subscription.subscribe(REDIS_TOPIC)
        while True:
            message = await subscription.get_message(timeout=POLL_S)
            if message is None:
                continue
            if message["type"] == "subscribe":
                reread_all()
            elif message["type"] == "message":
                deliver(message["data"])
                await asyncio.sleep(0)  # let the open streams drain their queues


async def supervise(listener: Any) -> None:
    """Listen for ever: every failure is logged and followed by another try, each a little later than the last."""
    task = asyncio.current_task()
    if task is not None:
        _alive.add(task)
        task.add_done_callback(_alive.discard)
    delay = FIRST_DELAY_S
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await listen(listener.redis_client)
        except Exception as error:  # whatever it is, pages must not go quiet for ever
            if loop.time() - began > LONGEST_DELAY_S:
                delay = FIRST_DELAY_S
            log.warning("event stream: Redis listener failed (%r); next try in about %.1f s", error, delay)
        await asyncio.sleep(delay * (0.5 + random.random()))
        delay = min(2 * delay, LONGEST_DELAY_S)


def releasing_connections(read: Callable[..., EventResponse]) -> Callable[..., EventResponse]:
    """Return `read` that gives its database connection back: a page stays open far longer than a read takes."""

    def read_and_release(*arguments: Any, **named: Any) -> EventResponse:
        try:
            return read(*arguments, **named)
        finally:
            connections.close_all()

    return read_and_release


library_views.RedisListener.start = supervise
library_views.MAX_PENDING = QUEUE_LIMIT
library.get_events = releasing_connections(library.get_events)
