"""Returns, realised variance, jumps and ranges by hand."""

import math

import numpy as np
import pytest

from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.volatility import jump_share
from tests.marketdata.features.player import play, vector_of
from tests.marketdata.features.tapes import NS_PER_S, Quote

ON_THE_SECOND = 1_723_161_255 * NS_PER_S
RETURNS = [0.001, -0.002, 0.0015, 0.0005, -0.001, 0.01, -0.0005, 0.0008]


def quote(at_s: float, mid: float) -> Quote:
    mid_e8 = round(mid * 1e8)
    return Quote(ON_THE_SECOND + round(at_s * NS_PER_S), 0, mid_e8 - 1, 1.0, mid_e8 + 1, 1.0)


def at(quotes: list[Quote], second: float) -> dict[str, float]:
    ts_ns = ON_THE_SECOND + round(second * NS_PER_S)
    known = [quote for quote in quotes if quote.ts_ns <= ts_ns]
    return dict(zip(FEATURE_NAMES, vector_of(play(known), ts_ns), strict=True))


def test_bipower_and_jump_share_equal_the_published_vector() -> None:
    """testvectors.json `rv_bv`."""
    r = np.array(RETURNS)
    bipower = float(np.abs(r[1:]) @ np.abs(r[:-1]))
    assert jump_share(float(r @ r), bipower, 8) == pytest.approx(0.6447025403198569, rel=1e-12)


def test_realised_variance_is_the_sum_of_squared_second_returns() -> None:
    """testvectors.json `rv_bv`: RV 1.0939e-4, seen through eight seconds of quotes after seven flat ones."""
    mids = 100_000.0 * np.exp(np.cumsum(RETURNS))
    flat = [quote(k, 100_000.0) for k in range(60)]
    moves = [quote(60 + k, mid) for k, mid in enumerate(mids)]
    vector = at([*flat, *moves], 67)
    expected = math.log(0.01 + 1e4 * math.sqrt(0.00010939000000000001 / 15))
    assert vector["volatility_15s"] == pytest.approx(expected, rel=1e-9)


def test_a_return_looks_back_exactly_its_window_on_the_grid() -> None:
    quotes = [quote(k, 100.0) for k in range(30)]
    quotes += [quote(30.0, 101.0), quote(34.999, 103.0), quote(35.0, 104.0)]
    assert at(quotes, 35.0)["return_5s"] == pytest.approx(1e4 * math.log(104 / 100))
    assert at(quotes, 35.25)["return_5s"] == pytest.approx(1e4 * math.log(104 / 101))


def test_a_bucket_without_quotes_holds_the_last_mid() -> None:
    quotes = [quote(k, 100.0) for k in range(26)]
    quotes += [quote(26.1, 102.0), quote(30.9, 102.0)]
    vector = at(quotes, 31.0)
    assert vector["return_1s"] == 0.0
    assert vector["return_5s"] == pytest.approx(1e4 * math.log(102 / 100))


def test_a_window_longer_than_the_past_starts_at_the_first_mid() -> None:
    quotes = [quote(k, 100.0 + k) for k in range(25)]
    assert at(quotes, 24.0)["return_60s"] == pytest.approx(1e4 * math.log(124 / 100))


def test_ranges_and_drawdown_forget_after_their_window() -> None:
    quotes = [quote(k, 100.0) for k in range(30)]
    quotes += [quote(30.5, 110.0), quote(31.0, 105.0)] + [quote(k, 105.0) for k in range(32, 100)]
    seen, gone = at(quotes, 80.0), at(quotes, 91.0)
    assert seen["drawdown_60s_bps"] == pytest.approx(1e4 * math.log(105 / 110))
    assert seen["range_60s_bps"] == pytest.approx(1e4 * math.log(110 / 100))
    assert seen["range_position_60s"] == pytest.approx(0.5)
    assert gone["drawdown_60s_bps"] == 0.0
    assert gone["range_60s_bps"] == 0.0
    assert gone["range_position_60s"] == 0.5
    assert gone["range_position_300s"] == pytest.approx(0.5)


def test_a_flat_market_has_no_jumps_and_no_side() -> None:
    vector = at([quote(k, 100.0) for k in range(40)], 39.0)
    assert vector["jump_share_60s"] == 0.0
    assert vector["up_variance_share_60s"] == 0.5
    assert vector["volatility_60s"] == pytest.approx(math.log(0.01))


def test_one_single_step_is_all_jump_and_all_up() -> None:
    quotes = [quote(k, 100.0) for k in range(30)] + [quote(k, 101.0) for k in range(30, 40)]
    vector = at(quotes, 39.0)
    assert vector["jump_share_60s"] == 1.0
    assert vector["up_variance_share_60s"] == 1.0


def test_hours_of_silence_do_not_bring_back_old_buckets() -> None:
    quotes = [quote(k, 100.0 + (k % 2)) for k in range(40)] + [quote(20_000.0 + k, 100.0) for k in range(10)]
    vector = at(quotes, 20_009.5)
    assert vector["range_60s_bps"] == pytest.approx(1e4 * math.log(101 / 100), rel=1e-9)  # carried in, then 100
    assert vector["volatility_5s"] == pytest.approx(math.log(0.01))
    assert vector["return_60s"] == pytest.approx(1e4 * math.log(100 / 101))
