"""A slow, independent client: dicts of strings, straight from Binance's published rules, no code of the project."""

import json
from decimal import Decimal
from typing import Any


class PlainBook:
    """One symbol's book by the published rules; `synced` is False until they say so, `breaks` counts broken chains."""

    def __init__(self, futures: bool) -> None:
        self.futures = futures
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.last_id = -1
        self.synced = False
        self.breaks = 0
        self._first_after_snapshot = False
        self._waiting: list[dict[str, Any]] = []

    def snapshot(self, body: dict[str, Any]) -> None:
        self.bids = dict(body["bids"])
        self.asks = dict(body["asks"])
        self.last_id = body["lastUpdateId"]
        self.synced = True
        self._first_after_snapshot = True
        waiting, self._waiting = self._waiting, []
        for diff in waiting:
            self.diff(diff)

    def diff(self, data: dict[str, Any]) -> None:
        if not self.synced:
            self._waiting.append(data)
            return
        if self._is_old(data):
            return
        if not self._follows(data):
            self.breaks += 1
            self.synced = False
            return
        self._first_after_snapshot = False
        for side, levels in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, qty in levels:
                if Decimal(qty) == 0:
                    side.pop(price, None)
                else:
                    side[price] = qty
        self.last_id = data["u"]

    def _is_old(self, data: dict[str, Any]) -> bool:
        if self.futures:
            return self._first_after_snapshot and data["u"] < self.last_id
        return bool(data["u"] <= self.last_id)

    def _follows(self, data: dict[str, Any]) -> bool:
        if not self.futures:
            return bool(data["U"] <= self.last_id + 1)
        if self._first_after_snapshot:
            return bool(data["U"] <= self.last_id <= data["u"] or data["pu"] == self.last_id)
        return bool(data["pu"] == self.last_id)

    def top(self, levels: int | None = None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids = sorted(self.bids.items(), key=lambda level: -Decimal(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: Decimal(level[0]))
        return bids[:levels], asks[:levels]


def frame(line: bytes) -> tuple[int, str, Any]:
    """A capture line as (recv_ns, stream, data)."""
    recv, _, payload = line.partition(b" ")
    message = json.loads(payload)
    return int(recv), message["stream"], message["data"]
