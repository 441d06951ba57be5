import numpy as np
import pytest

from marketdata.events import NS_PER_S
from modeling.labels import Outcome, triple_barrier
from signals.decision import Barriers
from signals.outcome import OpenSignal, OutcomeTracker
from tests.marketdata.lines import START_NS
from tests.signals.rows import rows_of

BARRIERS = Barriers(60.0, 40.0, 10.0, 0.0)


def settle(bids: list[float], *, step_ns: int = NS_PER_S // 4, ask: float = 100.0, horizon_rows: int | None = None):
    """Open a signal at the first tick and follow it over the bids; the entry is the ask of the second tick."""
    tracker = OutcomeTracker()
    tracker.open(OpenSignal(7, 0, START_NS, BARRIERS, cost_bps=11.0))
    bid_e8 = np.round(np.array(bids) * 1e8).astype(np.int64)
    return tracker.update(rows_of(len(bids), step_ns=step_ns, bid_e8=bid_e8, ask_e8=round(ask * 1e8))), tracker


def test_a_rise_to_the_target_takes_profit():
    (outcome,), tracker = settle([99.9, 99.9, 100.3, 100.6, 90.0])
    assert (outcome.key, outcome.result, len(tracker)) == (7, "tp", 0)
    assert outcome.return_bps == pytest.approx(60.0) and outcome.net_bps == pytest.approx(49.0)
    assert outcome.settled_ns == START_NS + 3 * NS_PER_S // 4


def test_a_fall_to_the_stop_ends_it():
    (outcome,), _ = settle([99.9, 100.0, 100.1, 99.6])
    assert outcome.result == "sl" and outcome.return_bps == pytest.approx(-40.0)
    assert (outcome.mfe_bps, outcome.mae_bps) == (pytest.approx(10.0), pytest.approx(-40.0))


def test_the_entry_waits_for_the_latency():
    (outcome,), _ = settle([100.9, 99.9, 99.6])  # the first tick is the decision's own
    assert outcome.entry_price == 100.0 and outcome.result == "sl"


def test_a_quiet_signal_times_out_at_the_last_bid():
    (outcome,), _ = settle([99.9, 99.9] + [100.2] * 9 + [100.25, 90.0], step_ns=NS_PER_S)
    assert outcome.result == "timeout" and outcome.return_bps == pytest.approx(25.0)


def test_a_coin_without_ticks_times_out_by_the_clock_of_the_others():
    _, tracker = settle([99.9, 99.9, 100.1])
    later = rows_of(1, symbol=3)
    later.tick_ns[:] = START_NS + 60 * NS_PER_S
    (outcome,) = tracker.update(later)
    assert outcome.result == "timeout" and outcome.return_bps == pytest.approx(10.0)


@pytest.mark.parametrize("seed", range(40))
def test_outcomes_are_those_of_the_training_labels(seed):
    rng = np.random.default_rng(seed)
    n = 80
    bid = np.round(100e8 * np.exp(np.cumsum(rng.normal(0, 8e-4, n)))).astype(np.int64)
    ask = bid + rng.integers(1, 5, n) * 1_000_000
    rows = rows_of(n, bid_e8=bid, ask_e8=ask)
    labels = triple_barrier(
        rows.tick_ns,
        bid,
        ask,
        np.array([START_NS]),
        take_profit_bps=BARRIERS.take_profit_bps,
        stop_loss_bps=BARRIERS.stop_loss_bps,
        horizon_ns=round(BARRIERS.horizon_s * NS_PER_S),
        entry_latency_ns=100_000_000,
    )
    tracker = OutcomeTracker()
    tracker.open(OpenSignal(7, 0, START_NS, BARRIERS, 0.0))
    (outcome,) = tracker.update(rows)
    names = {Outcome.TAKE_PROFIT: "tp", Outcome.STOP_LOSS: "sl", Outcome.TIME_OUT: "timeout"}
    assert outcome.result == names[Outcome(int(labels.outcome[0]))]
    assert (outcome.settled_ns, outcome.return_bps) == (labels.touch_ns[0], labels.ret_bps[0])
    assert (outcome.mfe_bps, outcome.mae_bps) == (labels.mfe_bps[0], labels.mae_bps[0])


def test_stale_books_settle_nothing():
    tracker = OutcomeTracker()
    tracker.open(OpenSignal(7, 0, START_NS, BARRIERS, 0.0))
    assert tracker.update(rows_of(5, synced=0, bid_e8=1)) == [] and len(tracker) == 1
