"""Which book is fetched next: a state machine that is told the time, the answers and the refusals.

Liquid symbols come first, few requests run at once, a refusal of the exchange stops them all for as long as it says,
and nothing is ever given up: after `ALARM_AFTER` failures in a row it is an alarm, and a try a minute at the latest.
"""

from collections.abc import Callable
from dataclasses import dataclass

AT_ONCE = 4
FIRST_WAIT_S = 0.5
"""Time for the diffs after the request to arrive, so that the snapshot falls among them."""
LONGEST_WAIT_S = 30.0
ALARM_AFTER = 5
_CALM_S = 30.0
"""Asked again sooner than this after an answer, a symbol waits longer each time: its snapshots do not fit."""


@dataclass(slots=True)
class Wish:
    due_s: float
    is_under_way: bool = False


class SnapshotQueue:
    """The books that are wanted.

    Parameters
    ----------
    rank : callable
        How much a symbol moves (messages, turnover): higher is fetched earlier.
    draw : callable
        Uniform numbers in [0, 1) for jitter.
    """

    def __init__(
        self,
        rank: Callable[[str], float],
        draw: Callable[[], float],
        *,
        at_once: int = AT_ONCE,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._rank = rank
        self._draw = draw
        self._at_once = at_once
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._wishes: dict[str, Wish] = {}
        self._tries: dict[str, int] = {}
        self._answered_s: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.closed_until_s = 0.0

    def __len__(self) -> int:
        return len(self._wishes)

    @property
    def under_way(self) -> int:
        return sum(wish.is_under_way for wish in self._wishes.values())

    def want(self, symbol: str, now_s: float) -> None:
        """Put a symbol on the list, unless it is there."""
        if symbol in self._wishes:
            return
        if now_s - self._answered_s.get(symbol, -_CALM_S) >= _CALM_S:
            self._tries[symbol] = 0
        self._wishes[symbol] = Wish(now_s + self._wait_s(symbol))

    def take_due(self, now_s: float) -> list[str]:
        """The symbols to fetch now; each has to be answered, failed or dropped afterwards."""
        if now_s < self.closed_until_s:
            return []
        due = [name for name, wish in self._wishes.items() if not wish.is_under_way and wish.due_s <= now_s]
        due.sort(key=lambda name: (-self._rank(name), name))
        chosen = due[: max(0, self._at_once - self.under_way)]
        for name in chosen:
            self._wishes[name].is_under_way = True
        return chosen

    def next_due_s(self) -> float | None:
        """When `take_due` has something to say at the earliest; None while only answers are awaited."""
        waiting = [wish.due_s for wish in self._wishes.values() if not wish.is_under_way]
        if not waiting or self.under_way >= self._at_once:
            return None
        return max(min(waiting), self.closed_until_s)

    def answered(self, symbol: str, now_s: float) -> None:
        self._tries[symbol] = self._tries.get(symbol, 0) + 1
        self._answered_s[symbol] = now_s
        self.failures.pop(symbol, None)
        self.drop(symbol)

    def drop(self, symbol: str) -> None:
        """The book stands again: nobody needs it."""
        self._wishes.pop(symbol, None)

    def failed(self, symbol: str, now_s: float, retry_after_s: float | None = None) -> float:
        """Return how long this symbol waits. A refusal with a time (429, 418, 403, budget) closes the desk for all."""
        self._tries[symbol] = self._tries.get(symbol, 0) + 1
        self.failures[symbol] = self.failures.get(symbol, 0) + 1
        wait_s = self._wait_s(symbol)
        if retry_after_s is not None:
            self.closed_until_s = max(self.closed_until_s, now_s + retry_after_s)
            wait_s = retry_after_s + self._draw() * self._first_wait_s
        self._wishes[symbol] = Wish(now_s + wait_s)
        return wait_s

    def put_off(self, symbol: str, now_s: float) -> None:
        """Its stream does not deliver: a snapshot could not be kept up to date. Look again soon; no failure."""
        self._wishes[symbol] = Wish(now_s + self._first_wait_s * (0.6 + 0.8 * self._draw()))

    def is_alarming(self, symbol: str) -> bool:
        return self.failures.get(symbol, 0) >= ALARM_AFTER

    def _wait_s(self, symbol: str) -> float:
        wait_s = self._first_wait_s * 2.0 ** min(self._tries.get(symbol, 0), 10)
        return min(self._longest_wait_s, wait_s) * (0.6 + 0.8 * self._draw())
