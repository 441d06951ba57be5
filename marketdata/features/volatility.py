"""How the mid moves: returns, realised variance, jumps, range; from rings of 250 ms, 1 s and 5 s buckets."""

import math

import numpy as np

from marketdata.features.registry import Feature
from marketdata.features.windows import FLOOR, Record, compiled, ring_fill

NS_PER_S = 1_000_000_000
QUARTER_NS = NS_PER_S // 4
SECOND_NS = NS_PER_S
FIVE_NS = 5 * NS_PER_S
N_QUARTERS = 256  # just over 60 s
N_SECONDS = 64
N_FIVES = 64  # just over 300 s
PER_SECOND = 4

prices_dtype = np.dtype(
    [
        ("has_mid", "i8"),
        ("mid", "f8"),
        ("first_ns", "i8"),
        ("first_log", "f8"),
        ("last_ns", "i8"),
        ("quarter_logs", "f8", (N_QUARTERS,)),  # ln mid at the end of each bucket
        ("five_logs", "f8", (N_FIVES,)),
        ("second_highs", "f8", (N_SECONDS,)),  # includes the mid carried into the bucket
        ("second_lows", "f8", (N_SECONDS,)),
        ("five_highs", "f8", (N_FIVES,)),
        ("five_lows", "f8", (N_FIVES,)),
    ],
    align=True,
)


def _return_feature(seconds: int) -> Feature:
    return Feature(
        f"return_{seconds}s", "bps", f"{seconds} s",
        f"1e4 * ln(mid / mid known before the 250 ms mark at or before t - {seconds} s), or since the first mid", "-",
        f"How far the price moved in {seconds} s.", f"最近{seconds}秒价格变动了多少。", "price",
    )  # fmt: skip


def _volatility_feature(seconds: int, step: int) -> Feature:
    return Feature(
        f"volatility_{seconds}s", "ln bps per sqrt(s)", f"{seconds} s",
        f"ln({FLOOR} + 1e4 * sqrt(sum r^2 / seconds)), r over clock buckets of {step} s, the open one included",
        "Andersen & Bollerslev 1998", f"How wildly the price moved in {seconds} s.",
        f"最近{seconds}秒价格波动的剧烈程度。", "price",
    )  # fmt: skip


PRICE_FEATURES = (
    _return_feature(1),
    _return_feature(5),
    _return_feature(15),
    _return_feature(60),
    _volatility_feature(5, 1),
    _volatility_feature(15, 1),
    _volatility_feature(60, 1),
    _volatility_feature(300, 5),
    Feature(
        "volatility_surge_5s_300s", "log ratio", "5 s vs 300 s", "volatility_5s - volatility_300s", "-",
        "Is the price moving more wildly than usual?", "价格波动是否比平时剧烈？", "price",
    ),
    Feature(
        "jump_share_60s", "0..1", "60 s", "max(0, 1 - BV / RV), BV = pi/2 * n/(n-1) * sum |r_i||r_(i-1)|, 1 s returns",
        "Barndorff-Nielsen & Shephard 2004", "How much of the movement came in single jumps.",
        "价格变动中有多少来自跳跃。", "price",
    ),
    Feature(
        "up_variance_share_60s", "0..1", "60 s", "sum r^2 over r > 0 / sum r^2, 1 s returns, 0.5 when nothing moved",
        "Barndorff-Nielsen, Kinnebrock & Shephard 2010", "How much of the movement went up.",
        "价格变动中向上部分的占比。", "price",
    ),
    Feature(
        "range_position_60s", "0..1", "60 s", "(mid - low) / (high - low) over 60 clock seconds, 0.5 when flat", "-",
        "Where the price stands between the low and high of 60 s.", "价格在最近60秒高低点之间的位置。", "price",
    ),
    Feature(
        "range_position_300s", "0..1", "300 s",
        "(mid - low) / (high - low) over 60 clock 5 s buckets, 0.5 when flat", "-",
        "Where the price stands between the low and high of 5 minutes.", "价格在最近5分钟高低点之间的位置。", "price",
    ),
    Feature(
        "range_60s_bps", "bps", "60 s", "1e4 * ln(high / low) over 60 clock seconds", "Parkinson 1980",
        "The distance between the high and the low of 60 s.", "最近60秒最高与最低价的距离。", "price",
    ),
    Feature(
        "drawdown_60s_bps", "bps", "60 s", "1e4 * ln(mid / high) over 60 clock seconds", "-",
        "How far the price fell from its high of 60 s.", "价格较最近60秒高点回落多少。", "price",
    ),
)  # fmt: skip


