from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.costs import CostModel
from marketdata.events import NS_PER_S
from signals.decision import Barriers, DecisionPolicy, Gate, StrategyParameters, reasons, size_columns
from tests.signals.rows import rows_of

BARRIERS = Barriers(take_profit_bps=60.0, stop_loss_bps=40.0, horizon_s=60.0, mean_timeout_bps=2.0)
COSTS = CostModel(entry_fee_bps=5.0, exit_fee_bps=5.0)
STRATEGY = StrategyParameters("test", "A", 0.6, 10.0, 1_000.0, 8.0, 2.0, 60.0)


def decide(rows, p_tp=0.8, p_sl=0.1, *, policy=None):
    probabilities = np.stack([np.broadcast_to(p_tp, len(rows)), np.broadcast_to(p_sl, len(rows))], axis=1).astype(float)
    return (policy or DecisionPolicy(STRATEGY, 0, BARRIERS, COSTS)).decide(rows, probabilities, 0)


def failed_gates(**changes) -> list[str]:
    p = {name: changes.pop(name) for name in ("p_tp", "p_sl") if name in changes}
    return reasons(int(decide(rows_of(1, **changes), **p).table["failed"][0]))


def test_a_good_row_fires():
    decisions = decide(rows_of(1))
    assert decisions.fired().tolist() == [0]
    # 0.8 * 60 - 0.1 * 40 + 0.1 * 2 - (5 + 5 + 0.5 + 0.7)
    assert decisions.table["utility_bps"][0] == pytest.approx(48 - 4 + 0.2 - 11.2)


@pytest.mark.parametrize(
    ("changes", "gate"),
    [
        ({"p_tp": 0.59}, "probability"),
        ({"p_sl": np.nan}, "utility"),
        ({"p_tp": 0.6, "p_sl": 0.4}, "utility"),
        ({"synced": 0}, "synced"),
        ({"warm": 0}, "warm"),
        ({"quote_age_ns": 4 * NS_PER_S}, "fresh"),
        ({"book_age_ns": 4 * NS_PER_S}, "fresh"),
        ({"book_age_ns": -1}, "fresh"),
        ({"quote_age_ns": -1}, "fresh"),
        ({"spread_bps": 8.1}, "spread"),
        ({"spread_bps": np.nan}, "spread"),
        ({"depth_ask_10bps": 1_999.0}, "depth"),
        ({"depth_ask_10bps": np.nan}, "depth"),
    ],
)
def test_each_gate_stops_a_signal_alone(changes, gate):
    assert failed_gates(**changes) == [gate]


@pytest.mark.parametrize("p_tp", [np.nan, np.inf, 1.01, -0.1])
def test_what_is_no_probability_passes_no_gate(p_tp):
    assert failed_gates(p_tp=p_tp) == ["probability", "utility"]


def test_a_book_too_thin_for_the_size_stops_a_signal():
    rows = rows_of(1)
    rows.buy_slippage_bps[:] = np.nan
    failed = reasons(int(decide(rows).table["failed"][0]))
    assert failed == ["utility", "cost_known"]


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(
    p_tp=anything,
    p_sl=anything,
    spread_bps=anything,
    depth_ask_10bps=anything,
    slippage=anything,
    age_ns=st.integers(-1, 10**11),
    synced=st.integers(0, 1),
    warm=st.integers(0, 1),
)
def test_nothing_fires_while_any_input_is_missing_stale_or_below(
    p_tp, p_sl, spread_bps, depth_ask_10bps, slippage, age_ns, synced, warm
):
    rows = rows_of(
        1, spread_bps=spread_bps, depth_ask_10bps=depth_ask_10bps, book_age_ns=age_ns, synced=synced, warm=warm
    )
    rows.buy_slippage_bps[:] = slippage
    with np.errstate(all="ignore"):
        decisions = decide(rows, p_tp, p_sl)
    if len(decisions.fired()):
        row = decisions.table[0]
        assert row["p_tp"] >= 0.6 and row["utility_bps"] >= 10.0 and np.isfinite(row["cost_bps"])
        assert synced and warm and 0 <= age_ns <= 3 * NS_PER_S
        assert spread_bps <= 8.0 and depth_ask_10bps >= 2_000.0


def test_the_cooldown_keeps_a_coin_silent():
    policy = DecisionPolicy(replace(STRATEGY, release_ratio=1.0), 0, BARRIERS, COSTS)
    high_low = np.tile([0.8, 0.1], 60)  # released every second tick, so that only the cooldown holds
    rows = rows_of(120, step_ns=NS_PER_S)
    assert decide(rows, high_low, 1.0 - high_low, policy=policy).fired().tolist() == [0, 60]


def test_a_coin_must_fall_below_the_release_level_before_the_next_signal():
    policy = DecisionPolicy(replace(STRATEGY, cooldown_s=0.0), 0, BARRIERS, COSTS)
    p_tp = np.array([0.8, 0.9, 0.5, 0.8, 0.41, 0.8])
    assert decide(rows_of(6), p_tp, 0.05, policy=policy).fired().tolist() == [0, 5]


def test_memory_lasts_from_block_to_block():
    one, two = (DecisionPolicy(STRATEGY, 0, BARRIERS, COSTS) for _ in range(2))
    rows = rows_of(10)
    whole = decide(rows, policy=one).table
    parts = [decide(type(rows)(*(c[k : k + 1] for c in rows)), policy=two).table for k in range(10)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_symbols_do_not_share_their_cooldown():
    policy = DecisionPolicy(STRATEGY, 0, BARRIERS, COSTS)
    assert [len(decide(rows_of(2, symbol=i), policy=policy).fired()) for i in (0, 5, 700)] == [1, 1, 1]


def test_the_cost_parts_add_up_to_the_cost_that_was_used():
    decisions = decide(rows_of(3))
    np.testing.assert_allclose(np.sum(decisions.costs, axis=0), decisions.table["cost_bps"], atol=1e-9)


def test_every_gate_is_explained_with_its_margin():
    policy = DecisionPolicy(STRATEGY, 0, BARRIERS, COSTS)
    rows = rows_of(1, spread_bps=9.0)
    decision = decide(rows, policy=policy).table[0]
    gates = {gate["name"]: gate for gate in policy.explain(decision, rows.context[0])}
    assert set(gates) == {gate.name.lower() for gate in Gate}
    assert gates["spread"] == {"name": "spread", "value": 9.0, "threshold": 8.0, "margin": -1.0, "passed": False}
    assert gates["probability"]["margin"] == pytest.approx(0.2)


def test_strategies_of_one_size_share_a_slippage_column():
    strategies = [replace(STRATEGY, notional_quote=size) for size in (5_000.0, 1_000.0, 5_000.0)]
    assert size_columns(strategies) == ((1_000.0, 5_000.0), [1, 0, 1])
