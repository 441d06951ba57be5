"""One seed: the client's state machines against the fake exchange under a virtual clock, and what must hold."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from marketdata.binance.keeper import Keeper
from marketdata.binance.link import Link
from marketdata.binance.pool_state import Close, Deliver, Effect, KeeperSettings, Lost, Open, Send
from marketdata.binance.routes import shards
from marketdata.binance.snapshot_queue import SnapshotQueue
from marketdata.events import NS_PER_S, Market
from marketdata.features.replay import FeatureReplay
from tests.simulation.exchange import FakeExchange, Fault, draw_faults
from tests.simulation.tape import SECONDS, SHOWN, START_NS, TAPES, Tape, tape

STEP_S = 0.05
LOOK_STEPS = 5
FEED_STEPS = 5
STALE_S = 15.0
"""No book may say SYNCED this long after the exchange went on without it: 10 s of patience, lag and looks."""


class Violation(AssertionError):
    """An invariant did not hold."""


@dataclass
class Heard:
    """What reached the recording of one stream: ids in order, None where a loss was told."""

    entries: list[int | None] = field(default_factory=list)


class Scenario:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(f"simulation {seed}")
        market = self.random.choice(list(Market))
        self.tape: Tape = tape(market, self.random.randrange(TAPES))
        self.faults: list[Fault] = draw_faults(self.random, self.tape.streams)
        has_day = any(fault.kind == "day" for fault in self.faults)
        day_s = self.random.uniform(10.0, 20.0) if has_day else 1e9
        settings = KeeperSettings(life_s=day_s - 4.0, life_jitter_s=2.0)
        cap = self.random.choice([3, 200])
        self.exchange = FakeExchange(self.tape, self.faults, self.random, day_s, self._on_notice)
        self.keeper = Keeper(market, shards(market, self.tape.streams, cap), 200, settings, self.random.random)
        self.queue = SnapshotQueue(lambda symbol: 0.0, self.random.random)
        self.replay = FeatureReplay(market, capacity=4)
        self.heard: dict[str, Heard] = {stream: Heard() for stream in self.tape.streams}
        self.statistics: Counter[str] = Counter()
        self._lines: list[bytes] = []
        self._now_s = 0.0

    def __str__(self) -> str:
        faults = ", ".join(f"{f.kind} {f.begin_s:.1f}-{f.end_s:.1f} {f.stream}" for f in self.faults)
        return f"seed {self.seed} ({self.tape.market}; {faults})"

    def run(self) -> None:
        """Live through the tape; raise `Violation`."""
        for step in range(1, int(SECONDS / STEP_S)):
            self._now_s = now_s = step * STEP_S
            self.exchange.live(now_s, self._on_frame)
            if step % LOOK_STEPS == 0:
                self._carry_out(self.keeper.look(now_s))
                self._fetch(now_s)
            if step % FEED_STEPS == 0:
                self._feed(now_s)
        self._check_end()

    # The client's shell

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Open(link):
                    self._open(link)
                case Send(link, method, streams):
                    self.exchange.ask(link, method, streams, self._now_s)
                case Close(link, _):
                    self.exchange.hang_up(link, self._now_s)
                case Lost(streams):
                    self._lose(streams)
                case Deliver(frames):
                    for frame in frames:
                        self._record(frame)

    def _open(self, link: Link) -> None:
        self.exchange.open(
            link,
            self._now_s,
            lambda moment_s: self._carry_out(self.keeper.opened(link, moment_s)),
            lambda moment_s: self._carry_out(self.keeper.closed(link, moment_s)),
        )

    def _on_notice(self, link: Link) -> None:
        self.keeper.shutting_down(link)

    def _on_frame(self, link: Link, now_s: float, frame: bytes, stream: str, own: int) -> None:
        verdict = link.take(frame)
        if verdict is True:
            self._lines.append(b"%d %b\n" % (START_NS + int(now_s * NS_PER_S), frame))
            self.heard[stream].entries.append(own)
        elif verdict is not False:
            for one in verdict:
                self._record(one)

    def _record(self, frame: bytes) -> None:
        self._lines.append(b"%d %b\n" % (START_NS + int(self._now_s * NS_PER_S), frame))
        stream = frame[11 : frame.find(b'"', 11)].decode()
        self.heard[stream].entries.append(self.tape.own_id(frame))

    def _lose(self, streams: tuple[str, ...]) -> None:
        names = ",".join(f'"{name}"' for name in streams).encode()
        self._generated(b'{"stream":"!disconnect","generated":true,"data":{"streams":[%b]}}' % names)
        self.statistics["lost"] += 1
        for name in streams:
            self.heard[name].entries.append(None)

    def _generated(self, frame: bytes) -> None:
        self._lines.append(b"%d %b\n" % (START_NS + int(self._now_s * NS_PER_S), frame))

    # Snapshots

    def _fetch(self, now_s: float) -> None:
        for symbol in self.queue.take_due(now_s):
            if self.replay.is_synced(symbol):
                self.queue.drop(symbol)
            elif not self._delivers(symbol):
                self.queue.put_off(symbol, now_s)
            else:
                self._ask_rest(symbol, now_s)

    def _ask_rest(self, symbol: str, now_s: float) -> None:
        def answered(moment_s: float, body: bytes) -> None:
            if not self._delivers(symbol):
                self.queue.put_off(symbol, moment_s)
                return
            self.queue.answered(symbol, moment_s)
            name = symbol.lower().encode()
            self._generated(b'{"stream":"%b@depthSnapshot","generated":true,"data":%b}' % (name, body))
            self.statistics["snapshots"] += 1

        def failed(moment_s: float, retry_after_s: float | None) -> None:
            self.queue.failed(symbol, moment_s, retry_after_s)

        self.exchange.fetch(symbol, now_s, answered, failed)

    def _delivers(self, symbol: str) -> bool:
        return f"{symbol.lower()}@depth@100ms" not in self.keeper.pending(self._now_s)

    # The pipeline, and what must hold

    def _feed(self, now_s: float) -> None:
        rows = self.replay.feed(b"".join(self._lines))
        self._lines.clear()
        for symbol in self.replay.take_requests():
            self.queue.want(symbol, now_s)
        synced_rows = set(rows.symbol[rows.context["synced"] == 1].tolist())
        for index, symbol in enumerate(self.replay.symbols):
            if self.replay.is_synced(symbol):
                self._check_book(symbol, now_s, index in synced_rows)

    def _check_book(self, symbol: str, now_s: float, is_decided: bool) -> None:
        book_id = self.replay.last_update_id(symbol)
        surpassed_s = self.tape.surpassed_s(symbol, book_id)
        if surpassed_s is not None and now_s - surpassed_s > STALE_S:
            what = "a decision row" if is_decided else "a book"
            raise Violation(f"at {now_s:.2f} s {what} of {symbol} is SYNCED, {now_s - surpassed_s:.1f} s behind")
        truth = self.tape.books[symbol].get(book_id)
        if truth is None:
            return  # the id of a snapshot, inside a diff
        self.statistics["compared"] += 1
        book = self.replay.book(symbol)
        ours = tuple(
            tuple((round(float(level["price_e8"])), float(level["qty"])) for level in book.levels(side, SHOWN))
            for side in ("bid", "ask")
        )
        if ours != truth:
            raise Violation(f"at {now_s:.2f} s the book of {symbol} differs from the true one at id {book_id}")

    def _check_end(self) -> None:
        for symbol in self.tape.symbols:
            if not self.replay.is_synced(symbol):
                raise Violation(f"{symbol} is not SYNCED at the end: {self.keeper.pending(self._now_s)}")
            surpassed_s = self.tape.surpassed_s(symbol, self.replay.last_update_id(symbol))
            if surpassed_s is not None and self._now_s - surpassed_s > 1.5:
                raise Violation(f"{symbol} is {self._now_s - surpassed_s:.1f} s behind at the end")
        if self.exchange.rest_broken:
            raise Violation(f"{self.exchange.rest_broken} requests before Retry-After was over")
        for stream, heard in self.heard.items():
            if not stream.endswith("@markPrice@1s"):
                self._check_ids(stream, heard)

    def _check_ids(self, stream: str, heard: Heard) -> None:
        """Every id came out once, or lies where a loss was told, or the exchange itself did something to it."""
        eaten = self.exchange.eaten.ids.get(stream, set())
        doubled = self.exchange.eaten.doubled.get(stream, set())
        ids = self.tape.ids(stream)
        place = {own: at for at, own in enumerate(ids)}
        seen: set[int] = set()
        last: int | None = None
        excused = False
        for entry in heard.entries:
            if entry is None:
                excused = True
                continue
            if entry in seen and entry not in doubled:
                raise Violation(f"{stream} {entry} came out twice")
            seen.add(entry)
            if last is not None and not excused and place[entry] > place[last] + 1:
                missing = [own for own in ids[place[last] + 1 : place[entry]] if own not in eaten and own not in seen]
                if missing:
                    raise Violation(f"{stream} {missing[:3]} ({len(missing)}) neither came out nor was told as lost")
            if last is None or place[entry] > place[last] or excused:
                last, excused = entry, False
