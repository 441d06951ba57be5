"""Feature rows made by hand: what a pipeline would hand to a policy."""

from typing import Any

import numpy as np

from marketdata.features.feature_set import N_FEATURES
from marketdata.features.loop import context_dtype
from marketdata.features.replay import GRID_NS, FeatureRows
from tests.marketdata.lines import START_NS

GOOD_CONTEXT = {
    "bid_e8": 99_95000000,
    "ask_e8": 100_05000000,
    "spread_bps": 2.0,
    "depth_bid_10bps": 50_000.0,
    "depth_ask_10bps": 50_000.0,
    "book_age_ns": 50_000_000,
    "quote_age_ns": 20_000_000,
    "trade_age_ns": 20_000_000,
    "last_price_e8": 100_00000000,
    "synced": 1,
    "warm": 1,
}


def rows_of(n: int, *, symbol: int = 0, step_ns: int = GRID_NS, **changes: Any) -> FeatureRows:
    """Return `n` good rows of one symbol; `changes` replaces context fields by a value or one value per row."""
    context = np.zeros(n, context_dtype)
    for name, value in (GOOD_CONTEXT | changes).items():
        context[name] = value
    return FeatureRows(
        START_NS + step_ns * np.arange(n),
        np.full(n, symbol, np.int32),
        np.zeros((n, N_FEATURES)),
        context,
        np.full((n, 1), 0.5),
        np.full((n, 1), 0.7),
    )
