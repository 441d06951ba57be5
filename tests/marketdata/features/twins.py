"""Which slow twin belongs to which feature, and what it must have seen before it may speak."""

import math
from collections.abc import Callable

from tests.marketdata.features.reference import NAN, NS_PER_S, View

Twin = Callable[[View], float]


def _with_levels(twin: Twin) -> Twin:
    return lambda view: twin(view) if view.has_levels(10) else NAN


def _quote_twins() -> dict[str, Twin]:
    twins: dict[str, Twin] = {
        "spread_bps": lambda v: v.spreads[-1],
        "spread_vs_slow": View.spread_vs_slow,
        "queue_imbalance": View.queue_imbalance,
        "microprice_bps": View.microprice_bps,
        "ofi_acceleration": lambda v: math.log(2.0) * (v.ofi(5) / 5 - v.ofi(60) / 60),
        "volatility_300s": lambda v: v.volatility(300, 5),
        "volatility_surge_5s_300s": lambda v: v.volatility(5, 1) - v.volatility(300, 5),
        "jump_share_60s": View.jump_share,
        "up_variance_share_60s": View.up_variance_share,
        "range_position_60s": lambda v: v.range_position(1),
        "range_position_300s": lambda v: v.range_position(5),
        "range_60s_bps": lambda v: 1e4 * math.log(max(v.window_mids(1)) / min(v.window_mids(1))),
        "drawdown_60s_bps": lambda v: 1e4 * math.log(v.mid / max(v.window_mids(1))),
    }
    for h in (1, 5, 15, 60):
        twins[f"ofi_{h}s"] = lambda v, h=h: v.ofi(h)
        twins[f"return_{h}s"] = lambda v, h=h: v.log_return(h)
    for h in (5, 15, 60):
        twins[f"volatility_{h}s"] = lambda v, h=h: v.volatility(h, 1)
    return twins


def _book_twins() -> dict[str, Twin]:
    twins: dict[str, Twin] = {
        "depth_imbalance_5": lambda v: v.depth_imbalance(5),
        "depth_imbalance_10": lambda v: v.depth_imbalance(10),
        "deep_mid_bps": _with_levels(View.deep_mid_bps),
        "slope_imbalance": _with_levels(lambda v: math.log(v.slope(v.book.bids) / v.slope(v.book.asks))),
        "ask_reach_bps": _with_levels(lambda v: v.reach_bps(v.book.asks)),
        "bid_reach_bps": _with_levels(lambda v: v.reach_bps(v.book.bids)),
        "depth_vs_slow": _with_levels(lambda v: v.depth_vs_slow("bids", "asks")),
        "ask_depth_vs_slow": _with_levels(lambda v: v.depth_vs_slow("asks")),
    }
    for n in (5, 10):
        for h in (5, 15, 60):
            twins[f"mlofi{n}_{h}s"] = lambda v, n=n, h=h: v.mlofi(n, h)
    return twins


def _trade_twins() -> dict[str, Twin]:
    twins: dict[str, Twin] = {
        "buy_surge_5s_300s": lambda v: v.surge(v.buys, 5, 300),
        "buy_surge_60s_1800s": lambda v: v.surge(v.buys, 60, 1800),
        "large_print_share_60s": lambda v: v.large_share(signed=False),
        "large_print_imbalance_60s": lambda v: v.large_share(signed=True),
        "rush_intensity_15s": View.rush_intensity,
        "rush_imbalance_15s": View.rush_imbalance,
        "trade_size_surge_15s_300s": View.trade_size_surge,
        "vpin": View.vpin,
        "trade_age_s": lambda v: min((v.now - v.trades[-1].ts_ns) / NS_PER_S, 60.0),
    }
    for h in (1, 5, 15, 60):
        twins[f"trade_imbalance_{h}s"] = lambda v, h=h: v.trade_imbalance(h)
        twins[f"trade_intensity_{h}s"] = lambda v, h=h: v.intensity(h)
    for fast, slow in ((5, 60), (5, 300), (60, 1800)):
        twins[f"intensity_surge_{fast}s_{slow}s"] = lambda v, f=fast, s=slow: v.surge(v.ones, f, s)
        twins[f"volume_surge_{fast}s_{slow}s"] = lambda v, f=fast, s=slow: v.surge(v.notionals, f, s)
    return twins


TWINS: dict[str, tuple[Callable[[View], bool], Twin]] = {
    **{name: (lambda v: v.quote_ready, twin) for name, twin in _quote_twins().items()},
    **{name: (lambda v: v.book_ready, twin) for name, twin in _book_twins().items()},
    **{name: (lambda v: v.trade_ready, twin) for name, twin in _trade_twins().items()},
    "vwap_deviation_60s": (lambda v: v.trade_ready and v.quote_ready, lambda v: v.vwap_deviation(60)),
    "vwap_deviation_300s": (lambda v: v.trade_ready and v.quote_ready, lambda v: v.vwap_deviation(300)),
    "kyle_lambda_300s": (lambda v: v.trade_ready and v.quote_ready, View.kyle_lambda),
    "amihud_300s": (lambda v: v.trade_ready and v.quote_ready, View.amihud),
    "turnover_60s": (lambda v: v.trade_ready and v.book_ready, View.turnover),
    "ask_pressure_5s": (lambda v: v.trade_ready and v.book_ready, View.ask_pressure),
}


def reference_value(name: str, view: View) -> float:
    is_ready, twin = TWINS[name]
    return twin(view) if is_ready(view) else NAN
