"""The oracle of the scenarios: what every book really was at every update id, and how far behind a claim is."""

import heapq
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from marketdata.events import PRICE_SCALE
from marketdata.features.replay import FeatureReplay
from marketdata.simulator.market import OracleBook

TOP = 5
"""Levels per side that a claim is held against."""

FAR_AHEAD = 100_000
"""A snapshot is this many ids ahead of the diffs at most; an id beyond is one of another count."""

Levels = list[tuple[int, float]]


@dataclass
class _Epoch:
    """An unbroken chain of diffs: `ids[n]` was reached at `times[n]`. The first entry is the book it begins with."""

    ids: list[int]
    times: list[float]
    bids: dict[int, float]
    asks: dict[int, float]
    diffs: list[dict[str, Any]] = field(default_factory=list)
    position: int = 0

    def follow(self, book_id: int) -> bool:
        """Bring the book to `book_id`; False where no diff ends there, or it is over."""
        at = bisect_right(self.ids, book_id) - 1
        if at < self.position or self.ids[at] != book_id:
            return False
        for diff in self.diffs[self.position : at]:
            _apply(self.bids, diff["b"])
            _apply(self.asks, diff["a"])
        self.position = at
        return True


class Truth:
    """Follows an exchange from before any fault; `claim` judges a client's book."""

    def __init__(self, oracle_book: Callable[[str], OracleBook | None], now_s: Callable[[], float]) -> None:
        self._oracle_book = oracle_book
        self._now_s = now_s
        self._epochs: dict[str, _Epoch] = {}
        self.claims = 0
        self.compared = 0
        self.wrong: list[str] = []
        self.worst_lag_s: dict[str, float] = {}

    def watch(self, _ts_ns: int, stream: str, data: bytes) -> None:
        """Take in one message as the market made it."""
        if "@depth" not in stream:
            return
        diff = orjson.loads(data)
        symbol, epoch = diff["s"], self._epochs.get(diff["s"])
        if epoch is None or not _continues(epoch, diff):
            self._begin(symbol)
        elif diff["u"] > epoch.ids[-1]:
            epoch.ids.append(diff["u"])
            epoch.times.append(self._now_s())
            epoch.diffs.append(diff)

    def _begin(self, symbol: str) -> None:
        book = self._oracle_book(symbol)
        if book is not None:
            sides = [{_e8(price): float(qty) for price, qty in side} for side in (book.bids, book.asks)]
            self._epochs[symbol] = _Epoch([book.last_update_id], [self._now_s()], sides[0], sides[1])

    def forget_lags(self) -> None:
        self.worst_lag_s.clear()

    def claim(self, symbol: str, replay: FeatureReplay) -> None:
        """The client decided on this book as one that is in step: was it?"""
        epoch = self._epochs.get(symbol)
        if epoch is None:
            return
        self.claims += 1
        book_id = replay.last_update_id(symbol)
        self.worst_lag_s[symbol] = max(self.worst_lag_s.get(symbol, 0.0), self._lag_s(epoch, book_id))
        if not epoch.ids[0] <= book_id <= epoch.ids[-1] or not epoch.follow(book_id):
            return
        self.compared += 1
        true = (_best(epoch.bids, TOP, heapq.nlargest), _best(epoch.asks, TOP, heapq.nsmallest))
        claimed = tuple(_levels(replay, symbol, side) for side in ("bid", "ask"))
        if true != claimed:
            self.wrong.append(f"{symbol} at id {book_id}: {claimed} instead of {true}")

    def _lag_s(self, epoch: _Epoch, book_id: int) -> float:
        """Since when the client has missed something."""
        if book_id > epoch.ids[-1] + FAR_AHEAD or book_id < epoch.ids[0] - FAR_AHEAD:
            return self._now_s() - epoch.times[0]
        following = bisect_right(epoch.ids, book_id)
        return self._now_s() - epoch.times[following] if following < len(epoch.times) else 0.0


def _continues(epoch: _Epoch, diff: dict[str, Any]) -> bool:
    last = epoch.ids[-1]
    if "pu" in diff:
        return bool(diff["pu"] == last or last - FAR_AHEAD < diff["u"] <= last)
    return bool(diff["U"] <= last + 1 and diff["u"] > last - FAR_AHEAD)


def _apply(side: dict[int, float], levels: list[list[str]]) -> None:
    for price, qty in levels:
        if float(qty) > 0.0:
            side[_e8(price)] = float(qty)
        else:
            side.pop(_e8(price), None)


def _e8(price: str) -> int:
    whole, _, fraction = price.partition(".")
    return int(whole) * PRICE_SCALE + int(f"{fraction:0<8}")


def _best(side: dict[int, float], count: int, choose: Callable[[int, dict[int, float]], list[int]]) -> Levels:
    return [(price, side[price]) for price in choose(count, side)]


def _levels(replay: FeatureReplay, symbol: str, side: str) -> Levels:
    return [(int(price), float(qty)) for price, qty in replay.book(symbol).levels(side)[:TOP].tolist()]
