import pytest

from marketdata.binance.watchdog import Rhythm


def spoken(gap_s: float, times: int = 40, **options: bool) -> tuple[Rhythm, float]:
    rhythm, now_s = Rhythm(**options), 100.0
    for _ in range(times):
        rhythm.note_heard(now_s)
        now_s += gap_s
    return rhythm, now_s - gap_s


@pytest.mark.parametrize(("gap_s", "patience_s"), [(0.25, 10.0), (0.5, 10.0), (1.0, 20.0), (3.0, 60.0)])
def test_patience_follows_the_rhythm(gap_s: float, patience_s: float) -> None:
    rhythm, last_s = spoken(gap_s)
    assert not rhythm.is_silent(last_s + patience_s)
    assert rhythm.is_silent(last_s + patience_s + 0.1)


def test_a_stream_never_heard_is_not_silent_but_pending() -> None:
    assert not Rhythm().is_silent(1e9)


def test_the_pause_of_an_alarm_is_no_rhythm() -> None:
    rhythm, last_s = spoken(0.25, times=5)
    rhythm.note_alarm(last_s + 11.0)
    for number in range(4):
        rhythm.note_heard(last_s + 40.0 + number * 0.25)
    assert rhythm.patience_s == 10.0


def test_only_a_bursty_stream_earns_patience_by_alarms_and_only_for_a_while() -> None:
    bursty, last_s = spoken(0.25, is_bursty=True)
    steady, _ = spoken(0.25)
    for rhythm in (bursty, steady):
        rhythm.note_alarm(last_s)
    assert (bursty.patience_s, steady.patience_s) == (20.0, 10.0)
    bursty.forget_pause(last_s + 601.0)
    assert bursty.patience_s == 10.0
