"""The look-ahead tests themselves: honest features pass, every planted leak is caught at every cut point."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from marketdata.capture import read_lines
from marketdata.events import Market
from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.lookahead import (
    ROWS_CHANGED,
    NullSkill,
    PrefixReport,
    Rows,
    delayed_skill,
    joined_reports,
    lookahead_certificate,
    null_skill,
    prefix_invariance,
    random_cuts,
    rotated_labels,
    rows_before,
    shuffled_labels,
)
from marketdata.features.lookahead_tapes import (
    COLUMN_NAMES,
    CaptureTape,
    ColumnTape,
    capture_rows,
    garbled_line,
    market_of,
    seeded_report,
    seeded_tape,
    tape_report,
    thousandfold,
)
from marketdata.features.pump_chunks import PUMP_FEATURES, pump_chunk_features
from marketdata.features.replay import GRID_NS
from tests.marketdata.features.test_pump_chunks import random_trades
from tests.marketdata.lines import START_NS, agg_trade, diff, snapshot, ticker

LEAK = COLUMN_NAMES.index("ofi_1s")
CUTS = 10
SEED = 7

RowsOf = Callable[[CaptureTape], Rows]


@cache
def spot_tape() -> CaptureTape:
    return seeded_tape(Market.SPOT, SEED)


@cache
def warm_cuts() -> tuple[int, ...]:
    rng = np.random.default_rng(SEED)
    return tuple(random_cuts(spot_tape(), capture_rows(spot_tape()), CUTS, rng, least_share=0.4))


def examined(rows_of: RowsOf, cuts: tuple[int, ...]) -> PrefixReport:
    return prefix_invariance(rows_of, spot_tape(), cuts, COLUMN_NAMES, np.random.default_rng(SEED))


# -- honest features ---------------------------------------------------------------------------------------------------


def test_no_feature_reads_the_future_on_seeded_tapes() -> None:
    report = seeded_report(cuts=8, seed=3)
    assert (report.violations, report.unseen, report.prefixes) == (0, (), 16)
    assert report.rows_compared > 1000


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("spot_3symbols_2021-04-04_91s", Market.SPOT),
        ("spot_btcusdt_2024-08-08_650s", Market.SPOT),
        ("usdm_5symbols_2021-04-05_119s", Market.USDM),
        ("usdm_btcusdt_2024-08-08_345s", Market.USDM),
    ],
)
def test_no_feature_reads_the_future_on_a_recording(shared_data: Path, name: str, market: Market) -> None:
    tape = CaptureTape(market, list(read_lines(shared_data / "captures" / f"{name}.txt.gz")))
    assert tape_report(tape, cuts=2, seed=4).violations == 0
    assert market_of(tape.lines) is market


@pytest.mark.parametrize("seconds", [5, 15])
def test_the_published_pump_features_read_no_future(seconds: int) -> None:
    trades = random_trades(25_000, seed=seconds, mean_gap_ms=200.0 * seconds)
    tape = ColumnTape(trades.timestamp_ms * 1_000_000, tuple(trades[1:]))
    report = prefix_invariance(
        lambda part: pump_rows(part, seconds), tape, pump_cuts(tape, seconds), PUMP_FEATURES, np.random.default_rng(5)
    )
    assert (report.violations, report.unseen) == (0, ())


def pump_rows(tape: ColumnTape, seconds: int) -> Rows:
    chunks = pump_chunk_features(tape.times_ns // 1_000_000, *tape.columns, seconds)
    return Rows((chunks.start_ms + 1000 * seconds) * 1_000_000, np.zeros(len(chunks.X), int), chunks.X)


def pump_cuts(tape: ColumnTape, seconds: int) -> list[int]:
    return random_cuts(tape, pump_rows(tape, seconds), 20, np.random.default_rng(6), least_share=0.9)


def test_a_chunk_used_before_it_ends_is_caught() -> None:
    trades = random_trades(25_000, seed=8, mean_gap_ms=1000.0)
    tape = ColumnTape(trades.timestamp_ms * 1_000_000, tuple(trades[1:]))

    def too_early(part: ColumnTape) -> Rows:
        rows = pump_rows(part, 5)
        return rows._replace(time_ns=rows.time_ns - 5_000_000_000)

    cuts = too_early(tape).time_ns[-200::10].tolist()
    report = prefix_invariance(too_early, tape, cuts, PUMP_FEATURES, np.random.default_rng(5))
    assert report.violated_prefixes == len(cuts) == 20


# -- planted leaks -----------------------------------------------------------------------------------------------------


def divided_by_the_whole_sample(tape: CaptureTape) -> Rows:
    rows = capture_rows(tape)
    rows.X[:, LEAK] /= np.nanmean(np.abs(rows.X[:, LEAK]))
    return rows


def one_row_too_far(tape: CaptureTape) -> Rows:
    """Each row holds the feature of the next tick of its symbol."""
    rows = capture_rows(tape)
    earlier = rows_before(rows.symbol, 1)
    known = earlier >= 0
    rows.X[earlier[known], LEAK] = rows.X[known, LEAK]
    return rows


@pytest.mark.parametrize("leaking", [divided_by_the_whole_sample, one_row_too_far])
def test_a_leaking_feature_is_caught_at_every_cut_and_no_other_is_blamed(leaking: RowsOf) -> None:
    report = examined(leaking, warm_cuts())
    assert report.by_column == {COLUMN_NAMES[LEAK]: CUTS}
    assert report.violated_prefixes == report.prefixes == CUTS


def restamped(tape: CaptureTape, stamp: Callable[[int], int]) -> CaptureTape:
    times = [stamp(t) for t in tape.times_ns.tolist()]
    lines = [b"%d %b" % (t, line.partition(b" ")[2]) for t, line in zip(times, tape.lines, strict=True)]
    return CaptureTape(tape.market, lines)


def one_tick_early(tape: CaptureTape) -> Rows:
    """A clock that runs one tick ahead: every row knows the 250 ms after it."""
    return capture_rows(restamped(tape, lambda t: t - GRID_NS))


def test_an_engine_that_is_one_tick_early_is_caught_at_every_cut() -> None:
    report = examined(one_tick_early, warm_cuts())
    assert report.violated_prefixes == CUTS
    assert len([name for name in report.by_column if name in FEATURE_NAMES]) > 40


def the_event_that_ends_a_tick_counts(tape: CaptureTape) -> Rows:
    """The classic slip: a tick is written after the event that completed it, not before."""
    seen = -1

    def stamp(t: int) -> int:
        nonlocal seen
        cell = t // GRID_NS
        is_first, seen = cell != seen, cell
        return max(cell * GRID_NS - 1, 0) if is_first else t

    return capture_rows(restamped(tape, stamp))


def test_one_event_too_many_is_caught_at_the_tick_itself() -> None:
    ticks = np.unique(capture_rows(spot_tape()).time_ns)
    at_ticks = tuple(int(t) for t in ticks[len(ticks) // 2 :: 12][:CUTS])
    report = examined(the_event_that_ends_a_tick_counts, at_ticks)
    assert report.violated_prefixes == len(at_ticks) == CUTS


def test_rows_that_only_the_future_makes_are_caught() -> None:
    def backfilled(tape: CaptureTape) -> Rows:
        rows = capture_rows(tape)
        return Rows(*(np.r_[column, column[-1:]] for column in (rows.time_ns[:-1], rows.symbol[:-1], rows.X[:-1])))

    def first_only_if_long(tape: CaptureTape) -> Rows:
        rows = capture_rows(tape)
        late = rows.time_ns[-1] > spot_tape().times_ns[-1] - GRID_NS
        return rows if late else Rows(*(column[1:] for column in rows))

    assert examined(first_only_if_long, warm_cuts()).by_column == {ROWS_CHANGED: CUTS}
    assert examined(backfilled, warm_cuts()).violations > 0


# -- cuts and garbage --------------------------------------------------------------------------------------------------


def test_cuts_lie_at_borders_and_within_the_rows() -> None:
    rows = capture_rows(spot_tape())
    cuts = np.array(random_cuts(spot_tape(), rows, 100, np.random.default_rng(1), least_share=0.5))
    assert len(cuts) == 100
    assert rows.time_ns[int(0.5 * (len(rows.time_ns) - 1))] <= cuts[0] and cuts[-1] < rows.time_ns[-1]
    assert np.isin(cuts, rows.time_ns).sum() == np.isin(cuts, spot_tape().times_ns).sum() == 50
    next_row = rows.time_ns[np.searchsorted(rows.time_ns, cuts, side="right")]
    next_event = spot_tape().times_ns[np.searchsorted(spot_tape().times_ns, cuts, side="right")]
    assert (next_event < next_row).mean() > 0.95


def test_the_garbage_keeps_the_past_and_turns_the_future_around() -> None:
    tape, t_ns = spot_tape(), warm_cuts()[3]
    known = int(np.searchsorted(tape.times_ns, t_ns, side="right"))
    garbled, shuffled = tape.spoiled_after(t_ns, np.random.default_rng(1))
    assert list(tape.until(t_ns).lines) == list(tape.lines[:known])
    for spoiled in (garbled, shuffled):
        assert list(spoiled.lines[:known]) == list(tape.lines[:known])
        assert spoiled.times_ns.tolist() == tape.times_ns.tolist()
        changed = sum(a != b for a, b in zip(spoiled.lines[known:], tape.lines[known:], strict=True))
        assert changed > 0.99 * (len(tape.lines) - known)
    assert sorted(line.partition(b" ")[2] for line in garbled.lines) == sorted(
        line.partition(b" ")[2] for line in shuffled.lines
    )


def test_garbage_is_a_thousandfold_with_sides_flipped_and_still_a_message() -> None:
    trade = garbled_line(agg_trade(START_NS, 1, "0.01234567", "2.5"))
    assert b'"p":"12.34567"' in trade and b'"q":"2500"' in trade and b'"m":true' in trade
    quote = garbled_line(ticker(START_NS, "100.00", "100.10"))
    assert b'"b":"100000"' in quote.replace(b".00", b"") and b'"B":"2500"' in quote and b'"A":"1500"' in quote
    book = garbled_line(diff(START_NS, 1, 2, [("99.5", "1")], [("100", "2")]))
    assert b'"b":[["100000","2000"]]' in book and b'"a":[["99500","1000"]]' in book
    assert b'"bids":[["2000","3000"]]' in garbled_line(snapshot(START_NS, 9, [("1", "1")], [("2", "3")]))
    tick = b'5 {"stream":"!tick","generated":true,"data":{}}\n'
    assert garbled_line(tick) == tick


@pytest.mark.parametrize(
    ("number", "want"), [("1.5", "1500"), ("0.00001234", "0.01234"), ("7", "7000"), ("0.00000000", "0.00000")]
)
def test_a_decimal_point_moves_three_places(number: str, want: str) -> None:
    assert thousandfold(number) == want
    assert float(thousandfold(number)) == pytest.approx(1000 * float(number))


def test_columns_are_garbled_by_what_they_are() -> None:
    tape = ColumnTape(np.arange(6), (np.arange(6.0), np.ones(6, np.int8), np.zeros(6, bool)))
    (spoiled,) = tape.spoiled_after(2, np.random.default_rng(1))
    number, side, flag = spoiled.columns
    assert number[:3].tolist() == [0.0, 1.0, 2.0] and sorted(number[3:].tolist()) == [3000.0, 4000.0, 5000.0]
    assert side.tolist() == [1, 1, 1, -1, -1, -1] and flag.tolist() == [False] * 3 + [True] * 3
    assert tape.until(2).columns[0].tolist() == [0.0, 1.0, 2.0]


def test_reports_add_up_and_a_column_seen_once_is_seen() -> None:
    one = PrefixReport(3, 5, 2, 2, {"a": 2}, ("b", "c"), 10)
    two = PrefixReport(3, 4, 1, 3, {"a": 1, ROWS_CHANGED: 2}, ("c",), 20)
    assert joined_reports([one, two]) == PrefixReport(3, 9, 3, 5, {"a": 3, ROWS_CHANGED: 2}, ("c",), 30)


# -- the tests of a training -------------------------------------------------------------------------------------------

Data = tuple[np.ndarray, np.ndarray, np.ndarray]
N = 1600


def ap(y: np.ndarray, score: np.ndarray) -> float:
    hits = y[np.argsort(-score, kind="stable")] > 0.5
    return float(np.mean(np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)))


def episodes(seed: int, lead_rows: int = 0) -> Data:
    """Two symbols; slow features, one of which rises where the label is 1 (or `lead_rows` earlier)."""
    rng = np.random.default_rng(seed)
    symbol = np.arange(N) % 2
    y = np.zeros(N)
    for start in rng.integers(0, N - 60, 22):
        y[start : start + 24] = 1.0
    noise = np.cumsum(rng.normal(0, 1, (N, 3)), axis=0)
    noise -= np.array([np.convolve(column, np.ones(101) / 101, "same") for column in noise.T]).T
    signal = np.roll(y, -2 * lead_rows) * 2 + rng.normal(0, 1.0, N)
    return np.column_stack([signal, noise]), y, symbol


def walk_forward(n: int = N, gap: int = 40) -> list[tuple[np.ndarray, np.ndarray]]:
    edges = [n // 2, 3 * n // 4, n]
    return [(np.arange(a - gap), np.arange(a, b)) for a, b in zip(edges, edges[1:], strict=False)]


def random_folds(seed: int, n: int = N) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = np.array_split(np.random.default_rng(seed).permutation(n), 4)
    return [(np.setdiff1d(np.arange(n), part), part) for part in parts]


def regression(X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(X)), X])
    return design[test] @ np.linalg.lstsq(design[train], y[train], rcond=None)[0]


def nearest_neighbours(X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Remembers: fair across time, and a cheat where neighbours in time are in the training rows."""
    slow = X[:, 1:]
    distance = ((slow[test][:, None, :] - slow[train][None, :, :]) ** 2).sum(axis=2)
    return y[train][np.argsort(distance, axis=1)[:, :3]].mean(axis=1)


