"""The knobs of messages without sockets: bytes in, bytes out."""

import json
from typing import Any

import pytest

from marketdata.simulator.damage import DAMAGES
from marketdata.simulator.faults import Faults, names_stream

DEPTH = "btcusdt@depth@100ms"
TRADES = "btcusdt@aggTrade"
E_MS = 1_700_000_000_123


def diff(number: int = 1) -> bytes:
    head = b'{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d' % (E_MS, 10 * number, 10 * number + 9)
    return head + b',"b":[["100.50000000","2.00000000"]],"a":[["101.00000000","3.00000000"]]}'


def trade(number: int) -> bytes:
    return b'{"e":"aggTrade","E":%d,"s":"BTCUSDT","a":%d,"p":"100.5","q":"1","f":1,"l":1,"T":%d}' % (E_MS, number, E_MS)


def read(part: bytes) -> dict[str, Any]:
    return json.loads(part)


@pytest.mark.parametrize(
    ("pattern", "stream", "means"),
    [
        ("*", DEPTH, True),
        (DEPTH, DEPTH, True),
        ("*@depth", DEPTH, True),
        ("*@depth", TRADES, False),
        ("a", "ab", False),
    ],
)
def test_patterns_mean_streams(pattern: str, stream: str, means: bool) -> None:
    assert names_stream(pattern, stream) is means


def test_without_a_knob_messages_pass_as_they_are() -> None:
    faults, data = Faults(), diff()
    assert faults.are_idle
    assert faults.deliver(DEPTH, data) == (data,)


def test_a_doubled_message_comes_twice_and_only_so_often() -> None:
    faults = Faults(doubles={DEPTH: 1})
    assert faults.deliver(DEPTH, diff(1)) == (diff(1), diff(1))
    assert faults.deliver(DEPTH, diff(2)) == (diff(2),)


@pytest.mark.parametrize("seed", range(5))
def test_a_shuffled_window_has_the_same_messages_in_another_order(seed: int) -> None:
    faults = Faults(seed, shuffles={DEPTH: 3})
    parts = [faults.deliver(DEPTH, diff(n)) for n in range(1, 5)]
    assert parts[:2] == [(), ()]
    assert sorted(parts[2]) == [diff(1), diff(2), diff(3)] and list(parts[2]) != [diff(1), diff(2), diff(3)]
    assert parts[3] == (diff(4),)


def test_delayed_messages_come_later_and_in_order() -> None:
    faults = Faults(delays={DEPTH: 2.0})
    assert faults.deliver(DEPTH, diff(1), 0) == () == faults.deliver(DEPTH, diff(2), 10**9)
    assert faults.due(1_999_999_999) == []
    assert faults.due(2 * 10**9) == [(DEPTH, diff(1))]
    assert faults.due(3 * 10**9) == [(DEPTH, diff(2))]


def test_a_repeating_stream_says_its_last_message_again() -> None:
    faults = Faults(microseconds=True)
    last = faults.deliver(DEPTH, diff(1))
    faults.repeating.add(DEPTH)
    assert faults.deliver(DEPTH, diff(2)) == last == faults.deliver(DEPTH, diff(3))


def test_a_retired_stream_stays_silent_through_a_heal() -> None:
    faults = Faults()
    faults.retired.add(DEPTH)
    faults.heal()
    assert faults.deliver(DEPTH, diff()) == ()
    assert faults.dropped == {DEPTH: 1}


def test_chance_drops_by_its_seed() -> None:
    def survivors(seed: int) -> list[int]:
        faults = Faults(seed, drop_chance={"*": 0.3})
        return [n for n in range(300) if faults.deliver(DEPTH, diff(n))]

    assert survivors(1) == survivors(1) != survivors(2)
    assert 170 < len(survivors(1)) < 250


def test_microseconds_and_skew_change_times_and_nothing_else() -> None:
    (part,) = Faults(microseconds=True, skew_ms=-5000).deliver(DEPTH, diff())
    assert read(part) == read(diff()) | {"E": (E_MS - 5000) * 1000}


def test_a_burst_gives_every_trade_an_id_of_its_own_also_afterwards() -> None:
    faults = Faults(bursts={"*": 3})
    ids = [read(part)["a"] for n in (1, 2) for part in faults.deliver(TRADES, trade(n))]
    faults.bursts.clear()
    ids += [read(part)["a"] for part in faults.deliver(TRADES, trade(3))]
    assert ids == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "Infinity", "1e309", ""])
def test_a_spoilt_price_is_the_text_that_was_asked_for(text: str) -> None:
    faults = Faults()
    faults.spoil(DEPTH, "price", text)
    (part,) = faults.deliver(DEPTH, diff())
    assert read(part)["b"][0][0] == text
    assert faults.deliver(DEPTH, diff()) == (diff(),)


def test_a_crossed_diff_bids_above_its_asks() -> None:
    (part,) = _spoilt("cross")
    assert float(read(part)["b"][0][0]) > float(read(part)["a"][0][0])


@pytest.mark.parametrize("kind", ["truncated", "garbage", "nested"])
def test_some_damage_is_no_json_object(kind: str) -> None:
    (part,) = _spoilt(kind)
    with pytest.raises((ValueError, RecursionError, AssertionError)):
        assert isinstance(json.loads(part), dict)


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_every_damage_changes_the_message(kind: str) -> None:
    assert _spoilt(kind) != (diff(),)


def test_an_unknown_damage_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no damage 'melt'; there are cross, price"):
        Faults().spoil(DEPTH, "melt")


def _spoilt(kind: str) -> tuple[bytes, ...]:
    faults = Faults()
    faults.spoil(DEPTH, kind)
    return faults.deliver(DEPTH, diff())
