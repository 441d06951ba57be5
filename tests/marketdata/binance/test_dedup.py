import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.binance.dedup import MOST_HELD, Handover, Place, place_reader

STREAM = "btcusdt@aggTrade"


def trade(number: int) -> bytes:
    return b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","a":%d}}' % number


@pytest.mark.parametrize(
    ("stream", "data", "place"),
    [
        ("a@depth@100ms", b'{"e":"depthUpdate","U":11,"u":15,"b":[]}', Place(10, 15)),
        ("a@depth@100ms", b'{"e":"depthUpdate","U":11,"u":15,"pu":7,"b":[]}', Place(7, 15)),
        ("a@depth20@100ms", b'{"lastUpdateId":9,"bids":[]}', Place(-1, 9)),
        ("a@aggTrade", b'{"e":"aggTrade","E":5,"s":"A","a":8,"p":"1"}', Place(7, 8)),
        ("a@trade", b'{"e":"trade","E":5,"s":"A","t":8,"p":"1"}', Place(7, 8)),
        ("a@bookTicker", b'{"u":4,"s":"A","b":"1"}', Place(-1, 4)),
        ("a@markPrice@1s", b'{"e":"markPriceUpdate","E":77}', Place(-1, 77)),
    ],
)
def test_frames_are_told_apart_by_their_ids(stream: str, data: bytes, place: Place) -> None:
    assert place_reader(stream)(b'{"stream":"%b","data":%b}' % (stream.encode(), data)) == place


@given(
    st.lists(st.sampled_from(["old", "new"]), max_size=80),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_any_interleaving_of_two_connections_brings_each_frame_once(
    turns: list[str], old_from: int, ahead: int
) -> None:
    """Both tell 0, 1, 2, ...; the new one joined `ahead` frames late. The old one is cut off when they have met."""
    handover = Handover(STREAM, trade(0))
    out = [trade(0)]
    tells = {"old": 1, "new": 1 + ahead}
    for turn in turns:
        take = handover.from_old if turn == "old" else handover.from_new
        out += take(trade(tells[turn]))
        tells[turn] += 1
    while not handover.is_over:
        for name in ("old", "new") if not handover.switched else ("new",):
            out += (handover.from_old if name == "old" else handover.from_new)(trade(tells[name]))
            tells[name] += 1
    assert out == [trade(number) for number in range(len(out))]
    assert handover.joined


def test_a_held_frame_that_follows_the_last_known_one_joins_at_once() -> None:
    handover = Handover(STREAM, trade(41))
    assert handover.from_new(trade(42)) == [trade(42)]
    assert handover.joined and handover.is_over


def test_settling_over_a_hole_is_no_joining() -> None:
    handover = Handover(STREAM, trade(41))
    assert handover.from_new(trade(50)) == []
    assert handover.settle() == [trade(50)]
    assert handover.has_hole and not handover.joined


def test_two_frames_of_one_event_time_are_both_kept() -> None:
    """Mark prices of all symbols come in two frames with the same E."""
    first, second, third = (b'{"stream":"!markPrice@arr","data":[{"E":%d,"s":"%b"}]}' % (time, name) for time, name in
                            ((7, b"A"), (7, b"B"), (8, b"A")))  # fmt: skip
    handover = Handover("!markPrice@arr")
    assert handover.from_old(first) == [first]
    assert handover.from_new(second) == [second]
    assert handover.from_new(first) == []
    assert handover.from_new(third) == [third]


def test_a_new_connection_cannot_fill_the_memory() -> None:
    handover = Handover("a@bookTicker")
    frames = [b'{"stream":"a@bookTicker","data":{"u":%d}}' % number for number in range(MOST_HELD)]
    out = [one for frame in frames for one in handover.from_new(frame)]
    assert out == frames
