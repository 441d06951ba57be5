"""Tapes of announced pumps: onsets, groups, detection and labels on small made-up tapes with a known pump."""

from pathlib import Path

import numpy as np
import pytest

from modeling.archive import read_bar_tapes, read_pump_tapes
from modeling.dataset import DatasetError
from modeling.labels import Barriers, Outcome
from modeling.pump_tapes import DAY_MS, PumpTape, grouped_folds, groups_of, onset_of, pump_dataset, pump_rows
from modeling.pump_tasks import Watch, burst_rule, detection_task, f1_at_half
from modeling.train import train
from modeling.training_config import TrainingConfig

ANNOUNCED_MS = 1_610_000_000_000
S = 1_000_000_000


def made_up_tape(seed: int, coin: str = "AAABTC", shift_ms: int = 0, gain: float = 0.3) -> PumpTape:
    """Ten quiet hours, a pump that begins 10 s after the announcement, and two hours after it."""
    rng = np.random.default_rng(seed)
    announced = ANNOUNCED_MS + shift_ms
    quiet = np.sort(rng.integers(announced - DAY_MS * 10 // 24, announced + DAY_MS // 12, 3000))
    pump = announced + 10_000 + np.sort(rng.integers(0, 60_000, 400))
    ts = np.concatenate([quiet, pump])
    order = np.argsort(ts, kind="stable")
    ts = ts[order]
    pumped = np.r_[np.zeros(3000, bool), np.ones(400, bool)][order]
    rise = np.clip((ts - announced - 10_000) / 60_000, 0.0, 1.0) * np.exp(-np.maximum(ts - announced - 70_000, 0) / 1e6)
    price = 1e-5 * np.exp(np.cumsum(rng.normal(0, 5e-4, len(ts)))) * (1.0 + gain * rise)
    is_buy = np.where(pumped, rng.random(len(ts)) < 0.9, rng.random(len(ts)) < 0.5)
    return PumpTape(f"{coin}_{seed}", coin, announced, ts, is_buy, price, np.where(pumped, 2.0, 0.1))


def test_the_onset_is_the_first_burst_of_buying() -> None:
    assert onset_of(made_up_tape(1)) == ANNOUNCED_MS + 10_000


def test_an_announced_pump_that_does_not_rise_is_an_ordinary_day() -> None:
    assert onset_of(made_up_tape(1, gain=0.0)) is None


def test_overlapping_tapes_of_one_coin_never_part() -> None:
    tapes = [
        made_up_tape(1),
        made_up_tape(2, shift_ms=3_600_000),
        made_up_tape(3, "BBBBTC"),
        made_up_tape(4, shift_ms=DAY_MS),
    ]
    group = groups_of(tapes)
    assert group[0] == group[1] and len(set(group.tolist())) == 3
    for seed in range(10):
        fold = grouped_folds(group, 3, seed)
        assert fold[0] == fold[1] and sorted(set(fold.tolist())) == [0, 1, 2]


def test_false_alerts_within_half_an_hour_count_once() -> None:
    at_ms = np.array([0, 60_000, 1_800_000, 10_000_000, 10_020_000, 10_040_000])
    watch = Watch(at_ms, np.zeros(6, int), np.array([10_015_000]), np.ones(1))
    alarms = watch.alarms(np.ones(6, bool))
    assert (alarms.caught.tolist(), alarms.delay_s.tolist(), alarms.false_alerts.tolist()) == ([True], [5.0], [2])
    assert watch.positive.tolist() == [False, False, False, False, True, False]
    assert watch.usable.tolist() == [True, True, True, False, True, False]


def test_detection_finds_made_up_pumps_beside_the_rule() -> None:
    tapes = [made_up_tape(seed, f"C{seed}BTC", seed * DAY_MS) for seed in range(10)]
    found = detection_task(tapes, pump_rows(tapes), seed=1, draws=50, workers=1, step=lambda step: None)
    assert found["events"] == 10
    for row in found["methods"].values():
        assert row["detected"] >= 8 and row["false_alerts_per_day"] <= 0.1 and row["median_delay_s"] <= 15.0
    assert found["methods"]["rule"]["detected_over_rule"]["value"] == 0.0


def test_f1_counts_hits_misses_and_false_calls() -> None:
    assert f1_at_half(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.1, 0.8, 0.2])) == 0.5


