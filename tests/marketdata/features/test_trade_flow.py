"""Imbalance, rush orders, large prints, VPIN and VWAP by hand."""

import math

import numpy as np
import pytest

from marketdata.features import trade_flow
from marketdata.features.feature_set import FEATURE_NAMES, new_feature_state
from marketdata.features.trade_flow import BUY, LARGE, RUSH, RUSH_SIGNED, SELL, part_of_volume, vpin, vpin_step
from marketdata.features.windows import S60
from tests.marketdata.features.player import play, vector_of
from tests.marketdata.features.tapes import NS_PER_S, START_NS, Event, Quote, Trade

NO_DECAY = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
MS = 1_000_000


def trade(at_ns: int, qty: float, side: int, price: float = 1.0) -> Trade:
    return Trade(START_NS + at_ns, 0, round(price * 1e8), qty, side)


def after(events: list[Event], late_s: float) -> dict[str, float]:
    ts_ns = events[-1].ts_ns + int(late_s * NS_PER_S)
    return dict(zip(FEATURE_NAMES, vector_of(play(events), ts_ns), strict=True))


def test_trade_imbalance_equals_the_published_vector() -> None:
    """testvectors.json `tfi`: bought 2 + 1 + 4 + 5, sold 3 + 1."""
    sums = np.zeros((trade_flow.N_SERIES, 6))
    sums[BUY], sums[SELL] = 12.0, 4.0
    assert part_of_volume(12.0 - 4.0, sums, S60, NO_DECAY, 0.0) == 0.5


def test_an_empty_window_has_no_imbalance_left() -> None:
    events = [trade(0, 1.0, 1), trade(25 * NS_PER_S, 1.0, 1)]
    assert after(events, 0.0)["trade_imbalance_1s"] > 0.9
    assert abs(after(events, 30.0)["trade_imbalance_1s"]) < 1e-6


def run_sums(events: list[Event]) -> np.ndarray:
    return play(events).trades[0]["sums"]


def test_two_fast_buys_are_one_rush_order_with_the_notional_of_both() -> None:
    sums = run_sums([trade(0, 2.0, 1), trade(MS, 3.0, 1)])
    assert sums[RUSH, S60] == 1.0
    assert sums[RUSH_SIGNED, S60] == pytest.approx(5.0, rel=1e-4)


def test_five_fast_sells_are_still_one_rush_order() -> None:
    sums = run_sums([trade(k * 300_000, 1.0, -1) for k in range(5)])
    assert sums[RUSH, S60] == pytest.approx(1.0, rel=1e-4)
    assert sums[RUSH_SIGNED, S60] == pytest.approx(-5.0, rel=1e-4)


@pytest.mark.parametrize("second", [trade(MS + 1, 1.0, 1), trade(10, 1.0, -1)], ids=["too late", "other side"])
def test_these_are_no_rush_orders(second: Trade) -> None:
    assert run_sums([trade(0, 1.0, 1), second])[RUSH, S60] == 0.0


def test_a_large_print_is_measured_against_the_trades_before_it() -> None:
    small = [trade(k * MS * 10, 1.0, 1) for k in range(20)]
    assert run_sums([*small, trade(210 * MS, 4.9, 1)])[LARGE, S60] == 0.0
    assert run_sums([*small, trade(210 * MS, 5.1, 1)])[LARGE, S60] == 5.1
    assert run_sums([trade(0, 1e9, 1)])[LARGE, S60] == 0.0


def vpin_of(trades: list[tuple[float, int]], size: float) -> float:
    flow = new_feature_state(1).trades[0]
    for notional, side in trades:
        vpin_step(flow, notional, side, size)
    return vpin(flow)


def test_vpin_equals_the_published_vector() -> None:
    """testvectors.json `vpin`: buckets of 8 filled (5, 3) and (7, 1)."""
    assert vpin_of([(5.0, 1), (3.0, -1), (7.0, 1), (1.0, -1)], 8.0) == 0.5


def test_a_trade_is_split_at_the_border_of_a_bucket() -> None:
    assert vpin_of([(5.0, 1), (4.0, -1), (7.0, 1)], 8.0) == pytest.approx((2.0 + 6.0) / 16.0)


def test_a_trade_of_many_buckets_makes_trading_one_sided() -> None:
    calm = [(4.0, side) for _ in range(50) for side in (1, -1)]
    assert vpin_of(calm, 8.0) == 0.0
    assert vpin_of([*calm, (8.0 * 1000 + 3.0, -1)], 8.0) == 1.0


def test_vwap_deviation_is_measured_from_the_mean_trade() -> None:
    quotes: list[Event] = [Quote(START_NS + k * NS_PER_S, 0, 100 * 10**8, 1.0, 100 * 10**8 + 2, 1.0) for k in range(30)]
    end = 29 * NS_PER_S
    vector = after([*quotes, trade(end, 2.0, 1, 98.0), trade(end, 2.0, 1, 100.0)], 0.0)
    assert vector["vwap_deviation_60s"] == pytest.approx(1e4 * (100.00000001 / 99.0 - 1.0), rel=1e-9)


def test_a_burst_of_buying_shows_in_the_surge_features() -> None:
    slow = [trade(k * NS_PER_S, 1.0, 1 if k % 2 else -1) for k in range(300)]
    fast = [trade(300 * NS_PER_S + k * 50 * MS, 3.0, 1) for k in range(100)]
    calm, burst = after(slow, 0.0), after(slow + fast, 0.0)
    assert abs(calm["volume_surge_5s_300s"]) < 0.3
    assert burst["volume_surge_5s_300s"] > 1.5
    assert burst["buy_surge_5s_300s"] > burst["volume_surge_5s_300s"]
    assert burst["trade_imbalance_5s"] > 0.95


def test_steady_trading_reads_its_true_rate_from_the_start() -> None:
    """No start-up bias: at 25 s the 60 s and 1800 s windows agree with one trade a second."""
    steady = [trade(k * NS_PER_S, 1.0, 1) for k in range(26)]
    vector = after(steady, 0.0)
    assert vector["trade_intensity_60s"] == pytest.approx(math.log(1.01), abs=0.06)
    assert abs(vector["intensity_surge_60s_1800s"]) < 0.02


def test_the_age_of_a_trade_is_clamped() -> None:
    events = [trade(0, 1.0, 1), trade(30 * NS_PER_S, 1.0, 1)]
    assert after(events, 2.5)["trade_age_s"] == 2.5
    assert after(events, 600.0)["trade_age_s"] == 60.0


def test_a_day_of_silence_leaves_clean_numbers() -> None:
    events = [trade(0, 1.0, 1), trade(30 * NS_PER_S, 1.0, 1)]
    vector = after(events, 7 * 86400.0)
    values = [vector[feature.name] for feature in trade_flow.TRADE_FEATURES]
    assert np.isfinite(values).all()
    assert vector["trade_imbalance_60s"] == 0.0
