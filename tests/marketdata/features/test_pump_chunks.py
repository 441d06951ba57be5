"""The published pump features: hand-made trades, a slow pandas twin, and the rows that were published."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.features.pump_chunks import (
    PAGE_MS,
    PAGE_ROWS,
    PUMP_FEATURES,
    STEP_MS,
    WINDOW_CHUNKS,
    page_repeats,
    pump_chunk_features,
    relative_change,
    rolling_mean,
    rolling_std,
)

HOUR_MS = 3_600_000
START_MS = 1_586_277_000_000
PUBLISHED_TO = 6e-4
"""The published rows have three decimals."""


class Trades(NamedTuple):
    """Columns of a recording, in its own order."""

    timestamp_ms: np.ndarray
    is_buy: np.ndarray
    price: np.ndarray
    amount: np.ndarray

    def rows(self, which: np.ndarray | slice) -> "Trades":
        return Trades(*(column[which] for column in self))


def column(name: str) -> int:
    return PUMP_FEATURES.index(name)


def random_trades(n: int, seed: int, mean_gap_ms: float = 900.0) -> Trades:
    rng = np.random.default_rng(seed)
    gaps = np.where(rng.random(n) < 0.3, 0, rng.exponential(mean_gap_ms, n)).astype(np.int64)
    price = 1e-5 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    return Trades(START_MS + np.cumsum(gaps), rng.random(n) < 0.6, price, rng.integers(1, 500, n).astype(float))


# -- by hand and by a slow twin ----------------------------------------------------------------------------------------


def slow_twin(trades: Trades, seconds: int) -> pd.DataFrame:
    """The published recipe, step by step, in pandas."""
    frame = pd.DataFrame(trades._asdict())
    frame = frame[frame.is_buy].assign(volume=frame.price * frame.amount, chunk=frame.timestamp_ms // (1000 * seconds))
    per_ms = frame.groupby("timestamp_ms").agg(fills=("price", "size"), chunk=("chunk", "first"))
    chunks = frame.groupby("chunk").agg(
        trades=("price", "size"), volume=("volume", "sum"), mean=("price", "mean"), top=("price", "max")
    )
    chunks["rush"] = (per_ms.fills > 1).groupby(per_ms.chunk).sum().astype(float)
    wide, short = chunks.rolling(WINDOW_CHUNKS[seconds]), chunks.rolling(10)
    rolled = {
        "std_rush_order": wide.rush.std(),
        "avg_rush_order": wide.rush.mean(),
        "std_trades": wide.trades.std(),
        "std_volume": wide.volume.std(),
        "avg_volume": wide.volume.mean(),
        "std_price": wide["mean"].std(),
        "avg_price": short["mean"].mean(),
        "avg_price_max": short.top.mean(),
    }
    return pd.DataFrame({name: values.pct_change(fill_method=None) for name, values in rolled.items()})


@pytest.mark.parametrize("seconds", WINDOW_CHUNKS)
def test_every_chunk_equals_the_slow_twin(seconds: int) -> None:
    trades = random_trades(30_000, seed=seconds, mean_gap_ms=250.0 * seconds)
    got, want = pump_chunk_features(*trades, seconds), slow_twin(trades, seconds)
    assert got.start_ms.tolist() == (want.index * 1000 * seconds).tolist()
    np.testing.assert_allclose(got.X[:, :8], want.to_numpy(), rtol=1e-7, atol=1e-10)
    assert np.isfinite(got.X).all(axis=1).sum() > 500


def some_chunks(n: int) -> Trades:
    """One buy of 2 in each chunk of five seconds."""
    return Trades(START_MS + 5000 * np.arange(n), np.ones(n, bool), np.full(n, 0.5), np.full(n, 2.0))


def test_a_burst_of_buying_moves_every_statistic() -> None:
    quiet = some_chunks(701)
    last = quiet.timestamp_ms[-1]
    burst = Trades(np.full(3, last + 5000), np.ones(3, bool), np.array([0.5, 0.6, 0.7]), np.full(3, 10.0))
    both = Trades(*(np.concatenate(pair) for pair in zip(quiet, burst, strict=True)))
    row = pump_chunk_features(*both, 5).X[-1]
    assert row[column("avg_volume")] == pytest.approx((699 + 18.0) / 700 - 1.0)
    assert row[column("avg_price")] == pytest.approx(0.6 / 0.5 / 10 + 0.9 - 1.0)
    assert row[column("avg_price_max")] == pytest.approx(0.7 / 0.5 / 10 + 0.9 - 1.0)
    assert np.isposinf(row[[column("std_trades"), column("std_volume"), column("std_rush_order")]]).all()


def test_sells_are_ignored() -> None:
    trades = random_trades(20_000, seed=1)
    bought = trades.rows(trades.is_buy)
    assert pump_chunk_features(*trades, 15).X.tobytes() == pump_chunk_features(*bought, 15).X.tobytes()


def test_a_row_never_reads_the_trades_after_its_chunk() -> None:
    trades = random_trades(20_000, seed=2)
    whole = pump_chunk_features(*trades, 5)
    for cut in np.random.default_rng(3).integers(8000, 20_000, 20):
        end_ms = trades.timestamp_ms[cut] // 5000 * 5000
        past = pump_chunk_features(*trades.rows(trades.timestamp_ms < end_ms), 5)
        assert past.X.tobytes() == whole.X[: len(past.X)].tobytes()


def test_two_buys_in_one_millisecond_are_one_rush_order() -> None:
    def rush_change(times: list[int]) -> float:
        early = some_chunks(701)
        early.timestamp_ms[350:352] = early.timestamp_ms[350]  # one rush order long ago: the mean is not zero
        late = early.timestamp_ms[-1] + 5000 + np.array(times)
        extra = Trades(late, np.ones(len(late), bool), np.full(len(late), 0.5), np.full(len(late), 2.0))
        both = Trades(*(np.concatenate(pair) for pair in zip(early, extra, strict=True)))
        return float(pump_chunk_features(*both, 5).X[-1, column("avg_rush_order")])

    assert rush_change([0, 1, 2]) == pytest.approx(0.0)
    assert rush_change([0, 0]) == rush_change([0, 0, 0, 0]) == pytest.approx(1.0)
    assert rush_change([0, 0, 7, 7]) == pytest.approx(2.0)


def test_the_published_clock_turns_in_23_hours_and_59_minutes() -> None:
    at_59 = np.array([START_MS // 86_400_000 * 86_400_000 + 23 * HOUR_MS + 59 * 60_000])
    clock = pump_chunk_features(at_59, np.array([True]), np.ones(1), np.ones(1), 5).X[0, 8:]
    np.testing.assert_allclose(clock, [0.0, 1.0, 0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_a_window_of_equal_values_has_exactly_no_spread(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.r_[rng.random(53), np.full(30, 0.1), rng.random(9)]
    assert (rolling_std(values, 10)[62:83] == 0.0).all()
    assert (rolling_mean(values, 10)[62:83] == 0.1).all()
    assert np.isnan(rolling_std(values, 10)[:9]).all() and np.isfinite(rolling_std(values, 10)[9:]).all()


def test_rolling_statistics_forget_a_huge_value() -> None:
    values = np.r_[np.full(5, 1e12), np.random.default_rng(6).random(5000)]
    want = pd.Series(values[5:]).rolling(100).std().to_numpy()[200:]
    np.testing.assert_allclose(rolling_std(values, 100)[205:], want, rtol=1e-9)


def test_a_change_from_nothing_is_infinite_and_of_nothing_unknown() -> None:
    change = relative_change(np.array([0.0, 0.0, 2.0, 3.0, np.nan, 1.0]))
    np.testing.assert_array_equal(change, [np.nan, np.nan, np.inf, 0.5, np.nan, np.nan])


def test_no_buys_make_no_chunks() -> None:
    chunks = pump_chunk_features(np.array([5]), np.array([False]), np.ones(1), np.ones(1), 5)
    assert chunks.X.shape == (0, len(PUMP_FEATURES)) and chunks.start_ms.shape == (0,)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="5, 15, 25"):
        pump_chunk_features(*some_chunks(3), 60)
    with pytest.raises(ValueError, match="sort them"):
        pump_chunk_features(*some_chunks(3).rows(slice(None, None, -1)), 5)


# -- trades recorded twice ---------------------------------------------------------------------------------------------


def downloaded(trades: Trades, start_ms: int, end_ms: int, page_rows: int) -> np.ndarray:
    """Which trade each row of a recording is, when it is made page by page as the published downloader does."""
    return np.concatenate([np.arange(*page) for page in pages(trades.timestamp_ms, start_ms, end_ms, page_rows)])


def recorded_again(taken: np.ndarray) -> np.ndarray:
    return np.r_[False, np.maximum.accumulate(taken)[:-1] >= taken[1:]]


def pages(times: np.ndarray, start_ms: int, end_ms: int, page_rows: int) -> Iterator[tuple[int, int]]:
    since = start_ms
    while since < end_ms:
        first = int(np.searchsorted(times, since))
        last = min(int(np.searchsorted(times, since + PAGE_MS, side="right")), first + page_rows)
        newest = int(times[last - 1]) if last > first else since
        if last > first:
            yield first, last
        since = newest if newest != since else since + STEP_MS


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    gap_s=st.sampled_from([2.0, 60.0, 900.0]),
    page_rows=st.sampled_from([40, 500]),
    equal_fills=st.booleans(),
)
def test_exactly_the_repeats_of_pages_are_found(seed: int, gap_s: float, page_rows: int, equal_fills: bool) -> None:
    """Also where real fills within one millisecond all look alike."""
    trades = random_trades(1500, seed, mean_gap_ms=gap_s * 1000)
    if equal_fills:
        trades = trades._replace(price=np.ones(1500), amount=np.ones(1500), is_buy=np.ones(1500, bool))
    end_ms = int(trades.timestamp_ms[-1])
    taken = downloaded(trades, START_MS - 5 * HOUR_MS, end_ms, page_rows)
    again = recorded_again(taken)
    got = page_repeats(*trades.rows(taken), start_ms=START_MS - 5 * HOUR_MS, page_rows=page_rows)
    assert again.sum() >= 3
    np.testing.assert_array_equal(got, again)


def test_a_page_of_one_double_fill_repeats_nothing_before_a_busy_hour() -> None:
    times = START_MS + np.r_[0, 0, 2 * HOUR_MS + 1000 * np.arange(200)]
    trades = Trades(times, np.ones(202, bool), np.ones(202), np.ones(202))
    taken = downloaded(trades, START_MS - 1000, int(times[-1]), page_rows=40)
    got = page_repeats(*trades.rows(taken), start_ms=START_MS - 1000, page_rows=40)
    assert taken[:4].tolist() == [0, 1, 0, 1] and got[:4].tolist() == [False, False, True, True]
    np.testing.assert_array_equal(got, recorded_again(taken))


# -- the published rows ------------------------------------------------------------------------------------------------


class PublishedRow(NamedTuple):
    event: str
    seconds: int
    start_ms: int
    values: np.ndarray


@cache
def recordings(shared: Path) -> dict[str, tuple[int, Trades]]:
    """Event -> (announced at, the recording as it was downloaded, page repeats included)."""
    table = pd.read_parquet(shared / "pumps" / "pump_trades_before_2021_06.parquet")
    return {
        str(event): (
            int(rows.event_ts_ms.iloc[0]),
            Trades(*(np.asarray(c) for c in (rows.timestamp, rows.side == "buy", rows.price, rows.amount))),
        )
        for event, rows in table.groupby("event")
    }


@cache
def published_rows(shared: Path) -> tuple[PublishedRow, ...]:
    """The published rows within a day of an event whose trades we have."""
    found = []
    for seconds in WINDOW_CHUNKS:
        table = pd.read_csv(shared / "pumps" / f"published_positive_rows_{seconds}s.csv", parse_dates=["date"])
        start_ms = table.date.to_numpy("datetime64[ms]").astype(np.int64)
        for event, (announced_ms, _) in recordings(shared).items():
            near = (table.symbol == event.split("_")[0]) & (np.abs(start_ms - announced_ms) <= 24 * HOUR_MS)
            found += [
                PublishedRow(event, seconds, int(start_ms[k]), table.loc[k, list(PUMP_FEATURES)].to_numpy(float))
                for k in np.flatnonzero(near)
            ]
    return tuple(found)


def gaps(published: PublishedRow, trades: Trades) -> np.ndarray:
    """How far each of our values is from the published one; NaN where our window is not full."""
    chunks = pump_chunk_features(*trades, published.seconds)
    at = np.searchsorted(chunks.start_ms, published.start_ms)
    assert chunks.start_ms[at] == published.start_ms, "no buy in a published chunk"
    return np.abs(chunks.X[at] - published.values)


@pytest.mark.realdata
@pytest.mark.parametrize("event", ["ARN_2020-04-07 18.00", "ONG_2021-01-11 16.00", "POA_2020-03-12 19.00"])
def test_published_rows_of_five_seconds_are_reproduced(shared_data: Path, event: str) -> None:
    """methods.md T1."""
    (row,) = (row for row in published_rows(shared_data) if (row.event, row.seconds) == (event, 5))
    assert gaps(row, recordings(shared_data)[event][1]).max() <= PUBLISHED_TO


@pytest.mark.realdata
def test_how_many_published_rows_and_values_match(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Comparable: 48 hours of trades before the event fill all windows. The others had a week to fill theirs."""
    full: dict[int, list[bool]] = {seconds: [] for seconds in WINDOW_CHUNKS}
    values: list[np.ndarray] = []
    for row in published_rows(shared_data):
        gap = gaps(row, recordings(shared_data)[row.event][1])
        values.append(gap[np.isfinite(gap)] <= PUBLISHED_TO)
        if not np.isnan(gap).any():
            full[row.seconds].append(bool(gap.max() <= PUBLISHED_TO))
    matched = {seconds: (sum(rows), len(rows)) for seconds, rows in full.items()}
    n_values = (int(np.concatenate(values).sum()), sum(map(len, values)))
    with capsys.disabled():
        print(f"\npublished rows matched, of comparable ones, by chunk seconds: {matched}; single values: {n_values}")
    assert matched == {5: (3, 15), 15: (1, 12), 25: (0, 9)}
    assert n_values[0] >= 0.7 * n_values[1]


