"""What the socket pool does and when, as a state machine: events and the time go in, effects come out. No sockets.

A slot is a place for one connection and the streams that live there. Its connection is opened, proved stream by stream,
watched, replaced before its day is over, and opened again when it is lost. A stream that does not deliver is asked for
again, then moved to the connection of another slot. Whatever moves is carried by both connections until they have met
(`dedup.Handover`), so a planned change neither loses a frame nor repeats one.

    PENDING --first frame--> LIVE --silence--> PENDING (told as lost if it makes a book; asked again, then moved)
"""

from collections import Counter
from collections.abc import Callable, Sequence

from marketdata.binance.dedup import Handover
from marketdata.binance.link import Link, LinkState
from marketdata.binance.pacing import RateWindow
from marketdata.binance.pool_state import (
    Close,
    Deliver,
    Effect,
    KeeperSettings,
    Lost,
    Move,
    Open,
    Send,
    Slot,
    Stream,
)
from marketdata.binance.routes import Shard, route_of
from marketdata.binance.watchdog import GAPS_OF_PATIENCE, Rhythm
from marketdata.events import Market

CONNECTS_PER_5_MIN = 60
"""A fifth of what Binance allows an address, because other processes share it."""

LATE_LOOK_S = 1.0
"""After a look that came so late nothing is judged: frames may wait in the sockets, unread."""

MEET_S = 1.0
"""So long the frames of a new connection are held back for the old one to be caught up."""

CATCH_UP_S = 5.0
"""The same where the old one is still on its way."""

FADE_S = 60.0

ASKS = 3
LONGEST_PROOF_S = 300.0