def test_rows_are_labelled_by_later_trades() -> None:
    tapes = [made_up_tape(seed, f"C{seed}BTC", seed * DAY_MS) for seed in range(3)]
    rows = pump_rows(tapes)
    data = pump_dataset(tapes, rows, Barriers(300.0, 150.0, 600 * S, S))
    assert 0 < len(data) <= len(rows) and (np.diff(data.t0_ns) >= 0).all() and (data.t1_ns > data.t0_ns).all()
    first = (data.t0_ns // 1_000_000 > ANNOUNCED_MS + 9_000) & (data.t0_ns // 1_000_000 < ANNOUNCED_MS + 30_000)
    assert (data.outcome[first & (data.symbol == 0)] == Outcome.TAKE_PROFIT).any()
    assert np.isfinite(burst_rule(data.X)).all()


FEW = {
    "n_folds": 3,
    "bootstrap_draws": 20,
    "workers": 1,
    "boosting": {"max_rounds": 15, "min_data_in_leaf": 20},
    "calibration": {"block_rows": 100},
}


@pytest.fixture(scope="module")
def forward_data():  # type: ignore[no-untyped-def]
    tapes = [made_up_tape(seed, f"C{seed}BTC", seed * DAY_MS) for seed in range(8)]
    return pump_dataset(tapes, pump_rows(tapes), Barriers(300.0, 150.0, 600 * S, S))


def test_walking_forward_judges_no_block_without_a_past(forward_data) -> None:  # type: ignore[no-untyped-def]
    config = TrainingConfig.from_json({**FEW, "max_ap": 1.0}, "pumps")
    result = train(forward_data, config)
    judged, probabilities = result.judged
    first_test_ns = result.folds[1]["test_from_ns"]
    assert forward_data.t0_ns[judged].min() == first_test_ns
    assert len(probabilities) == len(judged) == result.report["metrics"]["rows"]
    assert np.isfinite(probabilities).all() and (probabilities.sum(axis=1) <= 1.0 + 1e-12).all()
    assert "blend" in result.report["baselines"] and result.report["choice"]["champion"] == result.model.kind
    assert set(result.report["calibration_contest"]) == {"none", "platt", "isotonic"}


def test_skill_too_good_to_be_honest_is_refused(forward_data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DatasetError, match="treated as a leak"):
        train(forward_data, TrainingConfig.from_json({**FEW, "max_ap": 0.001}, "pumps"))


def test_missing_recordings_say_what_to_do(tmp_path: Path) -> None:
    for read in (read_pump_tapes, read_bar_tapes):
        with pytest.raises(DatasetError, match="Set SURGE_DATA_ROOT"):
            read(tmp_path)


def test_a_damaged_file_is_refused_with_its_row(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    columns = {"event": "E", "event_ts_ms": 1, "symbol": "A/BTC", "timestamp": [1, 2], "side": "buy"}
    (tmp_path / "pumps").mkdir()
    path = tmp_path / "pumps" / "pump_trades_before_2021_06.parquet"
    pd.DataFrame({**columns, "price": [1.0, -1.0], "amount": [1.0, 1.0]}).to_parquet(path)
    with pytest.raises(DatasetError, match=r"row 1: price is -1.0"):
        read_pump_tapes(tmp_path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_pump_tapes(tmp_path)


@pytest.mark.realdata
def test_the_recorded_pumps_have_the_onsets_that_can_be_seen(shared_data: Path) -> None:
    tapes = read_pump_tapes(shared_data)
    assert len(tapes) == 36 and sum(len(tape.price) for tape in tapes) == 724_326 - 5819
    assert sum(onset_of(tape) is not None for tape in tapes) == 32