PUBLISHED_PAGE_ROWS = 1000
PUBLISHED_STARTS_MS = {
    "EDO_2020-03-26 15.59": -176_340_000,
    "GRS_2020-04-02 16.00": -176_400_000,
    "ONG_2021-01-11 16.00": -176_340_000,
    "POA_2020-03-12 19.00": -176_400_000,
    "QLC_2020-09-06 16.00": -174_300_000,
    "RCN_2021-01-10 17.00": -173_700_000,
    "STEEM_2021-01-18 17.00": -174_600_000,
}
"""Where pages must have begun, before the event; found by trying starts until all rows of the event agreed."""


@pytest.mark.realdata
@pytest.mark.parametrize("event", PUBLISHED_STARTS_MS)
def test_rows_that_differ_do_so_by_trades_recorded_twice(shared_data: Path, event: str) -> None:
    """The published download had pages of 1000 rows from another start, hence other repeats in its windows.

    The same trades, cleaned and cut into such pages, give every comparable published row of the event.
    """
    announced_ms, recorded = recordings(shared_data)[event]
    clean = recorded.rows(~page_repeats(*recorded, start_ms=announced_ms - 48 * HOUR_MS))
    start_ms = announced_ms + PUBLISHED_STARTS_MS[event]
    again = clean.rows(downloaded(clean, start_ms, announced_ms + 24 * HOUR_MS, PUBLISHED_PAGE_ROWS))
    every = [gaps(row, again) for row in published_rows(shared_data) if row.event == event]
    comparable = [gap.max() for gap in every if not np.isnan(gap).any()]
    assert comparable and max(comparable) <= PUBLISHED_TO


@pytest.mark.realdata
def test_cleaned_recordings_downloaded_again_are_the_recordings(shared_data: Path) -> None:
    dropped = looks_alike = 0
    for event, (announced_ms, recorded) in recordings(shared_data).items():
        start_ms = announced_ms - 48 * HOUR_MS
        repeats = page_repeats(*recorded, start_ms=start_ms)
        clean = recorded.rows(~repeats)
        again = clean.rows(downloaded(clean, start_ms, announced_ms + 48 * HOUR_MS, PAGE_ROWS))
        for name, got, want in zip(Trades._fields, again, recorded, strict=True):
            assert got.tobytes() == want.tobytes(), f"{event}: {name}"
        dropped += int(repeats.sum())
        looks_alike += int(pd.DataFrame(recorded._asdict()).duplicated().sum())
    assert (dropped, looks_alike) == (5819, 12_087)
