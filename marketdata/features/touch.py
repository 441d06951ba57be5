"""The best bid and ask: spread, queue imbalance, microprice, and their slow averages."""

import numpy as np

from marketdata.features.registry import Feature
from marketdata.features.windows import S60, S300, Factors, Record, compiled, held_average, log_ratio, share

PRICE_UNIT = 1e-8

touch_dtype = np.dtype(
    [
        ("has_previous", "i8"),  # 0 after a reset: the next quote starts a new chain of order-flow increments
        ("bid_e8", "i8"),
        ("ask_e8", "i8"),
        ("bid_qty", "f8"),
        ("ask_qty", "f8"),
        ("mid", "f8"),
        ("spread_bps", "f8"),
        ("depth", "f8"),  # mean of both queues, base units
        ("average_spread_bps", "f8"),  # time-weighted, 300 s
        ("average_depth", "f8"),  # time-weighted, 60 s
    ],
    align=True,
)

TOUCH_FEATURES = (
    Feature(
        "spread_bps", "bps", "now", "1e4 * (ask - bid) / mid", "-",
        "The gap between best ask and best bid.", "最优卖价与最优买价之间的差距。", "liquidity",
    ),
    Feature(
        "spread_vs_slow", "log ratio", "now vs 300 s", "ln spread / time-weighted mean spread", "-",
        "Is the spread wider or tighter than usual?", "价差比平时宽还是窄？", "liquidity",
    ),
    Feature(
        "queue_imbalance", "-1..1", "now", "(bid_qty - ask_qty) / (bid_qty + ask_qty)",
        "Gould & Bonart 2016", "Which side of the best quotes holds more size.", "最优报价的哪一侧挂单更多。", "book",
    ),
    Feature(
        "microprice_bps", "bps", "now", "1e4 * (I*ask + (1-I)*bid - mid) / mid, I = bid_qty / (bid_qty + ask_qty)",
        "Stoikov 2018 (weighted mid)", "How far the size-weighted price leans from the mid.",
        "按挂单量加权的价格偏离中间价多少。", "book",
    ),
)  # fmt: skip


@compiled
def touch_step(touch: Record, bid_e8: int, bid_qty: float, ask_e8: int, ask_qty: float, factors: Factors) -> None:
    """Take one best quote in; `factors` decay from the quote before it."""
    touch.average_spread_bps = held_average(touch.average_spread_bps, touch.spread_bps, factors[S300])
    touch.average_depth = held_average(touch.average_depth, touch.depth, factors[S60])
    mid = 0.5 * PRICE_UNIT * (bid_e8 + ask_e8)
    touch.bid_e8, touch.ask_e8 = bid_e8, ask_e8
    touch.bid_qty, touch.ask_qty = bid_qty, ask_qty
    touch.mid = mid
    touch.spread_bps = 1e4 * PRICE_UNIT * (ask_e8 - bid_e8) / mid
    touch.depth = 0.5 * (bid_qty + ask_qty)
    touch.has_previous = 1


@compiled
def average_touch_depth(touch: Record, factors: Factors, seen: float) -> float:
    """Return the time-weighted mean size of the two best queues; `seen` is 1 - 2^(-seen/60 s)."""
    return held_average(touch.average_depth, touch.depth, factors[S60]) / seen


@compiled
def write_touch(touch: Record, factors: Factors, seen_factors: Factors, out: np.ndarray, at: int) -> None:
    average_spread = held_average(touch.average_spread_bps, touch.spread_bps, factors[S300])
    imbalance = share(touch.bid_qty - touch.ask_qty, touch.bid_qty + touch.ask_qty)
    out[at] = touch.spread_bps
    out[at + 1] = log_ratio(touch.spread_bps, average_spread / (1.0 - seen_factors[S300]))
    out[at + 2] = imbalance
    out[at + 3] = 0.5 * imbalance * touch.spread_bps
