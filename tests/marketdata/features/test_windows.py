"""Decay, averages and rings, against plain arithmetic."""

import math

import numpy as np
import pytest

from marketdata.features import windows
from marketdata.features.feature_set import new_feature_state, on_quote, on_trade
from marketdata.features.trade_flow import BUY
from marketdata.features.windows import HALF_LIVES_S, S1, decay_factors, log_ratio, ring_fill, share, window_seconds

NS = 1_000_000_000
START = 1_700_000_000 * NS
EW_COUNTS = [2.0, 2.515716566510398, 1.5486051982092655, 5.1736232769549515, 3.184738697087153, 6.829152051219706]


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.25, 1.0, 17.3, 300.0, 5000.0])
def test_all_six_factors_are_powers_of_one_half(seconds: float) -> None:
    expected = [2.0 ** (-seconds / h) for h in HALF_LIVES_S]
    np.testing.assert_allclose(decay_factors(round(seconds * NS)), expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("seconds", [5.0, 20.0, 400.0])
def test_window_seconds_are_the_area_under_the_decay(seconds: float) -> None:
    expected = [h / math.log(2) * (1 - 2.0 ** (-seconds / h)) for h in HALF_LIVES_S]
    np.testing.assert_allclose(window_seconds(round(seconds * NS)), expected, rtol=1e-11)


def test_a_decayed_count_follows_the_published_vector() -> None:
    """testvectors.json `ewbuy_hl1`: half-life 1 s, bought 2, 1, 0, 4, 0, 5."""
    state = new_feature_state(1)
    trades = [(0.0, 2, 1), (0.4, 1, 1), (1.1, 3, -1), (1.5, 4, 1), (2.2, 1, -1), (3.0, 5, 1)]
    for (at, qty, side), expected in zip(trades, EW_COUNTS, strict=True):
        on_trade(state, 0, START + round(at * NS), 10**8, float(qty), side)
        assert state.trades[0]["sums"][BUY, S1] == pytest.approx(expected, rel=1e-12)
    assert state.trades[0]["sums"][BUY, S1] * decay_factors(NS)[S1] == pytest.approx(3.414576025609853, rel=1e-12)


def test_a_held_average_weighs_by_time_not_by_updates() -> None:
    state = new_feature_state(1)
    on_quote(state, 0, START, 100 * 10**8, 1.0, 101 * 10**8, 1.0)
    for k in range(1, 51):
        on_quote(state, 0, START + k * 1000, 100 * 10**8, 9.0, 101 * 10**8, 9.0)
    on_quote(state, 0, START + 60 * NS, 100 * 10**8, 1.0, 101 * 10**8, 1.0)
    average = state.touch[0]["average_depth"] / (1 - 0.5)
    assert average == pytest.approx(9.0, rel=1e-6)


def test_a_log_ratio_has_a_floor_and_survives_an_empty_past() -> None:
    assert log_ratio(3.0, 3.0) == pytest.approx(0.0, abs=1e-15)
    assert log_ratio(0.0, 5.0) == pytest.approx(math.log(0.01 / 1.01))
    assert log_ratio(0.0, 0.0) == 0.0


def test_a_share_of_nothing_is_zero() -> None:
    assert share(0.0, 0.0) == 0.0
    assert share(1.0, 4.0) == 0.25


@pytest.mark.parametrize(("first", "last"), [(5, 4), (5, 5), (6, 9), (3, 2003)])
def test_a_ring_fill_writes_exactly_its_buckets(first: int, last: int) -> None:
    ring = np.zeros(8)
    ring_fill(ring, first, last, 1.0)
    expected = np.zeros(8)
    for bucket in range(first, last + 1):
        expected[bucket % 8] = 1.0
    np.testing.assert_array_equal(ring, expected)


def test_steps_are_compiled_without_fast_math() -> None:
    assert not windows.decay_factors.targetoptions.get("fastmath", False)
