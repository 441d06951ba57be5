"""What the takers do: signed flow, how often and how big they trade, rush orders, large prints, VWAP, VPIN."""

import math

import numpy as np

from marketdata.features.registry import Feature
from marketdata.features.windows import (
    FLOOR,
    N_HALF_LIVES,
    S1,
    S5,
    S15,
    S60,
    S300,
    S1800,
    TINY,
    Factors,
    Record,
    add_to_row,
    compiled,
    decay_table,
    log_ratio,
    share,
)

COUNT, BUY, SELL, QTY, RUSH, RUSH_SIGNED, LARGE, LARGE_SIGNED = range(8)
N_SERIES = 8
RUSH_NS = 1_000_000
LARGE_PRINT = 5.0
VPIN_BUCKETS = 20
VPIN_BUCKET_S = 5.0
PRIOR_TRADES = 0.1
"""A tenth of an average trade is added to a window's volume, so that an empty window's imbalance fades to 0."""
MAX_TRADE_AGE_S = 60.0

trade_flow_dtype = np.dtype(
    [
        ("sums", "f8", (N_SERIES, N_HALF_LIVES)),  # notionals in quote units, QTY in base units
        ("run_side", "i8"),
        ("run_fills", "i8"),
        ("run_ns", "i8"),
        ("run_notional", "f8"),
        ("bucket_size", "f8"),
        ("bucket_buy", "f8"),
        ("bucket_sell", "f8"),
        ("buckets_filled", "i8"),
        ("bucket_gaps", "f8", (VPIN_BUCKETS,)),
        ("bucket_volumes", "f8", (VPIN_BUCKETS,)),
    ],
    align=True,
)


def _imbalance_feature(seconds: int) -> Feature:
    return Feature(
        f"trade_imbalance_{seconds}s", "-1..1", f"half-life {seconds} s",
        f"(B - S) / (B + S + {PRIOR_TRADES} * mean trade of 300 s), decayed taker buy and sell notional",
        "Cont, Kukanov & Stoikov 2014", f"Are takers buying or selling, last {seconds} s?",
        f"最近{seconds}秒主动买入多还是主动卖出多？", "trade_flow",
    )  # fmt: skip


def _intensity_feature(seconds: int) -> Feature:
    return Feature(
        f"trade_intensity_{seconds}s", "ln trades per s", f"half-life {seconds} s",
        f"ln({FLOOR} + decayed trades per second)", "Hawkes 1971 (exponential kernel)",
        f"How often trades happen, last {seconds} s.", f"最近{seconds}秒成交的频率。", "trade_flow",
    )  # fmt: skip


def _surge_feature(name: str, what: str, en: str, zh: str, fast: int, slow: int) -> Feature:
    return Feature(
        f"{name}_{fast}s_{slow}s", "log ratio", f"half-life {fast} s vs {slow} s",
        f"ln rate of {what} at {fast} s / rate at {slow} s, softened by {FLOOR} of the slow rate",
        "Kamps & Kleinberg 2018", f"{en}, last {fast} s against {slow} s.",
        f"{zh}：最近{fast}秒与{slow}秒相比。", "trade_flow",
    )  # fmt: skip


