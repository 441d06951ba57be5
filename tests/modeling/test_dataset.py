"""From feature rows to labelled rows: which decisions count, what they are worth, and that blocks do not matter."""

import numpy as np
import pytest

from marketdata.events import PRICE_SCALE, Market
from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.loop import context_dtype
from marketdata.features.replay import FeatureReplay, FeatureRows
from marketdata.frames import blocks_of
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from modeling.dataset import Dataset, DatasetBuilder, DatasetError, dataset_join
from modeling.labels import Barriers, Outcome
from modeling.simulated import simulated_dataset
from modeling.training_config import TrainingConfig

MS = 1_000_000
TICK = 250 * MS
BARRIERS = Barriers(60.0, 40.0, horizon_ns=2_000 * MS, entry_latency_ns=100 * MS)


def rows_of(
    bids: list[float],
    *,
    symbol: int = 0,
    first: int = 0,
    synced: list[int] | None = None,
    warm: list[int] | None = None,
) -> FeatureRows:
    """One row a tick of one coin; the feature is the tick's number, so that a row can be recognised."""
    n = len(bids)
    context = np.zeros(n, context_dtype)
    context["bid_e8"] = np.round(np.array(bids) * PRICE_SCALE)
    context["ask_e8"] = context["bid_e8"]
    context["synced"] = 1 if synced is None else synced
    context["warm"] = 1 if warm is None else warm
    ticks = np.arange(first, first + n, dtype=np.int64)
    nothing = np.zeros((n, 2))
    return FeatureRows(ticks * TICK, np.full(n, symbol, np.int32), ticks[:, None] * 1.0, context, nothing, nothing)


def built(*parts: FeatureRows, step: int = TICK, symbols: tuple[str, ...] = ("A", "B")) -> Dataset:
    builder = DatasetBuilder(("tick",), BARRIERS, step)
    for part in parts:
        builder.add(part)
    return builder.finish(symbols)


def mixed(*parts: FeatureRows) -> FeatureRows:
    """Rows of several coins in the order a replay gives them."""
    joined = FeatureRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.lexsort((joined.symbol, joined.tick_ns))
    return FeatureRows(*(column[order] for column in joined))


def test_each_decision_gets_the_outcome_of_its_own_path() -> None:
    data = built(rows_of([100, 100, 100.6, 100, 99.5] + [100] * 10))
    kept = dict(zip(data.X[:, 0].tolist(), data.outcome.tolist(), strict=True))
    assert kept[0.0] == Outcome.TAKE_PROFIT and kept[1.0] == Outcome.STOP_LOSS
    assert kept[4.0] == Outcome.TIME_OUT
    assert data.t0_ns[0] == 0 and data.t1_ns[0] == 2 * TICK


def test_decisions_whose_life_the_data_do_not_cover_are_left_out() -> None:
    data = built(rows_of([100] * 15))
    assert data.X[:, 0].max() == 15 - 1 - 1 - 8  # last tick, minus the wait for the entry, minus the horizon


def test_only_trusted_and_warm_rows_become_decisions() -> None:
    synced, warm = [1] * 20, [1] * 20
    warm[0] = warm[1] = 0
    assert built(rows_of([100] * 20, warm=warm)).X[0, 0] == 2.0
    synced[15] = 0
    seen = built(rows_of([100] * 20, synced=synced)).X[:, 0]
    assert seen.max() == 5.0  # whatever lives into the hole at tick 15 is unknown


def test_one_decision_per_step_and_coin_is_kept() -> None:
    both = mixed(rows_of([100] * 30), rows_of([100] * 30, symbol=1))
    data = built(both, step=4 * TICK)
    for symbol in (0, 1):
        assert data.X[data.symbol == symbol, 0].tolist() == [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]


def test_how_rows_were_cut_into_blocks_does_not_matter() -> None:
    rows = mixed(rows_of(list(100 + np.random.default_rng(1).normal(0, 0.3, 80))), rows_of([50] * 80, symbol=1))
    whole = built(rows, step=3 * TICK)
    for size in (1, 2, 7, 50):
        parts = [FeatureRows(*(column[i : i + size] for column in rows)) for i in range(0, len(rows), size)]
        assert built(*parts, step=3 * TICK).sha256() == whole.sha256()


