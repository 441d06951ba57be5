"""Labels on bars: entry at the next open, stops first, gaps unknown; and the rows made of several pairs."""

from dataclasses import replace

import numpy as np
import pytest

from marketdata.features.bars import BAR_FEATURES, BAR_MS
from modeling.bar_tapes import BarTape, bar_barrier, bar_rows, liquidity_gates, liquidity_report
from modeling.labels import Barriers, Outcome
from modeling.training_config import TrainingConfig
from tests.marketdata.features.test_bars import random_bars

S = 1_000_000_000
START_MS = 1_617_321_600_000
HOUR = Barriers(take_profit_bps=100.0, stop_loss_bps=50.0, horizon_ns=3600 * S, entry_latency_ns=0)


def label(
    bars: list[tuple[float, float, float, float]], horizon: int = 3, skip: tuple[int, ...] = ()
) -> tuple[list[int], list[int], list[float]]:
    """Label bars of (open, high, low, close) with +1 % / -1 %; minutes in `skip` are missing before a bar."""
    minutes = np.cumsum([1 + (i in skip) for i in range(len(bars))])
    opened, high, low, close = np.array(bars, np.float64).T.copy()
    outcome, known, ret = bar_barrier(
        minutes * BAR_MS, opened, high, low, close, BAR_MS, 100.0, 100.0, horizon * BAR_MS
    )
    return outcome.tolist(), (known // BAR_MS).tolist(), ret.round(6).tolist()


FLAT = (100.0, 100.0, 100.0, 100.0)


def test_the_entry_is_the_next_open_not_the_close() -> None:
    outcome, _, ret = label([(100, 100, 100, 95), (100, 101, 100, 101), FLAT, FLAT, FLAT, FLAT])
    assert outcome[0] == Outcome.TAKE_PROFIT and ret[0] == 100.0


def test_a_bar_that_touches_both_is_a_stop() -> None:
    outcome, known, ret = label([FLAT, (100, 102, 99, 101), FLAT, FLAT, FLAT, FLAT])
    assert (outcome[0], known[0], ret[0]) == (Outcome.STOP_LOSS, 3, -100.0)


def test_an_open_beyond_the_stop_loses_more_than_the_stop() -> None:
    outcome, _, ret = label([FLAT, FLAT, (97, 97, 97, 97), FLAT, FLAT, FLAT])
    assert outcome[0] == Outcome.STOP_LOSS and ret[0] == -300.0


def test_time_outs_leave_at_the_last_close_in_time() -> None:
    outcome, known, ret = label([FLAT, FLAT, FLAT, (100, 100, 100, 100.5), (100, 105, 100, 105), FLAT])
    assert (outcome[0], known[0], ret[0]) == (Outcome.TIME_OUT, 5, 50.0)


def test_what_the_data_do_not_show_is_unknown() -> None:
    outcome, _, _ = label([FLAT, FLAT, FLAT])
    assert outcome == [Outcome.NONE] * 3
    late, _, _ = label([FLAT, FLAT, FLAT, FLAT, FLAT, FLAT], skip=(1,))
    assert late[0] == Outcome.NONE and late[1] == Outcome.TIME_OUT


def tape(symbol: str, seed: int) -> BarTape:
    return BarTape(symbol, START_MS + BAR_MS * np.arange(4000), *random_bars(4000, seed))


def test_rows_of_pairs_share_one_timeline() -> None:
    rows = bar_rows([tape("AUSDT", 1), tape("BUSDT", 2)], HOUR, 600 * S)
    data = rows.data
    assert data.feature_names == BAR_FEATURES and data.X.shape[1] == len(BAR_FEATURES)
    assert np.isfinite(data.X).all() and (np.diff(data.t0_ns) >= 0).all()
    assert (data.t0_ns % (600 * S) == 0).all() and (data.t1_ns > data.t0_ns).all()
    assert set(data.symbol.tolist()) == {0, 1} and len(rows.turnover) == len(data) and (rows.turnover > 0).all()


def test_promises_are_weighed_where_they_pay_after_costs() -> None:
    rows = bar_rows([tape("AUSDT", 1), tape("BUSDT", 2)], HOUR, 600 * S)
    data = rows.data
    config = replace(TrainingConfig(), barriers=HOUR, cost_bps=20.0, bootstrap_draws=50)
    hits, stops = data.hit(Outcome.TAKE_PROFIT), data.hit(Outcome.STOP_LOSS)
    oracle = np.column_stack([hits, stops])
    table = liquidity_report(data, rows.turnover, oracle, config, data.mean_timeout_bps)
    assert [row["third"] for row in table] == ["all", "thin", "middle", "liquid"]
    assert table[0]["rows"] >= hits.sum() and sum(row["rows"] for row in table[1:]) == table[0]["rows"]
    liar = liquidity_report(data, rows.turnover, np.column_stack([stops, hits]), config, data.mean_timeout_bps)
    gates = liquidity_gates(liar)
    assert not gates["region_hit_rate"]["ok"] and not gates["region_utility"]["ok"]
    assert table[0]["realised_share"] == pytest.approx(1.0, abs=0.25)


def test_a_model_that_never_decides_fails_the_gates() -> None:
    assert not any(gate["ok"] for gate in liquidity_gates([]).values())
