import random

from marketdata.binance.event_age import EventAge

MS = 1_000_000
T0 = 1_790_000_000_000 * MS


def aged(lag_ms: int, *, offset_ms: int = 0, events: int = 101, seed: int = 1) -> EventAge:
    """Events that travel `lag_ms`, read by a clock that is `offset_ms` behind the exchange's."""
    draw = random.Random(seed)
    age = EventAge()
    for number in range(events):
        event_ns = T0 + number * 100 * MS
        age.note_event(event_ns, event_ns + (lag_ms - offset_ms + draw.randrange(-5, 6)) * MS)
    return age


def test_a_fresh_stream_is_not_stale() -> None:
    assert not EventAge().is_stale
    assert not aged(40).is_stale
    assert abs(aged(40).lag_ns - 40 * MS) <= 2 * MS


def test_a_lag_above_two_seconds_is_stale_and_one_below_is_not() -> None:
    assert aged(2100).is_stale
    assert not aged(1900).is_stale


def test_one_late_event_is_no_alarm_and_a_backlog_is() -> None:
    age = aged(40)
    age.note_event(T0, T0 + 30_000 * MS)
    assert not age.is_stale
    for number in range(60):
        age.note_event(T0 + number, T0 + 30_000 * MS)
    assert age.is_stale
    age.forget()
    assert not age.is_stale


def test_a_wrong_clock_is_measured_and_does_not_look_like_lag() -> None:
    age = aged(40, offset_ms=-5000)
    assert age.is_stale, "before anybody asked for the time"
    for asked_ns in range(T0, T0 + 5 * MS, MS):
        age.note_server_time(asked_ns + 30 * MS - 5000 * MS, asked_ns, asked_ns + 60 * MS)
    assert age.offset_ns == -5000 * MS
    assert not age.is_stale and age.is_clock_off


def test_one_slow_answer_does_not_move_the_offset() -> None:
    age = EventAge()
    for _ in range(4):
        age.note_server_time(T0 + 10 * MS, T0, T0 + 20 * MS)
    age.note_server_time(T0 + 10 * MS, T0, T0 + 9000 * MS)
    assert age.offset_ns == 0


def test_events_without_a_time_say_nothing() -> None:
    age = EventAge()
    age.note_event(0, T0)
    assert age.lag_ns == 0
