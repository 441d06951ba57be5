"""Every id the exchange made and every id it sent, stream by stream, so that a test can account for each of them."""

import re
from bisect import bisect_right
from collections.abc import Iterator

_DIFF_IDS = re.compile(rb'"U":(\d{1,18}),"u":(\d{1,18})')
_TRADE_ID = re.compile(rb'"a":(\d{1,18})')

Span = tuple[int, int]


def ids_of(stream: str, data: bytes) -> Span | None:
    """First and last id of a depth diff or an aggregate trade, None for anything else."""
    if "@depth" in stream:
        found = _DIFF_IDS.search(data)
        return (int(found[1]), int(found[2])) if found else None
    if stream.endswith("@aggTrade"):
        found = _TRADE_ID.search(data)
        return (int(found[1]), int(found[1])) if found else None
    return None


class Spans:
    """A set of ids as closed spans in order. Spans that touch become one."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []

    def __iter__(self) -> Iterator[Span]:
        return zip(self._first, self._last, strict=True)

    def __len__(self) -> int:
        return len(self._first)

    def add(self, first: int, last: int) -> None:
        if self._last and first == self._last[-1] + 1:  # the usual case
            self._last[-1] = last
            return
        start = bisect_right(self._first, first)
        if start and self._last[start - 1] >= first - 1:
            start -= 1
            first = self._first[start]
        end = start
        while end < len(self._first) and self._first[end] <= last + 1:
            last = max(last, self._last[end])
            end += 1
        self._first[start:end], self._last[start:end] = [first], [last]

    def holds(self, number: int) -> bool:
        at = bisect_right(self._first, number) - 1
        return at >= 0 and number <= self._last[at]

    def without(self, other: "Spans") -> list[Span]:
        """The parts of these spans that `other` does not hold."""
        missing: list[Span] = []
        taken = list(other)
        for first, last in self:
            for taken_first, taken_last in taken:
                if taken_last < first or taken_first > last:
                    continue
                if taken_first > first:
                    missing.append((first, taken_first - 1))
                first = taken_last + 1
            if first <= last:
                missing.append((first, last))
        return missing


class Ledger:
    """`made` is what happened on the market, `sent` what at least one subscriber was sent."""

    def __init__(self) -> None:
        self.made: dict[str, Spans] = {}
        self.sent: dict[str, Spans] = {}
        self.messages: dict[str, int] = {}

    def note_made(self, stream: str, data: bytes) -> None:
        self._note(self.made, stream, data)

    def note_sent(self, stream: str, data: bytes) -> None:
        self.messages[stream] = self.messages.get(stream, 0) + 1
        self._note(self.sent, stream, data)

    def unsent(self, stream: str) -> list[Span]:
        """Ids that were made and never sent."""
        return self.made.get(stream, Spans()).without(self.sent.get(stream, Spans()))

    def row(self, stream: str) -> dict[str, object]:
        return {
            "stream": stream,
            "messages": self.messages.get(stream, 0),
            "made": list(self.made.get(stream, ())),
            "sent": list(self.sent.get(stream, ())),
            "unsent": self.unsent(stream),
        }

    @staticmethod
    def _note(book: dict[str, Spans], stream: str, data: bytes) -> None:
        span = ids_of(stream, data)
        if span is not None:
            book.setdefault(stream, Spans()).add(*span)
