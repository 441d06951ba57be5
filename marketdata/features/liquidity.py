"""What it costs to move the price: Kyle's lambda, Amihud, and trading set against the book that must absorb it."""

import math

import numpy as np

from marketdata.features.registry import Feature
from marketdata.features.trade_flow import BUY, volume
from marketdata.features.windows import LN_2, S5, S60, Factors, Record, compiled, share

NS_PER_S = 1_000_000_000
N_MOMENTS = 7
COUNT, X, Y, XX, XY, SIZE, RATIO = range(N_MOMENTS)
DEGENERATE = 1e-9
"""A regression whose x varies by less than this part of its mean square says nothing: slope 0."""

impact_dtype = np.dtype(
    [
        ("second", "i8"),  # the open clock second
        ("sums_end_second", "i8"),  # the decayed moments are as of the end of this second
        ("trades", "i8"),  # in the open second
        ("open_mid", "f8"),
        ("mid", "f8"),
        ("signed", "f8"),
        ("notional", "f8"),
        ("moments", "f8", (N_MOMENTS,)),
    ],
    align=True,
)

_SECONDS = (
    "clock seconds with trades, once closed by a later event, weigh 2^(-age/300 s); "
    "x signed notional, y mid move in bps"
)
IMPACT_FEATURES = (
    Feature(
        "kyle_lambda_300s", "bps", "half-life 300 s",
        f"OLS slope of y on x (with intercept) * mean notional of a second; {_SECONDS}", "Kyle 1985",
        "How far one usual second of buying pushes the price.", "平常一秒的买入能推动价格多少。", "liquidity",
    ),
    Feature(
        "amihud_300s", "bps", "half-life 300 s", f"mean(|y| / notional) * mean notional of a second; {_SECONDS}",
        "Amihud 2002", "How far the price moves for one usual second of trading.",
        "平常一秒的成交会让价格变动多少。", "liquidity",
    ),
)  # fmt: skip
TURNOVER_FEATURES = (
    Feature(
        "turnover_60s", "log ratio", "half-life 60 s", "ln(1e-6 + notional per minute / quote value of 10 levels)", "-",
        "How often a minute's trading would eat the visible book.", "一分钟的成交额相当于几倍的可见挂单。", "liquidity",
    ),
    Feature(
        "ask_pressure_5s", "log ratio", "half-life 5 s",
        "ln(1e-6 + decayed taker buy notional / quote value of 10 asks)", "-",
        "How much of the visible asks the latest buying would eat.",
        "最近的买入相当于可见卖单的多大部分。", "liquidity",
    ),
)  # fmt: skip


@compiled
def second_decay(elapsed_s: int) -> float:
    return math.exp(elapsed_s * (-LN_2 / 300.0))


@compiled
def add_second(moments: np.ndarray, x: float, y: float, notional: float, factor: float) -> None:
    """Add one closed second to the moments, after decaying them by `factor`."""
    for m in range(N_MOMENTS):
        moments[m] *= factor
    moments[COUNT] += 1.0
    moments[X] += x
    moments[Y] += y
    moments[XX] += x * x
    moments[XY] += x * y
    moments[SIZE] += notional
    moments[RATIO] += abs(y) / notional


@compiled
def roll_impact(impact: Record, ts_ns: int) -> None:
    """Close the open second when time has left it."""
    second = ts_ns // NS_PER_S
    if second == impact.second:
        return
    if impact.trades > 0 and impact.open_mid > 0.0:
        move_bps = 1e4 * math.log(impact.mid / impact.open_mid)
        factor = second_decay(impact.second - impact.sums_end_second)
        add_second(impact.moments, impact.signed, move_bps, impact.notional, factor)
        impact.sums_end_second = impact.second
    impact.second = second
    impact.trades = 0
    impact.open_mid = impact.mid
    impact.signed = 0.0
    impact.notional = 0.0


@compiled
def impact_on_mid(impact: Record, ts_ns: int, mid: float) -> None:
    roll_impact(impact, ts_ns)
    impact.mid = mid


@compiled
def impact_on_trade(impact: Record, ts_ns: int, notional: float, side: int) -> None:
    roll_impact(impact, ts_ns)
    impact.trades += 1
    impact.signed += side * notional
    impact.notional += notional


@compiled
def ols_slope(count: float, x: float, y: float, xx: float, xy: float) -> float:
    """Return the least-squares slope with intercept, from sums; 0 when x does not vary."""
    spread = count * xx - x * x
    if spread <= DEGENERATE * count * xx:
        return 0.0
    return (count * xy - x * y) / spread


@compiled
def write_impact(impact: Record, out: np.ndarray, at: int) -> None:
    """Write from the closed seconds. Slope and ratio are free of the decay since then: it cancels."""
    m = impact.moments
    mean_notional = share(m[SIZE], m[COUNT])
    out[at] = ols_slope(m[COUNT], m[X], m[Y], m[XX], m[XY]) * mean_notional
    out[at + 1] = share(m[RATIO], m[COUNT]) * mean_notional


@compiled
def write_turnover(flow: Record, book: Record, factors: Factors, seconds: Factors, out: np.ndarray, at: int) -> None:
    sums = flow.sums
    depth = book.bid_depth + book.ask_depth
    out[at] = math.log(1e-6 + share(60.0 * volume(sums, S60) * factors[S60] / seconds[S60], depth))
    out[at + 1] = math.log(1e-6 + share(sums[BUY, S5] * factors[S5], book.ask_depth))
