"""Features of bars alone: hand-made bars, no look ahead, and a market that is what its coins do."""

import numpy as np
import pytest

from marketdata.features.bars import BASE_MIN, N_OWN, bar_features, market_features


def random_bars(n: int, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    open_ = np.r_[1.0, close[:-1]]
    high = np.maximum(open_, close) * (1 + rng.exponential(5e-4, n))
    low = np.minimum(open_, close) * (1 - rng.exponential(5e-4, n))
    return open_, high, low, close, rng.exponential(10.0, n)


def test_a_row_reads_closed_bars_only() -> None:
    bars = random_bars(2500, 1)
    whole = bar_features(*bars)
    assert whole.shape == (2500, N_OWN) and np.isfinite(whole[BASE_MIN:]).all() and np.isnan(whole[:BASE_MIN]).all()
    for cut in (1500, 1999, 2400):
        past = bar_features(*(column[:cut] for column in bars))
        assert past.tobytes() == whole[:cut].tobytes()


def test_returns_and_highs_are_those_of_the_window() -> None:
    open_, high, low, close, volume = random_bars(2000, 2)
    X = bar_features(open_, high, low, close, volume)
    assert X[-1, 0] == pytest.approx(np.log(close[-1] / close[-2]))
    five = X[-1, 12:18]  # the third window: five minutes
    assert five[0] == pytest.approx(np.log(close[-1] / close[-6]))
    assert five[4] == pytest.approx(np.log(close[-1] / high[-5:].max()))
    assert five[5] == pytest.approx(np.log(close[-1] / low[-5:].min()))


def test_the_market_is_the_mean_of_the_coins_that_have_a_bar() -> None:
    closes = np.column_stack([np.exp(0.01 * np.arange(80)), np.exp(-0.02 * np.arange(80)), np.full(80, np.nan)])
    got = market_features(closes)
    assert got[10, 0] == pytest.approx((0.05 - 0.10) / 2) and got[10, 1] == pytest.approx(0.5)
    assert np.isnan(got[:5, 0]).all()