TRADE_FEATURES = (
    _imbalance_feature(1),
    _imbalance_feature(5),
    _imbalance_feature(15),
    _imbalance_feature(60),
    _intensity_feature(1),
    _intensity_feature(5),
    _intensity_feature(15),
    _intensity_feature(60),
    _surge_feature("intensity_surge", "trades", "Number of trades", "成交笔数", 5, 60),
    _surge_feature("intensity_surge", "trades", "Number of trades", "成交笔数", 5, 300),
    _surge_feature("intensity_surge", "trades", "Number of trades", "成交笔数", 60, 1800),
    _surge_feature("volume_surge", "traded notional", "Traded value", "成交额", 5, 60),
    _surge_feature("volume_surge", "traded notional", "Traded value", "成交额", 5, 300),
    _surge_feature("volume_surge", "traded notional", "Traded value", "成交额", 60, 1800),
    _surge_feature("buy_surge", "taker buy notional", "Value bought by takers", "主动买入额", 5, 300),
    _surge_feature("buy_surge", "taker buy notional", "Value bought by takers", "主动买入额", 60, 1800),
    Feature(
        "large_print_share_60s", "0..1", "half-life 60 s",
        f"notional of trades above {LARGE_PRINT:g} mean trades (300 s, before the trade)"
        f" / (notional + {PRIOR_TRADES} * mean trade)", "-",
        "How much of the traded value came in very large trades.", "成交额中大单所占的比例。", "trade_flow",
    ),
    Feature(
        "large_print_imbalance_60s", "-1..1", "half-life 60 s",
        f"signed notional of trades above {LARGE_PRINT:g} mean trades (300 s, before the trade)"
        f" / (notional + {PRIOR_TRADES} * mean trade)", "-",
        "Do the very large trades buy or sell?", "大单是买入还是卖出？", "trade_flow",
    ),
    Feature(
        "rush_intensity_15s", "ln rush orders per s", "half-life 15 s",
        f"ln({FLOOR} + decayed rush orders per second); rush order = 2 or more same-side fills in a row,"
        " each within 1 ms (receive time) of the one before", "La Morgia et al. 2020",
        "How often someone buys or sells in a hurry through several orders.",
        "有人急于吃掉多笔挂单的频率。", "trade_flow",
    ),
    Feature(
        "rush_imbalance_15s", "-1..1", "half-life 15 s",
        f"signed notional of rush orders / (notional + {PRIOR_TRADES} * mean trade of 300 s)",
        "La Morgia et al. 2020", "Do the hurried orders buy or sell?", "急单是买入还是卖出？", "trade_flow",
    ),
    Feature(
        "trade_size_surge_15s_300s", "log ratio", "half-life 15 s vs 300 s",
        f"ln mean trade notional at 15 s ({PRIOR_TRADES} slow mean trades added) / at 300 s", "-",
        "Are trades bigger than usual?", "单笔成交是否比平时大？", "trade_flow",
    ),
    Feature(
        "vpin", "0..1", f"{VPIN_BUCKETS} equal-volume buckets of about {VPIN_BUCKET_S:g} s",
        "sum |B - S| / sum (B + S) over the full buckets and the open one; true taker sides, trades split at borders",
        "Easley, Lopez de Prado & O'Hara 2012", "How one-sided recent trading was, whichever side.",
        "最近的成交有多偏向某一方（不论买卖）。", "trade_flow",
    ),
    Feature(
        "trade_age_s", "s", "now", f"seconds since the last trade, at most {MAX_TRADE_AGE_S:g}", "-",
        "How long ago the last trade was.", "距离上一笔成交过去多久。", "trade_flow",
    ),
)  # fmt: skip
VWAP_FEATURES = (
    Feature(
        "vwap_deviation_60s", "bps", "half-life 60 s", "1e4 * (mid / decayed VWAP - 1)",
        "Bieganowski & Slepaczuk 2026", "How far the price is above its recent average trade.",
        "价格高于近期平均成交价多少（60秒）。", "trade_flow",
    ),
    Feature(
        "vwap_deviation_300s", "bps", "half-life 300 s", "1e4 * (mid / decayed VWAP - 1)",
        "Bieganowski & Slepaczuk 2026", "How far the price is above its average trade of some minutes.",
        "价格高于近几分钟平均成交价多少。", "trade_flow",
    ),
)  # fmt: skip


@compiled
def volume(sums: np.ndarray, k: int) -> float:
    return float(sums[BUY, k] + sums[SELL, k])


@compiled
def add_signed(sums: np.ndarray, row: int, signed_row: int, notional: float, side: int) -> None:
    add_to_row(sums, row, notional)
    add_to_row(sums, signed_row, side * notional)


@compiled
def trade_flow_step(
    flow: Record, ts_ns: int, price: float, qty: float, side: int, factors: Factors, seconds: Factors
) -> None:
    """Take one trade in; `factors` decay from the trade before it, `seconds` are the windows seen so far."""
    sums = flow.sums
    decay_table(sums, factors)
    notional = price * qty
    is_large = sums[COUNT, S300] > TINY and notional * sums[COUNT, S300] > LARGE_PRINT * volume(sums, S300)
    add_to_row(sums, COUNT, 1.0)
    add_to_row(sums, BUY if side > 0 else SELL, notional)
    add_to_row(sums, QTY, qty)
    if is_large:
        add_signed(sums, LARGE, LARGE_SIGNED, notional, side)
    rush_step(flow, ts_ns, notional, side)
    vpin_step(flow, notional, side, VPIN_BUCKET_S * volume(sums, S300) / seconds[S300])


@compiled
def rush_step(flow: Record, ts_ns: int, notional: float, side: int) -> None:
    """Count a run of fast same-side fills once, when its second fill comes, and its notional from the first fill on."""
    goes_on = flow.run_fills > 0 and side == flow.run_side and ts_ns - flow.run_ns <= RUSH_NS
    flow.run_fills = flow.run_fills + 1 if goes_on else 1
    if flow.run_fills == 2:
        add_to_row(flow.sums, RUSH, 1.0)
        add_to_row(flow.sums, RUSH_SIGNED, side * flow.run_notional)
    if flow.run_fills >= 2:
        add_to_row(flow.sums, RUSH_SIGNED, side * notional)
    flow.run_side = side
    flow.run_ns = ts_ns
    flow.run_notional = notional