class Keeper:
    """The pool's mind. The caller carries out the effects it returns, in order, and reports what comes of them.

    Parameters
    ----------
    shards : sequence of Shard
        Streams dealt to connections.
    cap : int
        Most streams one connection carries.
    draw : callable
        Uniform numbers in [0, 1) for jitter.
    connects : RateWindow, optional
        The connect budget of the address, when several pools share it.
    """

    def __init__(
        self,
        market: Market,
        shards: Sequence[Shard],
        cap: int,
        settings: KeeperSettings,
        draw: Callable[[], float],
        connects: RateWindow | None = None,
    ) -> None:
        self.statistics: Counter[str] = Counter()
        self.settings = settings
        self._market = market
        self._cap = cap
        self._draw = draw
        self._connects = connects or RateWindow(CONNECTS_PER_5_MIN, 300.0)
        self._slots: list[Slot] = []
        self._streams: dict[bytes, Stream] = {}
        self._links: dict[Link, Slot] = {}
        self._moves: list[Move] = []
        self._fading: list[tuple[Link, bytes, Handover, float]] = []
        self._numbers = 0
        self._looked_s: float | None = None
        for shard in shards:
            slot = Slot(shard.route)
            self._slots.append(slot)
            for name in shard.streams:
                self._add_stream(name, slot)

    def _add_stream(self, name: str, slot: Slot) -> None:
        makes_book = name.partition("@")[2].startswith("depth")
        stream = Stream(name, slot, Rhythm(self.settings.stream_silence_s, is_bursty=not makes_book), makes_book)
        slot.streams[name] = stream
        self._streams[stream.key] = stream

    # What the caller may ask

    @property
    def is_over(self) -> bool:
        return all(slot.is_over for slot in self._slots)

    @property
    def moving(self) -> int:
        return len(self._moves)

    def pending(self, now_s: float, after_s: float = 0.0) -> dict[str, float]:
        """Streams that were subscribed to and do not deliver, each with its wait in seconds."""
        waits = {
            stream.name: now_s - stream.since_s
            for stream in self._streams.values()
            if not stream.is_live and stream.asks
        }
        return {name: wait_s for name, wait_s in waits.items() if wait_s >= after_s}

    # Events

    def opened(self, link: Link, now_s: float) -> list[Effect]:
        """The connection stands."""
        slot = self._links[link]
        if slot.link is not None:
            self._absorb(slot.link, now_s)
        link.state = LinkState.OPEN
        link.opened_s = link.heard_s = now_s
        link.rotate_s = now_s + self.settings.life_s - self._draw() * self.settings.life_jitter_s
        self.statistics["connects"] += 1
        link.ask("SUBSCRIBE", slot.streams)
        for stream in slot.streams.values():
            if link is slot.heir and slot.link is not None:
                self._begin_move(stream, slot.link, link, now_s)
            else:
                link.gates[stream.key] = None
                stream.wait(now_s)
                stream.rhythm.forget_pause(now_s)
        return self._requests(link, now_s)

    def closed(self, link: Link, now_s: float, *, for_ever: bool = False) -> list[Effect]:
        """The connection is gone, or could not be made. With `for_ever` its streams are not sought again."""
        self._absorb(link, now_s)
        slot = self._links.pop(link)
        was_open = link.state is not LinkState.OPENING
        effects: list[Effect] = []
        unsaved = self._end_moves(link, now_s, effects)
        if not was_open:
            self.statistics["failed_connects"] += 1
        if link is slot.heir:
            slot.heir, slot.heir_due_s = None, now_s + slot.backoff.next_wait_s(self._draw())
            self._tell_lost(unsaved, now_s, effects)
        elif link is slot.link:
            self._lose_link(slot, was_open, unsaved, now_s, effects)
        if for_ever:
            self._finish(slot)
        return effects

    def shutting_down(self, link: Link) -> None:
        """The exchange announced the end of this connection."""
        slot = self._links.get(link)
        if slot is not None and link is slot.link and not slot.is_leaving:
            self.statistics["server_shutdowns"] += 1
            slot.is_leaving = True

    def look(self, now_s: float) -> list[Effect]:
        """Do what is due; call it four times a second."""
        late = self._looked_s is not None and now_s - self._looked_s > LATE_LOOK_S
        self._looked_s = now_s
        effects: list[Effect] = []
        for link in list(self._links):
            self._absorb(link, now_s)
        self._settle_moves(now_s, effects)
        if not late:
            self._judge_links(now_s, effects)
            self._judge_streams(now_s, effects)
        self._rotate(now_s, effects)
        self._connect(now_s, effects)
        for link in list(self._links):
            effects += self._requests(link, now_s)
        return effects

    # Connections

    def _absorb(self, link: Link, now_s: float) -> None:
        """Note who spoke since the last look."""
        if not link.heard:
            return
        slot = self._links[link]
        slot.was_heard = True
        slot.backoff.note_healthy()
        if now_s > link.heard_s:
            slot.gaps.append(now_s - link.heard_s)
        link.heard_s = now_s
        for key, frame in link.heard.items():
            stream = self._streams[key]
            stream.last_frame = frame
            if not stream.is_live:
                stream.is_live = True
                stream.moves = 0
            stream.is_told_lost = False
            stream.asks = 1
            stream.rhythm.note_heard(now_s)
        link.heard.clear()

    def _requests(self, link: Link, now_s: float) -> list[Effect]:
        if link.state is not LinkState.OPEN:
            return []
        return [Send(link, request.method, request.streams) for request in link.due_requests(now_s)]

    def _lose_link(
        self, slot: Slot, was_open: bool, unsaved: list[Stream], now_s: float, effects: list[Effect]
    ) -> None:
        """Tell the streams that no other connection carries, then go on with the heir or connect again."""
        slot.link, slot.is_leaving = None, False
        slot.due_s = now_s + slot.backoff.next_wait_s(self._draw())
        heir_stands = slot.heir is not None and slot.heir.state is LinkState.OPEN
        gone = list(dict.fromkeys([*unsaved, *(slot.streams.values() if was_open and not heir_stands else [])]))
        self._tell_lost(gone, now_s, effects)
        if slot.heir is not None:
            slot.link, slot.heir = slot.heir, None

    def _tell_lost(self, streams: Sequence[Stream], now_s: float, effects: list[Effect]) -> None:
        """Before anything else that follows: frames of these streams may be missing."""
        names = tuple(stream.name for stream in streams if not stream.is_told_lost)
        for stream in streams:
            stream.is_told_lost = True
            stream.wait(now_s)
        if names:
            self.statistics["disconnects"] += 1
            effects.insert(0, Lost(names))

    def _finish(self, slot: Slot) -> None:
        """The exchange said that nothing follows: nor will it for slots that are not connected."""
        slot.is_over = True
        for other in self._slots:
            other.is_over = other.is_over or other.link is None

    def _judge_links(self, now_s: float, effects: list[Effect]) -> None:
        for link, slot in self._links.items():
            if link.state is not LinkState.OPEN or (slot.is_annex and not slot.was_heard):
                continue
            if link is slot.link and now_s - link.heard_s > self._patience_s(slot):
                self._leave(link, "is silent", effects)
                self.statistics["silent"] += 1

    def _patience_s(self, slot: Slot) -> float:
        """A connection of many streams is busy; one of few quiet streams has its own rhythm too."""
        if len(slot.gaps) < 3:
            return self.settings.silence_s
        middle = sorted(slot.gaps)[len(slot.gaps) // 2]
        return max(self.settings.silence_s, min(LONGEST_PROOF_S, GAPS_OF_PATIENCE * middle) if middle > 1.0 else 0.0)

    def _leave(self, link: Link, why: str, effects: list[Effect]) -> None:
        link.state = LinkState.CLOSING
        effects.append(Close(link, why))

    def _connect(self, now_s: float, effects: list[Effect]) -> None:
        for slot in self._slots:
            is_wanted = (slot.streams or slot.is_annex) and not slot.is_over
            if is_wanted and slot.link is None and slot.due_s <= now_s:
                if self._connects.wait_s(now_s) > 0.0:
                    return
                slot.link = self._new_link(slot, now_s, effects)

    def _new_link(self, slot: Slot, now_s: float, effects: list[Effect]) -> Link:
        self._connects.note(now_s)
        self._numbers += 1
        link = Link(self._numbers, slot.route)
        self._links[link] = slot
        effects.append(Open(link))
        return link

    # Rotation: the new connection stands before the old one goes

    def _rotate(self, now_s: float, effects: list[Effect]) -> None:
        for slot in self._slots:
            link = slot.link
            if link is None or link.state is not LinkState.OPEN:
                continue
            if slot.heir is None:
                wants = slot.is_leaving or now_s >= link.rotate_s
                if wants and now_s >= slot.heir_due_s and self._connects.wait_s(now_s) == 0.0:
                    slot.heir = self._new_link(slot, now_s, effects)
            elif slot.heir.state is LinkState.OPEN:
                self._try_succession(slot, link, slot.heir, now_s, effects)

    def _try_succession(self, slot: Slot, link: Link, heir: Link, now_s: float, effects: list[Effect]) -> None:
        moves = [move for move in self._moves if move.new is heir and move.old is link]
        if all(move.handover.switched or move.is_quiet(now_s) for move in moves):
            for move in moves:
                self._end_move(move, now_s, effects)
            slot.link, slot.heir, slot.is_leaving = heir, None, False
            self.statistics["rotations"] += 1
            self._leave(link, "is replaced by a fresh one", effects)
        elif heir.has_asked_all and now_s - heir.opened_s > self.settings.overlap_s:
            self._force_succession(slot, link, heir, moves, now_s, effects)

    def _force_succession(
        self, slot: Slot, link: Link, heir: Link, moves: list[Move], now_s: float, effects: list[Effect]
    ) -> None:
        """Time is over. An heir that brings nothing is sent away; else what it does not bring is told as lost."""
        if not any(move.handover.switched for move in moves):
            for move in moves:
                self._cancel_move(move, now_s)
            slot.heir, slot.heir_due_s = None, now_s + self.settings.retry_rotation_s
            self.statistics["failed_rotations"] += 1
            self._leave(heir, "brings no stream", effects)
            return
        unproved = [move.stream for move in moves if not move.handover.switched and not move.is_quiet(now_s)]
        for move in moves:
            if not move.handover.switched:
                self._end_move(move, now_s, effects)
        self._tell_lost(unproved, now_s, effects)

    # Moves of streams between connections

    def _begin_move(self, stream: Stream, old: Link, new: Link, now_s: float) -> None:
        if stream.move is not None:
            self._cancel_move(stream.move, now_s)
        handover = Handover(stream.name, stream.last_frame)
        stream.move = Move(stream, old, new, handover, now_s)
        self._moves.append(stream.move)
        old.gates[stream.key] = handover.from_old
        new.gates[stream.key] = handover.from_new

    def _settle_moves(self, now_s: float, effects: list[Effect]) -> None:
        for move in list(self._moves):
            self._settle(move, now_s, effects)
            between_slots = self._links[move.new] is not self._links[move.old]
            if between_slots and move.handover.switched:
                self._end_move(move, now_s, effects)
            elif between_slots and now_s - move.began_s > self.settings.overlap_s:
                if move.is_quiet(now_s):
                    self._end_move(move, now_s, effects)
                else:
                    self._cancel_move(move, now_s)
        for fading in list(self._fading):
            link, key, handover, began_s = fading
            if handover.is_over or now_s - began_s > FADE_S:
                self._fading.remove(fading)
                if link.gates.get(key) == handover.from_new:
                    link.gates[key] = None

    def _settle(self, move: Move, now_s: float, effects: list[Effect]) -> None:
        """Follow one move: when was the new connection asked, how long do its frames wait?"""
        handover = move.handover
        if move.asked_s is None and move.new.has_asked_all:
            move.asked_s = now_s
        if move.is_settling_in and move.asked_s is not None and now_s - move.asked_s >= MEET_S:
            move.is_settling_in = False
            handover.old_frames = 0
        if handover.held and move.held_s is None:
            move.held_s = now_s
        is_catching_up = handover.old_frames > move.old_frames_seen
        move.old_frames_seen = handover.old_frames
        patience_s = CATCH_UP_S if is_catching_up else MEET_S
        if not handover.switched and move.held_s is not None and now_s - move.held_s >= patience_s:
            self._settle_unmet(move, now_s, effects)

    def _settle_unmet(self, move: Move, now_s: float, effects: list[Effect]) -> None:
        """The two connections did not meet: go on with the new one, and say so where something may be missing."""
        news = move.handover.settle()
        old_is_dead = now_s - move.old.heard_s > MEET_S
        if move.handover.has_hole or (old_is_dead and not move.handover.joined):
            effects.append(Lost((move.stream.name,)))
            self.statistics["unmet"] += 1
        _deliver(news, effects)

    def _end_move(self, move: Move, now_s: float, effects: list[Effect]) -> None:
        """The new connection speaks alone from here on; while it repeats what the old one said it is listened to."""
        stream = move.stream
        _deliver(move.handover.settle(), effects)
        self._drop(move)
        if move.handover.is_over:
            move.new.gates[stream.key] = None
        else:
            self._fading.append((move.new, stream.key, move.handover, now_s))
        slot = self._links[move.new]
        if stream.slot is not slot:
            stream.slot.streams.pop(stream.name, None)
            stream.slot = slot
            slot.streams[stream.name] = stream
            move.old.gates.pop(stream.key, None)
            move.old.ask("UNSUBSCRIBE", [stream.name])

    def _cancel_move(self, move: Move, now_s: float) -> None:
        """The old connection keeps the stream; what the new one was ahead is not said again."""
        self._drop(move)
        key, handover = move.stream.key, move.handover
        move.new.gates.pop(key, None)
        move.old.gates[key] = handover.from_new if handover.switched else None
        if handover.switched:
            self._fading.append((move.old, key, handover, now_s))
        if self._links.get(move.new) is not self._links.get(move.old):
            move.new.ask("UNSUBSCRIBE", [move.stream.name])

    def _drop(self, move: Move) -> None:
        self._moves.remove(move)
        move.stream.move = None

    def _end_moves(self, link: Link, now_s: float, effects: list[Effect]) -> list[Stream]:
        """A connection of some moves is gone; return the streams that may have lost frames by it."""
        unsaved = []
        for move in [move for move in self._moves if link in (move.old, move.new)]:
            if link is move.new:
                unsaved += [move.stream] if move.handover.switched else []
                self._cancel_move(move, now_s)
                continue
            is_safe = move.handover.switched or move.is_quiet(now_s)
            self._end_move(move, now_s, effects)
            if not is_safe and not move.handover.joined:
                unsaved.append(move.stream)
        return unsaved

    # Streams

    def _judge_streams(self, now_s: float, effects: list[Effect]) -> None:
        lost: list[str] = []
        again: dict[tuple[Link, str], list[str]] = {}
        for stream in self._streams.values():
            link = stream.slot.link
            if link is None or link.state is not LinkState.OPEN or stream.move is not None:
                continue
            if not stream.is_live:
                if self._press(stream, link, now_s):
                    again.setdefault((link, "SUBSCRIBE"), []).append(stream.name)
            elif stream.rhythm.is_silent(now_s):
                self.statistics["silent_streams"] += 1
                stream.rhythm.note_alarm(now_s)
                stream.wait(now_s)
                if stream.makes_book:  # told as lost, so nothing is lost by taking it down in between
                    again.setdefault((link, "UNSUBSCRIBE"), []).append(stream.name)
                    lost += [] if stream.is_told_lost else [stream.name]
                    stream.is_told_lost = True
                again.setdefault((link, "SUBSCRIBE"), []).append(stream.name)
        for (link, method), names in sorted(again.items(), key=lambda item: item[0][1], reverse=True):
            link.ask(method, names)
        if lost:
            effects.append(Lost(tuple(lost)))

    def _press(self, stream: Stream, link: Link, now_s: float) -> bool:
        """Shall a stream that does not deliver be asked for again? After some tries another connection is asked."""
        patience_s = min(LONGEST_PROOF_S, self.settings.first_frame_s * 4.0**stream.moves)
        if not link.has_asked_all or now_s - stream.asked_s < patience_s * stream.asks:
            return False
        if stream.asks < ASKS:
            stream.asks += 1
            self.statistics["asked_again"] += 1
            return True
        self._absorb(link, now_s)
        target = self._slot_for(stream).link
        if target is not None and target.state is LinkState.OPEN:
            stream.asks, stream.asked_s = 1, now_s
            stream.moves += 1
            self.statistics["moved"] += 1
            self._begin_move(stream, link, target, now_s)
            target.ask("SUBSCRIBE", [stream.name])
        return False

    def _slot_for(self, stream: Stream) -> Slot:
        """Another slot of the same route with room; where there is none, an annex is opened."""
        route = route_of(self._market, stream.name)
        others = [slot for slot in self._slots if slot.route == route and slot is not stream.slot]
        for slot in others:
            if not slot.is_over and len(slot.streams) < self._cap:
                return slot
        annex = Slot(route, is_annex=True)
        self._slots.append(annex)
        return annex


def _deliver(frames: list[bytes], effects: list[Effect]) -> None:
    if frames:
        effects.append(Deliver(tuple(frames)))
