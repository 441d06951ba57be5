"""A plan of faults from a seed: the same seed gives the same faults at the same moments, on any machine."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class PlannedFault(NamedTuple):
    """One fault: seconds of the exchange's time after its start, the knob's name, and the knob's parameters as text."""

    at_s: float
    fault: str
    parameters: dict[str, str]


FAULTS = (
    "cut", "rst", "close", "notice", "freeze", "stall_all", "stall_one", "drop", "double", "shuffle", "delay", "cross",
    "price", "malformed", "inject", "skip_ids", "old_snapshot", "rest_status", "rest_truncated", "rest_slow",
    "ack_drop", "pause", "skew", "microseconds", "enums", "down", "burst", "trickle", "delist", "del_unknown",
)  # fmt: skip
"""What a schedule draws from."""

_PRICES = ("0", "-1", "NaN", "Infinity", "1e309", "")
_MALFORMED = ("truncated", "garbage", "null", "list", "missing", "extra", "wrong_type", "enum", "nested", "huge_id")
_INJECTED = ("binary", "empty", "text", "fragmented", "big", "number")
_CLOSE_CODES = ("1000", "1001", "1002", "1008", "1009", "1011", "1012", "1013")


def fault_schedule(
    seed: int, duration_s: float, symbols: Sequence[str], *, every_s: float = 20.0, names: Sequence[str] = FAULTS
) -> list[PlannedFault]:
    """Return faults over `duration_s`, about one in `every_s`, each with what heals it again, in order of time."""
    unknown = set(names) - set(FAULTS)
    if unknown or not symbols or every_s <= 0.0:
        raise ValueError(f"no schedule from {sorted(unknown) or 'no symbols'}; faults are {', '.join(FAULTS)}")
    random = Random(f"fault schedule {seed}")
    planned: list[PlannedFault] = []
    at_s = random.expovariate(1.0 / every_s)
    while at_s < duration_s:
        planned += _drawn(random, random.choice(list(names)), round(at_s, 3), random.choice(list(symbols)), every_s)
        at_s += random.expovariate(1.0 / every_s)
    return sorted(planned, key=lambda one: one.at_s)


def _drawn(random: Random, name: str, at_s: float, symbol: str, every_s: float) -> list[PlannedFault]:
    """One fault by its name in `FAULTS`; what lasts is followed by `heal`."""
    depth = f"{symbol.lower()}@depth@100ms"
    lasts_s = round(random.uniform(0.2, 0.6) * every_s, 3)
    count = str(random.randint(1, 5))
    heal = PlannedFault(round(at_s + lasts_s, 3), "heal", {})
    moments: dict[str, tuple[str, dict[str, str]]] = {
        "cut": ("cut", {}),
        "rst": ("rst", {}),
        "close": ("cut", {"code": random.choice(_CLOSE_CODES)}),
        "notice": ("shutdown_notice", {"after_s": str(random.randint(0, 10))}),
        "drop": ("drop", {"stream": depth, "count": count}),
        "double": ("double", {"stream": "*", "count": count}),
        "shuffle": ("shuffle", {"stream": depth, "window": str(random.randint(2, 6))}),
        "cross": ("spoil", {"stream": depth, "kind": "cross"}),
        "price": ("spoil", {"stream": depth, "kind": "price", "text": random.choice(_PRICES)}),
        "malformed": ("spoil", {"stream": "*", "kind": random.choice(_MALFORMED), "count": count}),
        "del_unknown": ("spoil", {"stream": depth, "kind": "del_unknown", "count": count}),
        "inject": ("inject", {"kind": random.choice(_INJECTED), "count": count}),
        "skip_ids": ("skip_ids", {"symbol": symbol, "ids": str(random.choice((-5000, 7, 1000)))}),
        "old_snapshot": ("old_snapshot", {"count": count}),
        "rest_status": ("rest", {"kind": "status", "status": random.choice(("500", "502", "503", "429", "403"))}),
        "rest_truncated": ("rest", {"kind": random.choice(("truncated", "html", "empty")), "count": count}),
        "rest_slow": ("rest", {"kind": "slow", "delay_s": str(random.randint(1, 10)), "count": count}),
        "ack_drop": ("acks", {"kind": "drop", "count": count}),
        "down": ("down", {"for_s": str(random.randint(1, 5))}),
    }
    lasting: dict[str, tuple[str, dict[str, str]]] = {
        "freeze": ("freeze", {}),
        "stall_all": ("stall", {"stream": "*"}),
        "stall_one": ("stall", {"stream": f"{symbol.lower()}@depth@100ms"}),
        "delay": ("delay", {"stream": "*", "by_s": str(random.randint(1, 8))}),
        "pause": ("pause", {}),
        "skew": ("skew", {"by_s": random.choice(("-5", "-2.5", "2.5", "5"))}),
        "microseconds": ("microseconds", {}),
        "enums": ("enums", {}),
        "burst": ("burst", {"factor": "20"}),
        "trickle": ("trickle", {"bytes_per_s": str(random.randint(1, 20) * 1000)}),
        "delist": ("status", {"symbol": symbol, "status": random.choice(("HALT", "BREAK", "CANCEL_ONLY"))}),
    }
    if name in moments:
        return [PlannedFault(at_s, *moments[name])]
    return [PlannedFault(at_s, *lasting[name]), heal]
