"""The promises every feature keeps, checked feature by feature over the tapes of tapes.py."""

import pickle
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.features import feature_set as fs
from tests.marketdata.features.player import play, play_event, vector_of, vectors
from tests.marketdata.features.reference import View
from tests.marketdata.features.tapes import (
    CALM,
    NS_PER_S,
    START_NS,
    TAPES,
    Book,
    Event,
    Quote,
    Reset,
    Tape,
    Trade,
    calm,
    in_time_order,
    surge,
    thin,
)
from tests.marketdata.features.twins import TWINS, reference_value

COLUMNS = list(enumerate(fs.FEATURE_NAMES))
IDS = list(fs.FEATURE_NAMES)
per_feature = pytest.mark.parametrize(("column", "name"), COLUMNS, ids=IDS)

Rows = Callable[[Sequence[Event], Sequence[int]], np.ndarray]


def cut_times(tape: Tape, n: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return sorted(int(t) for t in rng.integers(tape[0].ts_ns, tape[-1].ts_ns + 3 * NS_PER_S, n))


def as_of(tape: Sequence[Event], ts_ns: int) -> list[Event]:
    return [event for event in tape if event.ts_ns <= ts_ns]


# -- equal to a slow twin -----------------------------------------------------------------------------------------


@cache
def twin_cases() -> list[tuple[str, int, np.ndarray, View]]:
    cases = []
    for seed, (name, tape) in enumerate(TAPES.items()):
        times = cut_times(tape, 25, seed)
        rows = vectors(tape, times)
        cases += [(name, t, row, View(tape, 0, t)) for t, row in zip(times, rows, strict=True)]
    return cases


def test_every_feature_has_a_slow_twin() -> None:
    assert set(TWINS) == set(fs.FEATURE_NAMES)


@per_feature
def test_it_equals_its_slow_twin(column: int, name: str) -> None:
    compared = 0
    for tape, ts_ns, row, view in twin_cases():
        expected = reference_value(name, view)
        compared += not np.isnan(expected)
        assert row[column] == pytest.approx(expected, rel=1e-9, abs=1e-10, nan_ok=True), f"{tape} at {ts_ns}"
    assert compared >= 20


@per_feature
def test_it_takes_many_values(column: int, name: str) -> None:
    """A feature that never moves, or whose twin is compared on one value only, proves nothing."""
    values = {row[column] for _, _, row, _ in twin_cases() if not np.isnan(row[column])}
    assert len(values) >= 8


# -- the past does not change when the future arrives ----------------------------------------------------------------


def garbage(event: Event, rng: np.random.Generator) -> Event:
    """An event at the same time that says something else entirely."""
    match event:
        case Quote(ts_ns, symbol, bid_e8, bid_qty, ask_e8, ask_qty):
            return Quote(ts_ns, symbol, bid_e8 * 7, ask_qty * 1e3, ask_e8 * 7 + int(rng.integers(1, 99)), bid_qty)
        case Book(ts_ns, symbol, bids, asks):
            return Book(ts_ns, symbol, tuple((p * 7, q * 1e3) for p, q in bids), tuple((p * 7 + 1, q) for p, q in asks))
        case Trade(ts_ns, symbol, price_e8, qty, side):
            return Trade(ts_ns, symbol, price_e8 * 1000, qty * 1e6, -side)
    return event


def prefix_violations(rows: Rows, tape: Tape, times: Sequence[int], seed: int) -> np.ndarray:
    """Count, per column, the cut points at which the vector changes when the future is cut off or made garbage."""
    rng = np.random.default_rng(seed)
    whole = rows(tape, times)
    broken = np.zeros(fs.N_FEATURES, int)
    for k, ts_ns in enumerate(times):
        past = as_of(tape, ts_ns)
        futures = (past, past + [garbage(event, rng) for event in tape[len(past) :]])
        changed = np.zeros(fs.N_FEATURES, bool)
        for events in futures:
            row = rows(events, [ts_ns])[0]
            changed |= row.view(np.int64) != whole[k].view(np.int64)
        broken += changed
    return broken


@cache
def honest_violations() -> np.ndarray:
    return sum(prefix_violations(vectors, tape, cut_times(tape, 12, 40), 41) for tape in TAPES.values())


@per_feature
def test_the_past_does_not_change_when_the_future_arrives(column: int, name: str) -> None:
    assert honest_violations()[column] == 0


LEAK = fs.FEATURE_NAMES.index("trade_imbalance_60s")


def scaled_by_the_whole_sample(events: Sequence[Event], times: Sequence[int]) -> np.ndarray:
    rows = vectors(events, times)
    rows[:, LEAK] /= np.mean([event.qty for event in events if isinstance(event, Trade)])
    return rows


def one_event_too_far(events: Sequence[Event], times: Sequence[int]) -> np.ndarray:
    """Reads each column as of the first event after the asked time."""
    rows = vectors(events, times)
    for row, ts_ns in zip(rows, times, strict=True):
        seen = len(as_of(events, ts_ns))
        row[LEAK] = vector_of(play(events[: seen + 1]), ts_ns if seen == len(events) else events[seen].ts_ns)[LEAK]
    return rows


@pytest.mark.parametrize("leaking", [scaled_by_the_whole_sample, one_event_too_far])
def test_a_leaking_feature_is_caught_and_no_other(leaking: Rows) -> None:
    times = [t for t in cut_times(CALM, 12, 50) if START_NS + 25 * NS_PER_S < t < CALM[-1].ts_ns]
    broken = prefix_violations(leaking, CALM, times, 51)
    assert broken[LEAK] == len(times)
    assert broken.sum() == broken[LEAK]


# -- warm-up, staleness, resets ---------------------------------------------------------------------------------------

BOOK_NAMES = ("mlofi", "depth_", "deep_", "slope_", "turnover_", "ask_", "bid_reach")
NEEDS_BOOK = {name for name in fs.FEATURE_NAMES if name.startswith(BOOK_NAMES)}
NEEDS_TRADES_ONLY = {feature.name for feature in fs.FEATURES if feature.group == "trade_flow"} - {
    "vwap_deviation_60s",
    "vwap_deviation_300s",
}


def at_second(seconds: float) -> int:
    return START_NS + int(seconds * NS_PER_S)


@cache
def calm_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cold = vectors(CALM, [at_second(s) for s in (0.5, 5, 12, 19)])
    warm = vectors(CALM, [at_second(s) for s in [*range(23, 199, 5), *range(224, 399, 5)]])
    stale = vectors(CALM, [CALM[-1].ts_ns + 6 * NS_PER_S])
    return cold, warm, stale


@per_feature
def test_it_is_nan_before_warm_up(column: int, name: str) -> None:
    assert np.isnan(calm_rows()[0][:, column]).all()


@per_feature
def test_it_is_finite_after_warm_up(column: int, name: str) -> None:
    assert np.isfinite(calm_rows()[1][:, column]).all()


@per_feature
def test_a_silent_market_leaves_only_trade_features(column: int, name: str) -> None:
    assert np.isfinite(calm_rows()[2][0, column]) == (name in NEEDS_TRADES_ONLY)


@per_feature
def test_a_rebuilt_book_warms_up_again_and_nothing_else_does(column: int, name: str) -> None:
    reset_s = 200
    rows = vectors(CALM, [at_second(reset_s + 10)])
    assert np.isnan(rows[0, column]) == (name in NEEDS_BOOK)


@per_feature
def test_a_symbol_without_trades_has_no_trade_features(column: int, name: str) -> None:
    quiet = [event for event in CALM if not isinstance(event, Trade)]
    row = vectors(quiet, [at_second(60)])[0]
    trades_needed = name in NEEDS_TRADES_ONLY or name.startswith(("vwap", "kyle", "amihud", "turnover", "ask_pressure"))
    assert np.isnan(row[column]) == trades_needed


def test_an_outage_never_looks_like_a_move() -> None:
    before = [event for event in CALM if event.ts_ns < at_second(100)]
    later_ns = 120 * NS_PER_S
    after: list[Event] = []
    for event in before:
        if isinstance(event, Quote):
            after.append(event._replace(ts_ns=event.ts_ns + later_ns, bid_e8=event.bid_e8 * 2, ask_e8=event.ask_e8 * 2))
        elif isinstance(event, Trade):
            after.append(event._replace(ts_ns=event.ts_ns + later_ns, price_e8=event.price_e8 * 2))
    tape = [*before, Reset(at_second(100), 0), *after]
    move = fs.FEATURE_NAMES.index("return_60s")
    surge_300 = fs.FEATURE_NAMES.index("volume_surge_5s_300s")
    just_back, warm = vectors(tape, [at_second(125), at_second(145)])
    assert np.isnan(just_back).all()
    assert abs(warm[move]) < 100
    fresh = vectors(after, [at_second(145)])[0]
    assert warm[surge_300] == fresh[surge_300]


def test_a_reset_without_silence_keeps_price_memory() -> None:
    events = [event for event in CALM if event.ts_ns < at_second(60)]
    with_reset = [*events, Reset(at_second(60), 0)]
    move = fs.FEATURE_NAMES.index("return_15s")
    assert vector_of(play(with_reset), at_second(60))[move] == vector_of(play(events), at_second(60))[move]


def test_a_quiet_spell_after_a_finished_reset_is_no_outage() -> None:
    events = [event for event in CALM if event.ts_ns < at_second(60)]
    waking = next(event for event in events if isinstance(event, Trade))._replace(ts_ns=at_second(61))
    late = waking._replace(ts_ns=at_second(75))
    rows = [
        vector_of(play([*events, *reset, waking, late]), at_second(75)) for reset in ([], [Reset(at_second(60), 0)])
    ]
    intensity = fs.FEATURE_NAMES.index("trade_intensity_60s")
    assert rows[0][intensity] == rows[1][intensity] > 0.0


# -- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TAPES)
def test_asking_changes_nothing(name: str) -> None:
    state = play(TAPES[name])
    before = pickle.dumps(state)
    for late_s in (0, 1, 30, 4000):
        vector_of(state, TAPES[name][-1].ts_ns + late_s * NS_PER_S)
    assert pickle.dumps(state) == before


def test_other_symbols_change_nothing() -> None:
    others = (surge(seed=21, symbol=0), calm(seed=22, symbol=2), thin(seed=23, symbol=3))
    own = [event._replace(symbol=1) for event in CALM]
    mixed = in_time_order(own, *map(list, others))
    times = cut_times(CALM, 20, 60)
    alone = vectors(own, times, symbol=1, capacity=2)
    together = vectors(mixed, times, symbol=1, capacity=4)
    np.testing.assert_array_equal(together, alone)


def test_memory_grows_and_keeps_what_it_knows() -> None:
    middle = len(CALM) // 2
    state = fs.grow(play(CALM[:middle]), 5)
    fresh = fs.new_feature_state(5)
    for small, grown in zip(fresh, state, strict=True):
        assert grown[1:].tobytes() == small[1:].tobytes()
    for event in CALM[middle:]:
        play_event(state, event)
    end = CALM[-1].ts_ns
    np.testing.assert_array_equal(vector_of(state, end), vector_of(play(CALM), end))


def test_memory_survives_pickling() -> None:
    middle = len(CALM) // 2
    state = pickle.loads(pickle.dumps(play(CALM[:middle])))
    for event in CALM[middle:]:
        play_event(state, event)
    end = CALM[-1].ts_ns
    np.testing.assert_array_equal(vector_of(state, end), vector_of(play(CALM), end))


def test_inputs_are_not_changed() -> None:
    state = fs.new_feature_state(1)
    levels = np.arange(1, 11, dtype=np.int64) * 10**8
    qtys = np.arange(1.0, 11.0)
    fs.on_book(state, 0, START_NS, levels[::-1].copy(), qtys, levels, qtys, 10, 10)
    assert levels.tolist() == [n * 10**8 for n in range(1, 11)]
    assert qtys.tolist() == [float(n) for n in range(1, 11)]


def test_memory_cannot_shrink_or_be_empty() -> None:
    with pytest.raises(ValueError, match="cannot shrink"):
        fs.grow(fs.new_feature_state(3), 2)
    with pytest.raises(ValueError, match="at least one symbol"):
        fs.new_feature_state(0)


prices = st.integers(1, 10**17)
amounts = st.floats(1e-8, 1e15)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["quote", "book", "trade", "reset"]),
            st.one_of(st.just(0), st.integers(0, 10**9), st.integers(0, 10**15)),
            prices,
            amounts,
            amounts,
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    ),
    late=st.one_of(st.integers(0, 4 * 10**9), st.integers(0, 10**17)),
)
def test_no_valid_input_makes_an_infinite_value(steps: list, late: int) -> None:
    """Absurd prices, sizes and pauses: the vector holds numbers or NaN, never inf, and no step raises."""
    state = fs.new_feature_state(1)
    now = START_NS
    play_event(state, Quote(now, 0, 10**8, 1.0, 10**8 + 1, 1.0))
    for kind, pause, price, qty, other, is_buy in steps:
        now += pause
        if kind == "quote":
            play_event(state, Quote(now, 0, price, qty, price + 1, other))
        elif kind == "book":
            bids = tuple((max(price - k, 1), qty) for k in range(10))
            play_event(state, Book(now, 0, bids, tuple((price + 1 + k, other) for k in range(10))))
        elif kind == "trade":
            play_event(state, Trade(now, 0, price, qty, 1 if is_buy else -1))
        else:
            play_event(state, Reset(now, 0))
        assert not np.isinf(vector_of(state, now)).any()
    assert not np.isinf(vector_of(state, now + late)).any()