@compiled
def vpin_step(flow: Record, notional: float, side: int, next_size: float) -> None:
    """Pour one trade into the equal-volume buckets, splitting it at their borders.

    A bucket keeps the size it was opened with; `next_size` is the size of buckets opened now.
    """
    if flow.bucket_size <= 0.0:
        flow.bucket_size = next_size
    left = notional
    for _ in range(VPIN_BUCKETS + 1):
        room = flow.bucket_size - flow.bucket_buy - flow.bucket_sell
        poured = min(left, room)
        if side > 0:
            flow.bucket_buy += poured
        else:
            flow.bucket_sell += poured
        if left < room:
            return
        left -= poured
        close_bucket(flow, next_size)
    # More than a ring of buckets from one trade: the ring is all one-sided already, keep only the open part.
    if side > 0:
        flow.bucket_buy = left % next_size
    else:
        flow.bucket_sell = left % next_size


@compiled
def close_bucket(flow: Record, next_size: float) -> None:
    slot = flow.buckets_filled % VPIN_BUCKETS
    flow.bucket_gaps[slot] = abs(flow.bucket_buy - flow.bucket_sell)
    flow.bucket_volumes[slot] = flow.bucket_buy + flow.bucket_sell
    flow.buckets_filled += 1
    flow.bucket_size = next_size
    flow.bucket_buy = 0.0
    flow.bucket_sell = 0.0


@compiled
def vpin(flow: Record) -> float:
    gaps = abs(flow.bucket_buy - flow.bucket_sell)
    volumes = flow.bucket_buy + flow.bucket_sell
    for slot in range(min(flow.buckets_filled, VPIN_BUCKETS)):
        gaps += flow.bucket_gaps[slot]
        volumes += flow.bucket_volumes[slot]
    return share(gaps, volumes)


@compiled
def part_of_volume(part: float, sums: np.ndarray, k: int, factors: Factors, prior: float) -> float:
    """Return a notional (as of the last trade) as a part of the window's notional, fading when the window empties."""
    return share(part * factors[k], volume(sums, k) * factors[k] + prior)


@compiled
def rate(sums: np.ndarray, row: int, k: int, factors: Factors, seconds: Factors) -> float:
    return float(sums[row, k] * factors[k] / seconds[k])


@compiled
def volume_rate(sums: np.ndarray, k: int, factors: Factors, seconds: Factors) -> float:
    return volume(sums, k) * factors[k] / seconds[k]


@compiled
def rate_surge(sums: np.ndarray, row: int, fast: int, slow: int, factors: Factors, seconds: Factors) -> float:
    return log_ratio(rate(sums, row, fast, factors, seconds), rate(sums, row, slow, factors, seconds))


@compiled
def volume_surge(sums: np.ndarray, fast: int, slow: int, factors: Factors, seconds: Factors) -> float:
    return log_ratio(volume_rate(sums, fast, factors, seconds), volume_rate(sums, slow, factors, seconds))


@compiled
def write_trade_flow(flow: Record, age_ns: int, factors: Factors, seconds: Factors, out: np.ndarray, at: int) -> None:
    sums = flow.sums
    mean_trade = share(volume(sums, S300), sums[COUNT, S300])
    prior = PRIOR_TRADES * mean_trade
    for j, k in enumerate((S1, S5, S15, S60)):
        out[at + j] = part_of_volume(sums[BUY, k] - sums[SELL, k], sums, k, factors, prior)
        out[at + 4 + j] = math.log(FLOOR + rate(sums, COUNT, k, factors, seconds))
    out[at + 8] = rate_surge(sums, COUNT, S5, S60, factors, seconds)
    out[at + 9] = rate_surge(sums, COUNT, S5, S300, factors, seconds)
    out[at + 10] = rate_surge(sums, COUNT, S60, S1800, factors, seconds)
    out[at + 11] = volume_surge(sums, S5, S60, factors, seconds)
    out[at + 12] = volume_surge(sums, S5, S300, factors, seconds)
    out[at + 13] = volume_surge(sums, S60, S1800, factors, seconds)
    out[at + 14] = rate_surge(sums, BUY, S5, S300, factors, seconds)
    out[at + 15] = rate_surge(sums, BUY, S60, S1800, factors, seconds)
    out[at + 16] = part_of_volume(sums[LARGE, S60], sums, S60, factors, prior)
    out[at + 17] = part_of_volume(sums[LARGE_SIGNED, S60], sums, S60, factors, prior)
    out[at + 18] = math.log(FLOOR + rate(sums, RUSH, S15, factors, seconds))
    out[at + 19] = part_of_volume(sums[RUSH_SIGNED, S15], sums, S15, factors, prior)
    fast_volume = volume(sums, S15) * factors[S15] + prior
    out[at + 20] = log_ratio(fast_volume / (sums[COUNT, S15] * factors[S15] + PRIOR_TRADES), mean_trade)
    out[at + 21] = vpin(flow)
    out[at + 22] = min(age_ns * 1e-9, MAX_TRADE_AGE_S)


@compiled
def write_vwap(flow: Record, mid: float, out: np.ndarray, at: int) -> None:
    for j, k in enumerate((S60, S300)):
        value = volume(flow.sums, k)
        out[at + j] = 1e4 * (mid * flow.sums[QTY, k] / value - 1.0) if value > TINY else 0.0
