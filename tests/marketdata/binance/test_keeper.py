"""The pool's mind on a clock that tests move; its sockets are only numbers here."""

import random

from marketdata.binance.keeper import Keeper
from marketdata.binance.link import Link
from marketdata.binance.pool_state import Close, Effect, KeeperSettings, Lost, Open, Send
from marketdata.binance.routes import shards
from marketdata.events import Market

STREAMS = ["btcusdt@depth@100ms", "ethusdt@depth@100ms", "btcusdt@aggTrade"]


class Rig:
    """A keeper, a clock and what it asked for."""

    def __init__(self, streams: list[str] = STREAMS, *, cap: int = 200, seed: int = 1, **settings: float) -> None:
        self.keeper = Keeper(
            Market.SPOT, shards(Market.SPOT, streams, cap), cap, KeeperSettings(**settings), random.Random(seed).random
        )
        self.now_s = 1000.0
        self.effects: list[Effect] = []

    def look(self, seconds: float = 0.25) -> list[Effect]:
        self.now_s += seconds
        return self.note(self.keeper.look(self.now_s))

    def note(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        return effects

    def links(self) -> list[Link]:
        return [effect.link for effect in self.effects if isinstance(effect, Open)]

    def open(self) -> Link:
        while not self.links():
            self.look()
        self.note(self.keeper.opened(self.links()[-1], self.now_s))
        return self.links()[-1]

    def pass_time(self, seconds: float, link: Link, streams: list[str]) -> None:
        """Looks, with a frame of each of these streams before every one."""
        for _ in range(int(seconds / 0.25)):
            for name in streams:
                assert link.take(f'{{"stream":"{name}","data":{{"U":1,"u":1}}}}'.encode()) is not False
            self.look()

    def lost(self) -> list[tuple[str, ...]]:
        return [effect.streams for effect in self.effects if isinstance(effect, Lost)]

    def sends(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(effect.method, effect.streams) for effect in self.effects if isinstance(effect, Send)]


def test_a_stream_without_a_first_frame_is_asked_three_times_then_moved() -> None:
    rig = Rig()
    link = rig.open()
    rig.pass_time(14.5, link, STREAMS[:2])
    assert rig.sends() == [("SUBSCRIBE", tuple(STREAMS)), *[("SUBSCRIBE", ("btcusdt@aggTrade",))] * 2]
    rig.pass_time(1.5, link, STREAMS[:2])
    second = rig.open()
    assert second is not link
    rig.pass_time(1.0, link, STREAMS[:2])
    second.take(b'{"stream":"btcusdt@aggTrade","data":{"a":1}}')
    rig.pass_time(2.0, link, STREAMS[:2])
    assert ("UNSUBSCRIBE", ("btcusdt@aggTrade",)) in rig.sends()
    assert rig.keeper.pending(rig.now_s) == {}
    assert rig.lost() == []


def test_a_silent_book_stream_is_told_once_and_only_it() -> None:
    rig = Rig()
    link = rig.open()
    rig.pass_time(5.0, link, STREAMS)
    began_s = rig.now_s
    while not rig.lost():
        rig.pass_time(0.25, link, [STREAMS[0], STREAMS[2]])
    assert 10.0 < rig.now_s - began_s <= 10.5
    rig.pass_time(4.0, link, [STREAMS[0], STREAMS[2]])
    assert rig.lost() == [("ethusdt@depth@100ms",)]
    assert rig.sends()[1:3] == [("UNSUBSCRIBE", ("ethusdt@depth@100ms",)), ("SUBSCRIBE", ("ethusdt@depth@100ms",))]


def test_a_silent_connection_is_left_within_five_seconds() -> None:
    rig = Rig()
    link = rig.open()
    rig.pass_time(5.0, link, STREAMS)
    began_s = rig.now_s
    while not any(isinstance(effect, Close) for effect in rig.effects):
        rig.look()
    assert rig.now_s - began_s <= 5.0
    rig.note(rig.keeper.closed(link, rig.now_s))
    assert rig.lost() == [tuple(STREAMS)]


def test_a_look_that_comes_late_judges_nobody() -> None:
    rig = Rig()
    link = rig.open()
    rig.pass_time(5.0, link, STREAMS)
    rig.look(45.0)
    assert not any(isinstance(effect, Close | Lost) for effect in rig.effects), "the frames wait unread in the socket"
    rig.pass_time(1.0, link, STREAMS)
    assert not any(isinstance(effect, Close | Lost) for effect in rig.effects)


def test_ten_minutes_without_an_exchange_stay_within_the_connect_budget_of_the_address() -> None:
    rig = Rig([f"s{n}@aggTrade" for n in range(16)], cap=2)
    opened: list[float] = []
    for _ in range(2400):
        for effect in rig.look():
            if isinstance(effect, Open):
                opened.append(rig.now_s)
                rig.note(rig.keeper.closed(effect.link, rig.now_s))
    assert 60 < len(opened) <= 180
    assert all(after - before >= 300.0 - 1e-6 for before, after in zip(opened, opened[60:], strict=False))
    assert rig.lost() == [], "what was never there cannot be lost"


def test_only_a_delivered_frame_brings_the_backoff_down() -> None:
    """A server that accepts and hangs up, again and again, is not healthy."""

    def tries(speaks: bool) -> int:
        rig = Rig(seed=5)
        for _ in range(240):
            for effect in rig.look():
                if isinstance(effect, Open):
                    rig.note(rig.keeper.opened(effect.link, rig.now_s))
                    if speaks:
                        effect.link.take(b'{"stream":"btcusdt@aggTrade","data":{"a":1}}')
                    rig.note(rig.keeper.closed(effect.link, rig.now_s))
        return rig.keeper.statistics["connects"]

    assert tries(speaks=False) < 15
    assert tries(speaks=True) == 60, "held by the connect budget alone"


def test_the_new_connection_stands_before_the_old_one_goes() -> None:
    rig = Rig(life_s=100.0, life_jitter_s=10.0)
    old = rig.open()
    for number in range(1, 500):
        data = f'{{"U":{number},"u":{number},"a":{number}}}'
        frames = [f'{{"stream":"{name}","data":{data}}}'.encode() for name in STREAMS]
        for link in rig.links():
            if any(isinstance(effect, Close) and effect.link is link for effect in rig.effects):
                continue
            if link is not old and link.opened_s == 0.0:
                rig.note(rig.keeper.opened(link, rig.now_s))
            for frame in frames:
                link.take(frame)
        rig.look()
        if rig.keeper.statistics["rotations"]:
            break
    assert 90.0 <= rig.now_s - 1000.0 <= 104.0
    kinds = [type(effect) for effect in rig.effects if isinstance(effect, Open | Close)]
    assert kinds == [Open, Open, Close] and rig.lost() == []
