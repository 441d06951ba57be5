"""The strategies that are there from the first start: A-tier few and sure, B-tier more and looser."""

from signals.decision import StrategyParameters

PRESETS = (
    StrategyParameters(
        name="a-tier",
        tier="A",
        p_min=0.6,
        utility_min_bps=10.0,
        notional_quote=1_000.0,
        max_spread_bps=8.0,
        min_depth_ratio=2.0,
        cooldown_s=120.0,
    ),
    StrategyParameters(
        name="b-tier",
        tier="B",
        p_min=0.45,
        utility_min_bps=2.0,
        notional_quote=1_000.0,
        max_spread_bps=15.0,
        min_depth_ratio=1.0,
        cooldown_s=60.0,
    ),
)
