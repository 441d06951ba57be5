"""Triple-barrier labels: hand-made paths, and a slow twin that shares no code with the kernel."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling.labels import BarrierLabels, Barriers, Outcome, triple_barrier

E8 = 100_000_000


def label(
    bids: list[float],
    *,
    spread: float = 0.0,
    decisions: list[int] | None = None,
    take_profit: float | list[float] = 60,
    stop_loss: float | list[float] = 40,
    horizon: int = 100,
    latency: int = 0,
    ts: list[int] | None = None,
) -> BarrierLabels:
    bid = np.array([round(price * E8) for price in bids], np.int64)
    ask = np.where(bid > 0, bid + round(spread * E8), 0)
    return triple_barrier(
        np.arange(len(bids)) if ts is None else np.array(ts),
        bid,
        ask,
        np.array([0] if decisions is None else decisions),
        take_profit_bps=np.array(take_profit, float),
        stop_loss_bps=np.array(stop_loss, float),
        horizon_ns=horizon,
        entry_latency_ns=latency,
    )


def test_a_rise_to_the_gain_is_a_take_profit_with_its_time_and_return() -> None:
    got = label([100, 100, 100.3, 99.9, 100.7])
    assert got.outcome.tolist() == [Outcome.TAKE_PROFIT]
    assert (got.entry_ns[0], got.touch_ns[0]) == (1, 4)
    assert got.ret_bps[0] == pytest.approx(70.0)
    assert got.mfe_bps[0] == pytest.approx(70.0) and got.mae_bps[0] == pytest.approx(-10.0)


def test_a_fall_to_the_loss_is_a_stop() -> None:
    got = label([100, 100, 100.59, 99.5, 101])
    assert got.outcome.tolist() == [Outcome.STOP_LOSS]
    assert got.ret_bps[0] == pytest.approx(-50.0) and got.mfe_bps[0] == pytest.approx(59.0)


def test_a_touch_on_the_dot_counts_on_both_sides() -> None:
    assert label([100, 100, 100.6]).outcome[0] == Outcome.TAKE_PROFIT
    assert label([100, 100, 99.6]).outcome[0] == Outcome.STOP_LOSS


def test_one_price_unit_short_of_the_gain_is_no_touch() -> None:
    got = label([100, 100, 100.59999999, 100, 100], horizon=3)
    assert got.outcome[0] == Outcome.TIME_OUT


def test_the_entry_pays_the_ask_and_the_exit_gets_the_bid() -> None:
    got = label([100, 100, 100.6, 100.71], spread=0.1)
    assert got.touch_ns[0] == 3
    assert got.ret_bps[0] == pytest.approx((100.71 - 100.1) / 100.1 * 1e4)


def test_a_spread_wider_than_the_stop_is_stopped_at_once() -> None:
    got = label([100, 100, 105], spread=0.5)
    assert got.outcome[0] == Outcome.STOP_LOSS and got.touch_ns[0] == got.entry_ns[0] == 1


def test_the_entry_waits_for_latency_and_never_takes_the_row_of_the_decision() -> None:
    bids = [100, 101, 102, 103, 104, 105]
    assert label(bids, latency=0, stop_loss=9e3).entry_ns[0] == 1
    assert label(bids, latency=3, stop_loss=9e3).entry_ns[0] == 3


def test_the_entry_waits_for_an_executable_ask() -> None:
    assert label([100, 0, 0, 100, 100.6]).entry_ns[0] == 3


def test_a_time_out_sells_at_the_bid_in_force_when_the_time_is_over() -> None:
    got = label([100, 100, 100.2, 100.9], ts=[0, 1, 5, 30], horizon=20)
    assert got.outcome[0] == Outcome.TIME_OUT
    assert got.touch_ns[0] == 21 and got.ret_bps[0] == pytest.approx(20.0)


def test_a_touch_in_the_very_last_moment_of_the_life_still_counts() -> None:
    got = label([100, 100, 100.6, 100], ts=[0, 1, 21, 30], horizon=20)
    assert got.outcome[0] == Outcome.TAKE_PROFIT and got.touch_ns[0] == 21


def test_a_life_that_outlasts_the_data_is_unknown_not_a_time_out() -> None:
    got = label([100, 100, 100.2], horizon=20)
    assert got.outcome[0] == Outcome.NONE
    assert got.entry_ns[0] == got.touch_ns[0] == -1 and np.isnan(got.ret_bps[0])


def test_a_hole_in_the_quotes_makes_the_outcome_unknown() -> None:
    assert label([100, 100, 0, 100.6]).outcome[0] == Outcome.NONE
    assert label([100, 100, 100.6, 0]).outcome[0] == Outcome.TAKE_PROFIT


def test_an_entry_that_never_comes_within_the_horizon_is_dropped() -> None:
    assert label([100, 0, 100, 101], ts=[0, 1, 50, 51], horizon=20).outcome[0] == Outcome.NONE
    assert label([100]).outcome[0] == Outcome.NONE


def test_barriers_can_differ_row_by_row() -> None:
    got = label([100, 100, 100.3, 99.7], decisions=[0, 0, 0], take_profit=[20, 60, 60], stop_loss=[40, 20, 90])
    assert got.outcome.tolist() == [Outcome.TAKE_PROFIT, Outcome.STOP_LOSS, Outcome.NONE]


def test_float_prices_with_nan_quotes_work_too() -> None:
    bid = np.array([1.0, 1.0, np.nan, 1.1])
    got = triple_barrier(
        np.arange(4), bid, bid, np.array([0, 2]), take_profit_bps=60, stop_loss_bps=40, horizon_ns=9, entry_latency_ns=0
    )
    assert got.outcome.tolist() == [Outcome.NONE, Outcome.NONE]


def test_quotes_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="backwards"):
        label([100, 100, 100], ts=[0, 2, 1])


def test_a_barrier_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        label([100, 100], take_profit=0)
    with pytest.raises(ValueError, match="above zero"):
        Barriers(stop_loss_bps=0)


def slow_twin(ts, bid, ask, decision, take_profit, stop_loss, horizon, latency):
    """The label of one decision, told in whole numbers and fractions."""
    earliest = decision + max(latency, 1)
    rows = [k for k in range(len(ts)) if earliest <= ts[k] <= earliest + horizon and 0 < bid[k] <= ask[k]]
    if not rows:
        return Outcome.NONE, -1
    entry = rows[0]
    deadline = ts[entry] + horizon
    for k in range(entry, len(ts)):
        if ts[k] > deadline:
            return Outcome.TIME_OUT, deadline
        if bid[k] <= 0:
            return Outcome.NONE, -1
        gain = Fraction((bid[k] - ask[entry]) * 10_000, ask[entry])
        if gain <= -stop_loss:
            return Outcome.STOP_LOSS, ts[k]
        if gain >= take_profit:
            return Outcome.TAKE_PROFIT, ts[k]
    return (Outcome.TIME_OUT, deadline) if ts[-1] >= deadline else (Outcome.NONE, -1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_kernel_agrees_with_the_slow_twin(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 40))
    steps = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    ts = np.cumsum(steps)
    bid = np.array(
        data.draw(st.lists(st.sampled_from([0, 990, 996, 999, 1000, 1003, 1006, 1020]), min_size=n, max_size=n))
    )
    ask = bid + np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    decisions = np.array(data.draw(st.lists(st.integers(0, 100), min_size=1, max_size=10)))
    horizon, latency = data.draw(st.integers(1, 30)), data.draw(st.integers(0, 5))
    got = triple_barrier(
        ts, bid, ask, decisions, take_profit_bps=60, stop_loss_bps=40, horizon_ns=horizon, entry_latency_ns=latency
    )
    plain = [int(t) for t in ts], [int(b) for b in bid], [int(a) for a in ask]
    want = [slow_twin(*plain, int(d), 60, 40, horizon, latency) for d in decisions]
    assert list(zip(got.outcome.tolist(), got.touch_ns.tolist(), strict=True)) == want
