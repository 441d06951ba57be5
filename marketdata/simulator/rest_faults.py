"""What goes wrong on purpose with REST: errors, refusals, slow and broken answers, snapshots of the wrong moment."""

from dataclasses import dataclass, field
from typing import NamedTuple

from marketdata.simulator.target import Answer

HTML = b"<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>"
KINDS = ("status", "truncated", "html", "empty", "slow", "hang")
HANG_S = 3600.0


class RestFault(NamedTuple):
    """What the next `calls` calls of a path get. `path` is depth, time, exchangeInfo ... or "*"."""

    path: str
    kind: str
    calls: int = 1
    status: int = 503
    retry_after_s: int = 0
    delay_s: float = 0.0
    symbol: str = ""

    def means(self, path: str, symbol: str) -> bool:
        return self.calls > 0 and self.path in ("*", path) and self.symbol in ("", symbol)


@dataclass
class RestFaults:
    """The REST knobs of one running exchange."""

    planned: list[RestFault] = field(default_factory=list)
    old_snapshots: dict[str, bytes] = field(default_factory=dict)
    """Bodies from a cache: what a caller of depth gets instead of the present book."""
    old_left: int = 0
    depth_cap: int = 0
    """Most levels a snapshot has; 0: as many as are asked for."""
    enums: bool = False
    """exchangeInfo has statuses, filters and fields that no document knows."""
    hits: dict[str, int] = field(default_factory=dict)

    def plan(self, fault: RestFault) -> None:
        if fault.kind not in KINDS:
            raise ValueError(f"no REST fault {fault.kind!r}; there are {', '.join(KINDS)}")
        self.planned.append(fault)

    def take(self, path: str, symbol: str) -> RestFault | None:
        """The fault that this call meets."""
        for at, fault in enumerate(self.planned):
            if fault.means(path, symbol):
                self.planned[at] = fault._replace(calls=fault.calls - 1)
                self.planned = [one for one in self.planned if one.calls > 0]
                self.hits[path] = self.hits.get(path, 0) + 1
                return fault
        return None

    def take_old_snapshot(self, symbol: str) -> bytes | None:
        if self.old_left <= 0 or symbol not in self.old_snapshots:
            return None
        self.old_left -= 1
        return self.old_snapshots[symbol]

    def heal(self) -> None:
        self.planned.clear()
        self.old_snapshots.clear()
        self.old_left = self.depth_cap = 0
        self.enums = False


def spoilt_answer(fault: RestFault, honest: Answer) -> Answer:
    """What leaves instead of `honest`."""
    if fault.kind == "slow":
        return honest._replace(delay_s=fault.delay_s)
    if fault.kind == "hang":
        return honest._replace(delay_s=HANG_S)
    if fault.kind == "truncated":
        return honest._replace(body=honest.body[: len(honest.body) // 2])
    if fault.kind == "html":
        return Answer(200, HTML, delay_s=fault.delay_s)
    if fault.kind == "empty":
        return Answer(200, b"", delay_s=fault.delay_s)
    retry = (("Retry-After", str(fault.retry_after_s)),) if fault.retry_after_s else ()
    body = HTML if fault.status == 403 else b'{"code":-1003,"msg":"refused on purpose"}'
    return Answer(fault.status, body, retry, fault.delay_s)


def with_unknown_words(info: dict[str, object]) -> dict[str, object]:
    """exchangeInfo as it may look next year: a filter, a status, a contract type and fields that nobody knows yet."""
    rows = [dict(row) for row in info["symbols"]]  # type: ignore[attr-defined]
    for row in rows:
        row["filters"] = [*row["filters"], {"filterType": "T_PLUS_SELL", "endTime": 0}, {"filterType": "BRAND_NEW"}]
        row["brandNew"] = {"nested": [None, True]}
    odd = dict(rows[-1]) | {"symbol": "ODDUSDT", "status": "SOMETHING_NEW", "contractType": "BRAND_NEW_PERPETUAL"}
    cancel_only = dict(rows[-1]) | {"symbol": "SHUTUSDT", "status": "CANCEL_ONLY"}
    return info | {"symbols": [*rows, odd, cancel_only], "brandNew": []}
