"""A book kept in plain dicts, straight from Binance's published rules: slow, simple, and nobody else's code.

The simulated exchange uses it to answer REST depth while it replays a capture.
"""

from collections import deque
from typing import Any

from marketdata.events import Market

Levels = list[list[str]]
MAX_EARLY = 10_000


class PlainBook:
    """One symbol's book out of a recorded snapshot and the diffs around it. `stands` tells whether it can be shown."""

    def __init__(self, market: Market) -> None:
        self._spot = market is Market.SPOT
        self._bids: dict[float, list[str]] = {}
        self._asks: dict[float, list[str]] = {}
        self._early: deque[dict[str, Any]] = deque(maxlen=MAX_EARLY)
        self._fresh = False
        self._times: dict[str, int] = {}
        self.last_id = 0
        self.stands = False
        self.breaks = 0

    def snapshot(self, body: dict[str, Any]) -> None:
        self._bids = _levels(body["bids"])
        self._asks = _levels(body["asks"])
        self.last_id = int(body["lastUpdateId"])
        self._times = {name: body[name] for name in ("E", "T") if name in body}
        self.stands = self._fresh = True
        early = list(self._early)
        self._early.clear()
        for diff in early:
            self.diff(diff)

    def diff(self, data: dict[str, Any]) -> None:
        """Apply a diff; one that does not follow takes the book away until the next snapshot."""
        if not self.stands:
            self._early.append(data)
        elif self._follows(data):
            _apply(self._bids, data["b"])
            _apply(self._asks, data["a"])
            self.last_id = int(data["u"])
            self._times = {name: data[name] for name in ("E", "T") if name in data}
            self._fresh = False
        elif not self._is_old(data):
            self.stands = False
            self.breaks += 1
            self._early.append(data)

    def _is_old(self, data: dict[str, Any]) -> bool:
        return bool(data["u"] <= self.last_id if self._spot or not self._fresh else data["u"] < self.last_id)

    def _follows(self, data: dict[str, Any]) -> bool:
        if self._is_old(data):
            return False
        if self._spot:
            return bool(data["U"] <= self.last_id + 1)
        if self._fresh and data["U"] <= self.last_id:
            return True
        return bool(data["pu"] == self.last_id)

    def body(self, limit: int) -> dict[str, object]:
        """The body of REST depth."""
        times = {} if self._spot else self._times
        bids = [self._bids[price] for price in sorted(self._bids, reverse=True)[:limit]]
        asks = [self._asks[price] for price in sorted(self._asks)[:limit]]
        return {"lastUpdateId": self.last_id, **times, "bids": bids, "asks": asks}


def _levels(levels: Levels) -> dict[float, list[str]]:
    return {float(level[0]): level[:2] for level in levels if float(level[1]) > 0.0}


def _apply(side: dict[float, list[str]], levels: Levels) -> None:
    for level in levels:
        if float(level[1]) > 0.0:
            side[float(level[0])] = level[:2]
        else:
            side.pop(float(level[0]), None)