@compiled
def start_prices(prices: Record, ts_ns: int, mid: float) -> None:
    prices.has_mid = 1
    prices.first_ns = ts_ns
    prices.first_log = math.log(mid)
    open_extremes(prices, ts_ns // SECOND_NS, ts_ns // FIVE_NS, mid)


@compiled
def open_extremes(prices: Record, second: int, five: int, mid: float) -> None:
    ring_fill(prices.second_highs, second, second, mid)
    ring_fill(prices.second_lows, second, second, mid)
    ring_fill(prices.five_highs, five, five, mid)
    ring_fill(prices.five_lows, five, five, mid)


@compiled
def roll_prices(prices: Record, ts_ns: int) -> None:
    """Close the buckets that ended since the last mid; a bucket without a quote holds the mid before it."""
    quarter = ts_ns // QUARTER_NS
    last_quarter = prices.last_ns // QUARTER_NS
    if quarter == last_quarter:
        return
    log_mid = math.log(prices.mid)
    ring_fill(prices.quarter_logs, last_quarter, quarter - 1, log_mid)
    second, last_second = ts_ns // SECOND_NS, prices.last_ns // SECOND_NS
    ring_fill(prices.second_highs, last_second + 1, second, prices.mid)
    ring_fill(prices.second_lows, last_second + 1, second, prices.mid)
    five, last_five = ts_ns // FIVE_NS, prices.last_ns // FIVE_NS
    ring_fill(prices.five_logs, last_five, five - 1, log_mid)
    ring_fill(prices.five_highs, last_five + 1, five, prices.mid)
    ring_fill(prices.five_lows, last_five + 1, five, prices.mid)


@compiled
def price_step(prices: Record, ts_ns: int, mid: float) -> None:
    if not prices.has_mid:
        start_prices(prices, ts_ns, mid)
    else:
        roll_prices(prices, ts_ns)
    prices.mid = mid
    prices.last_ns = ts_ns
    second = ts_ns // SECOND_NS % N_SECONDS
    five = ts_ns // FIVE_NS % N_FIVES
    prices.second_highs[second] = max(prices.second_highs[second], mid)
    prices.second_lows[second] = min(prices.second_lows[second], mid)
    prices.five_highs[five] = max(prices.five_highs[five], mid)
    prices.five_lows[five] = min(prices.five_lows[five], mid)


@compiled
def log_at_end_of(logs: np.ndarray, bucket: int, bucket_ns: int, prices: Record, log_mid: float) -> float:
    """Return ln mid as known at the end of a bucket: the first mid before the ring began, the last one after it."""
    if bucket >= prices.last_ns // bucket_ns:
        return log_mid
    if bucket < prices.first_ns // bucket_ns:
        return float(prices.first_log)
    return float(logs[bucket % logs.shape[0]])


@compiled
def log_return(prices: Record, ts_ns: int, span_s: int, log_mid: float) -> float:
    bucket = (ts_ns - span_s * NS_PER_S) // QUARTER_NS - 1
    return log_mid - log_at_end_of(prices.quarter_logs, bucket, QUARTER_NS, prices, log_mid)


@compiled
def mean_square(total: float, n: int, bucket: int, bucket_ns: int, first_ns: int) -> float:
    """Return the variance per second of `n` buckets, or of those since the first mid if they are fewer."""
    seen = min(n, bucket - first_ns // bucket_ns + 1)
    return total / (seen * (bucket_ns // NS_PER_S))


@compiled
def log_volatility(variance: float) -> float:
    return math.log(FLOOR + 1e4 * math.sqrt(variance))


@compiled
def jump_share(realised: float, bipower_sum: float, n: int) -> float:
    """Return max(0, 1 - BV/RV) of `n` returns; `bipower_sum` is the plain sum of |r_i||r_(i-1)|."""
    if realised <= 0.0 or n < 2:
        return 0.0
    return max(0.0, 1.0 - 0.5 * math.pi * n / (n - 1.0) * bipower_sum / realised)


@compiled
def write_seconds(prices: Record, ts_ns: int, log_mid: float, out: np.ndarray, at: int) -> None:
    """Write what needs the last 60 one-second returns, newest first in one pass."""
    now = ts_ns // SECOND_NS
    total = up = bipower = newer = 0.0
    later = log_mid
    first = prices.first_ns
    for n in range(1, 61):
        end = PER_SECOND * (now - n + 1) - 1
        earlier = log_at_end_of(prices.quarter_logs, end, QUARTER_NS, prices, log_mid)
        r = later - earlier
        later = earlier
        total += r * r
        if r > 0.0:
            up += r * r
        bipower += abs(r) * newer
        newer = abs(r)
        if n == 5:
            out[at] = log_volatility(mean_square(total, 5, now, SECOND_NS, first))
        elif n == 15:
            out[at + 1] = log_volatility(mean_square(total, 15, now, SECOND_NS, first))
    out[at + 2] = log_volatility(mean_square(total, 60, now, SECOND_NS, first))
    out[at + 5] = jump_share(total, bipower, min(60, now - first // SECOND_NS + 1))
    out[at + 6] = up / total if total > 0.0 else 0.5


@compiled
def slow_variance(prices: Record, ts_ns: int, log_mid: float) -> float:
    """Return the variance per second of the last 60 five-second returns."""
    now = ts_ns // FIVE_NS
    total = 0.0
    later = log_mid
    for n in range(1, 61):
        earlier = log_at_end_of(prices.five_logs, now - n, FIVE_NS, prices, log_mid)
        r = later - earlier
        later = earlier
        total += r * r
    return mean_square(total, 60, now, FIVE_NS, prices.first_ns)


@compiled
def extremes(highs: np.ndarray, lows: np.ndarray, prices: Record, ts_ns: int, bucket_ns: int) -> tuple[float, float]:
    """Return the highest and lowest mid of the last 60 clock buckets, the open one included."""
    newest = min(ts_ns // bucket_ns, prices.last_ns // bucket_ns)
    oldest = max(ts_ns // bucket_ns - 59, prices.first_ns // bucket_ns)
    high = low = prices.mid
    for bucket in range(oldest, newest + 1):
        high = max(high, highs[bucket % highs.shape[0]])
        low = min(low, lows[bucket % lows.shape[0]])
    return high, low


@compiled
def range_position(mid: float, high: float, low: float) -> float:
    return (mid - low) / (high - low) if high > low else 0.5


@compiled
def write_prices(prices: Record, ts_ns: int, out: np.ndarray, at: int) -> None:
    log_mid = math.log(prices.mid)
    for j, seconds in enumerate((1, 5, 15, 60)):
        out[at + j] = 1e4 * log_return(prices, ts_ns, seconds, log_mid)
    write_seconds(prices, ts_ns, log_mid, out, at + 4)
    out[at + 7] = log_volatility(slow_variance(prices, ts_ns, log_mid))
    out[at + 8] = out[at + 4] - out[at + 7]
    high, low = extremes(prices.second_highs, prices.second_lows, prices, ts_ns, SECOND_NS)
    out[at + 11] = range_position(prices.mid, high, low)
    out[at + 13] = 1e4 * math.log(high / low)
    out[at + 14] = 1e4 * math.log(prices.mid / high)
    high, low = extremes(prices.five_highs, prices.five_lows, prices, ts_ns, FIVE_NS)
    out[at + 12] = range_position(prices.mid, high, low)
