import pytest

from marketdata.events import Market
from marketdata.features.replay import GRID_NS, FeatureReplay
from signals.live.inbox import Inbox, ReceiveClock
from tests.marketdata.lines import START_NS


class HandClock(ReceiveClock):
    """A receive clock that stands where the test puts it."""

    def __init__(self, now_ns: int = START_NS) -> None:
        super().__init__()
        self.stands_at = now_ns

    def now_ns(self) -> int:
        return self.stands_at


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def inbox(clock: HandClock) -> Inbox:
    return Inbox(clock)


def test_frames_become_capture_lines_in_order(inbox):
    inbox.on_frame(START_NS, b'{"stream":"a"}')
    inbox.on_frame(START_NS + 5, '{"stream":"b"}')
    assert inbox.take(0) == b'%d {"stream":"a"}\n%d {"stream":"b"}\n' % (START_NS, START_NS + 5)
    assert inbox.take(0) == b""


def test_a_line_break_inside_a_frame_stays_one_line(inbox):
    inbox.on_frame(START_NS, b'{"stream":\n"a"}')
    assert inbox.take(0).count(b"\n") == 1


def test_an_idle_tick_is_added_when_a_tick_is_due(inbox, clock):
    inbox.on_frame(START_NS, b"{}")
    due = START_NS + GRID_NS
    clock.stands_at = due + 1
    assert inbox.take(due).endswith(b'%d {"stream":"!tick","generated":true,"data":{}}\n' % (due + 1))


def test_no_idle_tick_before_it_is_due_or_after_a_frame_passed_it(inbox, clock):
    due = START_NS + GRID_NS
    clock.stands_at = due - 1
    assert inbox.take(due) == b""
    clock.stands_at = due + 5
    inbox.on_frame(due + 1, b"{}")
    assert b"!tick" not in inbox.take(due)


def test_an_idle_tick_is_what_the_pipeline_takes_as_one(inbox, clock):
    replay = FeatureReplay(Market.SPOT)
    replay.feed(b'%d {"stream":"!tick","generated":true,"data":{}}\n' % START_NS)
    clock.stands_at = replay.next_tick_ns
    replay.feed(inbox.take(replay.next_tick_ns))
    assert replay.next_tick_ns > clock.stands_at and not replay.parser.counts.rejected


def test_the_receive_clock_never_steps_back(monkeypatch):
    times = iter([10, 5, 20])
    monkeypatch.setattr("signals.live.inbox.time.time_ns", lambda: next(times))
    clock = ReceiveClock()
    assert [clock.now_ns() for _ in range(3)] == [10, 10, 20]
