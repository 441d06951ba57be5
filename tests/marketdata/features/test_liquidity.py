"""Kyle's lambda and Amihud by hand."""

import math

import numpy as np
import pytest

from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.liquidity import ols_slope
from tests.marketdata.features.player import play, vector_of
from tests.marketdata.features.tapes import NS_PER_S, Book, Event, Quote, Trade

ON_THE_SECOND = 1_723_161_255 * NS_PER_S
MOVES = [0.01, -0.01, 0.02, 0.0, 0.03]
SIGNED = [1.0, -3.0, 4.0, -1.0, 5.0]


def test_kyle_lambda_equals_the_published_vector() -> None:
    """testvectors.json `kyle`, with intercept."""
    x, y = np.array(SIGNED), np.array(MOVES)
    slope = ols_slope(5.0, float(x.sum()), float(y.sum()), float(x @ x), float(x @ y))
    assert slope == pytest.approx(0.0046875, rel=1e-12)


def test_a_regression_on_one_value_has_no_slope() -> None:
    assert ols_slope(4.0, 12.0, 5.0, 36.0, 15.0) == 0.0
    assert ols_slope(0.0, 0.0, 0.0, 0.0, 0.0) == 0.0


def quote(at_s: float, mid: float) -> Quote:
    mid_e8 = round(mid * 1e8)
    return Quote(ON_THE_SECOND + round(at_s * NS_PER_S), 0, mid_e8 - 1, 1.0, mid_e8 + 1, 1.0)


def trade(at_s: float, qty: float, side: int) -> Trade:
    return Trade(ON_THE_SECOND + round(at_s * NS_PER_S), 0, 100 * 10**8, qty, side)


def pushed_market() -> list[Event]:
    """Each second a taker trades q x 100 and the price moves by 2 bps per 100 of it; twenty quiet seconds first."""
    events: list[Event] = [quote(k, 100.0) for k in range(20)]
    mid = 100.0
    for k in range(40):
        signed = (-1) ** k * (1 + k % 3)
        mid *= math.exp(signed * 2e-4)
        events += [trade(20 + k + 0.2, abs(signed), 1 if signed > 0 else -1), quote(20 + k + 0.3, mid)]
    return [*events, quote(60.0, mid)]


def test_a_price_pushed_by_its_trades_has_that_impact() -> None:
    events = pushed_market()
    vector = dict(zip(FEATURE_NAMES, vector_of(play(events), events[-1].ts_ns), strict=True))
    weights = 2.0 ** (np.arange(40) / 300.0)
    mean_size = np.average([1 + k % 3 for k in range(40)], weights=weights)
    assert vector["kyle_lambda_300s"] == pytest.approx(2.0 * mean_size, rel=1e-6)
    assert vector["amihud_300s"] == pytest.approx(2.0 * mean_size, rel=1e-6)


def test_turnover_sets_trading_against_the_visible_book() -> None:
    levels = tuple(10**10 - k for k in range(10))
    book = Book(0, 0, tuple((p, 1.0) for p in levels), tuple((2 * 10**10 - p + 1, 3.0) for p in levels))
    events: list[Event] = []
    for k in range(100):
        events += [book._replace(ts_ns=ON_THE_SECOND + k * NS_PER_S), trade(k + 0.5, 2.0, 1)]
    vector = dict(zip(FEATURE_NAMES, vector_of(play(events), ON_THE_SECOND + 100 * NS_PER_S), strict=True))
    assert vector["turnover_60s"] == pytest.approx(math.log(60 * 200.0 / 4000.0), abs=0.02)
    bought = 200.0 * sum(2 ** (-(age + 0.5) / 5) for age in range(100))
    assert vector["ask_pressure_5s"] == pytest.approx(math.log(1e-6 + bought / 3000.0), rel=1e-4)