def encoded_by_all_labels(X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fits its encoding of a fine category on all rows, test rows included."""
    category = np.round(X[:, 1] * 40).astype(int)
    means = {each: y[category == each].mean() for each in np.unique(category)}
    return np.array([means[each] for each in category[test]])


def nonsense_skill(pipeline: Callable, folds: list, rotate: bool, data: Data) -> NullSkill:
    X, y, symbol = data
    return null_skill(pipeline, X, y, symbol, folds, ap, np.random.default_rng(2), rotate=rotate, draws=99)


@pytest.mark.parametrize("pipeline", [regression, nearest_neighbours])
@pytest.mark.parametrize("rotate", [False, True])
def test_an_honest_pipeline_has_no_skill_on_nonsense(pipeline: Callable, rotate: bool) -> None:
    got = nonsense_skill(pipeline, walk_forward(), rotate, episodes(1))
    assert got.passed and got.skill == pytest.approx(got.chance, rel=0.35)


def test_labels_of_test_rows_in_the_fit_are_caught_by_shuffling() -> None:
    got = nonsense_skill(encoded_by_all_labels, walk_forward(), False, episodes(1))
    assert not got.passed and got.skill > 1.4 * got.chance


def test_folds_that_part_episodes_are_caught_by_rotation_and_not_by_shuffling() -> None:
    parted = nonsense_skill(nearest_neighbours, random_folds(1), True, episodes(1))
    assert not parted.passed and parted.skill > 1.15 * parted.chance
    assert nonsense_skill(nearest_neighbours, random_folds(1), False, episodes(1)).passed


def test_older_features_that_are_better_are_caught() -> None:
    def delay(lead_rows: int) -> tuple[float, bool]:
        X, y, symbol = episodes(2, lead_rows)
        got = delayed_skill(regression, X, y, symbol, walk_forward(), ap, np.random.default_rng(3))
        assert got.change == pytest.approx(got.delayed - got.skill)
        return got.change, got.passed

    assert delay(0)[1]
    change, passed = delay(8)
    assert change > 0.01 and not passed


def test_a_certificate_says_what_is_wrong() -> None:
    clean, leaking = PrefixReport(2, 9, 0, 0, {}, (), 50), PrefixReport(2, 9, 4, 4, {"ofi_1s": 4}, (), 50)
    X, y, symbol = episodes(1)

    def certified(prefix: PrefixReport, pipeline: Callable, folds: list) -> tuple[bool, tuple[str, ...], dict]:
        rng = np.random.default_rng(4)
        got = lookahead_certificate(prefix, pipeline, X, y, symbol, folds, ap, rng, repeats=2, draws=60)
        return got.passed, got.problems, got.as_dict()

    passed, problems, stored = certified(clean, regression, walk_forward())
    assert passed and not problems
    assert stored["passed"] and stored["prefix"]["violations"] == 0 and stored["base_rate"] == pytest.approx(y.mean())
    assert stored["delayed"]["skill"] > 2 * y.mean()
    passed, problems, stored = certified(leaking, nearest_neighbours, random_folds(2))
    assert not passed and not stored["passed"]
    assert "ofi_1s" in problems[0] and "rotated" in problems[1]


def test_moved_labels_stay_with_their_symbol() -> None:
    symbol = np.array([0, 1] * 50)
    y = np.where(symbol == 0, np.arange(100) < 20, 0).astype(float)
    for move in (shuffled_labels, rotated_labels):
        moved = move(y, symbol, np.random.default_rng(1))
        assert moved[symbol == 1].sum() == 0 and moved.sum() == y.sum() and not np.array_equal(moved, y)
    rotated = rotated_labels(y, symbol, np.random.default_rng(1))[symbol == 0]
    assert (np.abs(np.diff(np.r_[rotated, rotated[0]])) > 0).sum() == 2, "an episode was torn apart"


def test_the_row_before_is_of_the_same_symbol() -> None:
    assert rows_before(np.array([0, 1, 1, 0, 1]), 1).tolist() == [-1, -1, 1, 0, 2]
    assert rows_before(np.array([0, 1, 1, 0, 1]), 2).tolist() == [-1, -1, -1, -1, 1]