def test_a_coin_that_fell_silent_keeps_its_last_quote() -> None:
    data = built(mixed(rows_of([100] * 40), rows_of([50] * 3, symbol=1)))
    quiet = data.symbol == 1
    assert data.outcome[quiet].tolist() == [Outcome.TIME_OUT] * 2  # the third found no later quote to enter at


def test_rows_come_in_time_order_with_weights_per_coin() -> None:
    data = built(mixed(rows_of([100] * 30), rows_of([100] * 30, symbol=1)))
    assert np.all(np.diff(data.t0_ns) >= 0)
    alone = built(rows_of([100] * 30))
    np.testing.assert_allclose(data.weight[data.symbol == 0], alone.weight)


def test_mean_timeout_is_that_of_bets_that_ran_out_of_time() -> None:
    data = built(rows_of([100, 100] + [100.2] * 20))
    timed_out = data.outcome == Outcome.TIME_OUT
    assert data.mean_timeout_bps == pytest.approx(data.ret_bps[timed_out].mean())
    assert 0 < data.mean_timeout_bps <= 20


def test_the_hash_knows_every_value_and_name() -> None:
    data = built(rows_of([100] * 30))
    assert built(rows_of([100] * 30)).sha256() == data.sha256()
    assert built(rows_of([100] * 29 + [100.01])).sha256() != built(rows_of([100] * 29 + [100.9])).sha256()
    assert built(rows_of([100] * 30), symbols=("X", "B")).sha256() != data.sha256()


def test_recordings_are_joined_by_the_names_of_their_coins() -> None:
    early = built(mixed(rows_of([100] * 20), rows_of([50] * 20, symbol=1)), symbols=("A", "B"))
    late = built(rows_of([50] * 20, first=1000), symbols=("B",))
    whole = dataset_join([late, early])
    assert whole.symbols == ("A", "B") and len(whole) == len(early) + len(late)
    assert np.all(np.diff(whole.t0_ns) >= 0)
    assert set(whole.symbol[whole.t0_ns >= 1000 * TICK].tolist()) == {1}


@pytest.mark.parametrize("rows", [[], [100.0] * 3])
def test_too_little_data_is_refused_with_a_reason(rows: list[float]) -> None:
    with pytest.raises(DatasetError, match="longer recording"):
        built(rows_of(rows))


def test_simulated_history_is_the_same_every_time_and_sees_surges() -> None:
    config = TrainingConfig.from_json({"history": {"seconds": 240.0, "symbols": 6}})
    heard: list[float] = []
    data = simulated_dataset(config, Market.SPOT, heard.append)
    assert data.sha256() == simulated_dataset(config, Market.SPOT, lambda share: None).sha256()
    assert data.feature_names == FEATURE_NAMES and len(data.symbols) == 6
    assert {Outcome.TAKE_PROFIT, Outcome.STOP_LOSS, Outcome.TIME_OUT} <= set(data.outcome.tolist())
    assert heard == sorted(heard) and 0 < heard[-1] <= 1.0


def test_training_rows_are_the_very_rows_live_would_score() -> None:
    """No feature is computed twice: what training learned from is what a replay of the same lines gives."""
    config = TrainingConfig.from_json({"history": {"seconds": 200.0, "symbols": 4}})
    data = simulated_dataset(config, Market.SPOT, lambda share: None)
    exchange = SimulatedMarket(config.history.seed, Market.SPOT, 4, config.history.start_ns)
    replay = FeatureReplay(Market.SPOT)
    parts = [replay.feed(block) for block in blocks_of(capture_lines(exchange, 200.0, seed=config.history.seed), 5_000)]
    live = {(int(t), int(s)): x for part in parts for t, s, x in zip(part.tick_ns, part.symbol, part.X, strict=True)}
    for t0_ns, symbol, x in zip(data.t0_ns[::50], data.symbol[::50], data.X[::50], strict=True):
        np.testing.assert_array_equal(live[int(t0_ns), int(symbol)], x)
