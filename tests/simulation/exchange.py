"""The fake exchange of the simulation: a tape told to virtual connections, and all that goes wrong on the way."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from marketdata.binance.link import Link
from tests.simulation.tape import Tape

FAULTS_BEGIN_S, FAULTS_END_S = 3.0, 18.0
STICKY_UNTIL_S = 6.0
KINDS = (
    "cut", "half_open", "stall_all", "stall_stream", "sticky_stall", "drop", "duplicate", "reorder", "lag", "shutdown",
    "refuse", "deaf", "rest_429", "rest_503", "rest_late", "rest_old", "day",
)  # fmt: skip

OnFrame = Callable[[Link, float, bytes, str, int], None]


@dataclass(frozen=True)
class Fault:
    kind: str
    begin_s: float
    end_s: float
    stream: str = ""
    chance: float = 0.0

    def holds(self, now_s: float) -> bool:
        return self.begin_s <= now_s < self.end_s


def draw_faults(random: Random, streams: list[str]) -> list[Fault]:
    """A few faults, all of them over before FAULTS_END_S + 6 s; a sticky stall lasts as long as its connection."""
    faults = []
    for kind in random.choices(KINDS, k=random.randint(1, 5)):
        last_s = STICKY_UNTIL_S if kind == "sticky_stall" else FAULTS_END_S
        begin_s = random.uniform(FAULTS_BEGIN_S, last_s)
        end_s = begin_s + random.uniform(0.2, 6.0)
        faults.append(Fault(kind, begin_s, end_s, random.choice(streams), random.choice([0.02, 0.2, 0.6])))
    return sorted(faults, key=lambda fault: fault.begin_s)


@dataclass
class Wire:
    """One connection as the exchange has it."""

    link: Link
    born_s: float
    streams: set[str] = field(default_factory=set)
    ends_s: float = 1e9
    is_frozen: bool = False
    deaf_to: set[str] = field(default_factory=set)


@dataclass
class Eaten:
    """What the exchange itself withheld, repeated or shuffled, by stream: no client can know."""

    ids: dict[str, set[int]] = field(default_factory=dict)
    doubled: dict[str, set[int]] = field(default_factory=dict)

    def note(self, stream: str, own: int) -> None:
        self.ids.setdefault(stream, set()).add(own)


class FakeExchange:
    """Calls back in virtual time: frames, opened and closed connections, answers of REST."""

    def __init__(
        self, tape: Tape, faults: list[Fault], random: Random, day_s: float, on_notice: Callable[[Link], None]
    ) -> None:
        self.tape = tape
        self.faults = faults
        self.eaten = Eaten()
        self.rest_until_s = 0.0
        self.rest_broken = 0
        self._random = random
        self._day_s = day_s
        self._on_notice = on_notice
        self._closers: dict[Link, Callable[[float], None]] = {}
        self._held: dict[Link, list[tuple[float, bytes, str, int]]] = {}
        self._wires: dict[Link, Wire] = {}
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._begun: set[Fault] = set()
        self._told_s = 0.0

    def at(self, moment_s: float, action: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (moment_s, self._count, action))

    def holding(self, kind: str, now_s: float) -> Fault | None:
        return next((fault for fault in self.faults if fault.kind == kind and fault.holds(now_s)), None)

    # What the client does

    def open(self, link: Link, now_s: float, opened: Callable[[float], None], closed: Callable[[float], None]) -> None:
        def answer(moment_s: float) -> None:
            if self.holding("refuse", moment_s):
                closed(moment_s)
                return
            self._wires[link] = Wire(link, moment_s, ends_s=moment_s + self._day_s)
            self._closers[link] = closed
            opened(moment_s)

        self.at(now_s + self._random.uniform(0.02, 0.2), answer)

    def ask(self, link: Link, method: str, streams: tuple[str, ...], now_s: float) -> None:
        def hear(moment_s: float) -> None:
            wire = self._wires.get(link)
            if wire is None or self.holding("deaf", moment_s):
                return
            if method == "SUBSCRIBE":
                wire.streams.update(streams)
            else:
                wire.streams.difference_update(streams)

        self.at(now_s + self._random.uniform(0.01, 0.05), hear)

    def hang_up(self, link: Link, now_s: float) -> None:
        """The client tears the line: it knows at once."""
        self._wires.pop(link, None)
        self.at(now_s, self._closers[link])

    def fetch(
        self,
        symbol: str,
        now_s: float,
        answered: Callable[[float, bytes], None],
        failed: Callable[[float, float | None], None],
    ) -> None:
        """REST depth, as the faults of the moment have it."""
        if now_s < self.rest_until_s:
            self.rest_broken += 1
        if self.holding("rest_429", now_s):
            self.at(now_s + 0.05, lambda moment_s: self._refuse(moment_s, failed))
        elif self.holding("rest_503", now_s):
            self.at(now_s + 0.05, lambda moment_s: failed(moment_s, None))
        else:
            age_s = self._random.uniform(1.0, 4.0) if self.holding("rest_old", now_s) else 0.0
            way_s = (
                self._random.uniform(1.0, 5.0) if self.holding("rest_late", now_s) else self._random.uniform(0.05, 0.3)
            )
            body = self.tape.snapshot(symbol, now_s - age_s)
            self.at(now_s + way_s, lambda moment_s: answered(moment_s, body))

    def _refuse(self, moment_s: float, failed: Callable[[float, float | None], None]) -> None:
        """429 for two seconds from the moment the client reads it."""
        self.rest_until_s = moment_s + 2.0
        failed(moment_s, 2.0)

    # Time passes

    def live(self, now_s: float, on_frame: OnFrame) -> None:
        """Do everything that is due until `now_s`, then tell the tape."""
        while self._due and self._due[0][0] <= now_s:
            moment_s, _, action = heapq.heappop(self._due)
            action(moment_s)
        self._begin_faults(now_s, on_frame)
        self._age(now_s)
        if not self.holding("lag", now_s):
            self._release(now_s, on_frame)
        told = self.tape.between(self._told_s, now_s)
        self._told_s = now_s
        disturbed = any(fault.holds(now_s) for fault in self.faults) or any(
            w.deaf_to or w.is_frozen for w in self._wires.values()
        )
        frames = self.tape.frames
        for at in told:
            stream, frame, own = frames[at]
            for wire in list(self._wires.values()):
                if stream in wire.streams:
                    if disturbed:
                        self._tell_disturbed(wire, now_s, frame, stream, own, on_frame)
                    else:
                        on_frame(wire.link, now_s, frame, stream, own)

    def _begin_faults(self, now_s: float, on_frame: OnFrame) -> None:
        for fault in self.faults:
            if fault in self._begun or fault.begin_s > now_s or not self._wires:
                continue
            self._begun.add(fault)
            wire = self._random.choice(list(self._wires.values()))
            if fault.kind == "cut":
                self._cut(wire, now_s)
            elif fault.kind == "half_open":
                wire.is_frozen = True
                self.at(now_s + 10.0, lambda moment_s, wire=wire: self._cut(wire, moment_s))  # type: ignore[misc]
            elif fault.kind == "sticky_stall":
                wire.deaf_to.add(fault.stream)
            elif fault.kind == "shutdown":
                wire.ends_s = min(wire.ends_s, fault.end_s)
                self._on_notice(wire.link)

    def _age(self, now_s: float) -> None:
        for wire in list(self._wires.values()):
            if now_s >= wire.ends_s:
                self._cut(wire, now_s)

    def _cut(self, wire: Wire, now_s: float) -> None:
        if self._wires.pop(wire.link, None) is not None:
            self._held.pop(wire.link, None)
            self.at(now_s, self._closers[wire.link])

    def _tell_disturbed(
        self, wire: Wire, now_s: float, frame: bytes, stream: str, own: int,
        on_frame: OnFrame,
    ) -> None:  # fmt: skip
        if wire.is_frozen:
            return
        single = self.holding("stall_stream", now_s)
        drop = self.holding("drop", now_s)
        if stream in wire.deaf_to or self.holding("stall_all", now_s) or (single and single.stream == stream):
            self.eaten.note(stream, own)
            return
        if drop and drop.stream == stream and self._random.random() < drop.chance:
            self.eaten.note(stream, own)
            return
        held = self._held.setdefault(wire.link, [])
        held.append((now_s, frame, stream, own))
        shuffle = self.holding("reorder", now_s)
        if shuffle and len(held) > 1 and self._random.random() < shuffle.chance:
            for entry in held[-2:]:
                self.eaten.note(entry[2], entry[3])
                self.eaten.doubled.setdefault(entry[2], set()).add(entry[3])
            held[-1], held[-2] = held[-2], held[-1]
        double = self.holding("duplicate", now_s)
        if double and self._random.random() < double.chance:
            held.append(held[-1])
            self.eaten.doubled.setdefault(stream, set()).add(held[-1][3])
            self.eaten.note(held[-1][2], held[-1][3])
            self.eaten.doubled.setdefault(held[-1][2], set()).add(held[-1][3])
        if not self.holding("lag", now_s) and not (shuffle and self._random.random() < 0.3):
            self._release(now_s, on_frame)

    def _release(self, now_s: float, on_frame: OnFrame) -> None:
        """What was under way arrives, in the order it left."""
        for link, held in list(self._held.items()):
            if link in self._wires:
                for _, frame, stream, own in held:
                    on_frame(link, now_s, frame, stream, own)
            held.clear()
