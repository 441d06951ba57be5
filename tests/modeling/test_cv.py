"""Purged splits: the hand-made example, and the one property that matters for random spans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling.cv import PurgedKFold, WalkForward

DAY0 = np.arange(12)
DAY1 = DAY0 + 3


def trains(splitter: PurgedKFold | WalkForward, t0: np.ndarray = DAY0, t1: np.ndarray = DAY1) -> list[list[int]]:
    return [train.tolist() for train, _ in splitter.split(t0, t1)]


def test_closed_spans_give_the_worked_training_sets() -> None:
    assert trains(PurgedKFold(3)) == [[7, 8, 9, 10, 11], [0, 11], [0, 1, 2, 3, 4]]


def test_the_embargo_drops_rows_that_start_soon_after_the_block() -> None:
    assert trains(PurgedKFold(3, embargo_ns=2))[0] == [9, 10, 11]


def test_blocks_cover_every_row_once_in_time_order() -> None:
    tests = [test.tolist() for _, test in PurgedKFold(3).split(DAY0, DAY1)]
    assert tests == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_rows_of_one_moment_stay_on_one_side() -> None:
    t0 = np.repeat(np.arange(6), 5)
    for _, test in PurgedKFold(3).split(t0, t0):
        assert len(test) == 10 and len(np.unique(t0[test])) == 2


def test_walk_forward_trains_on_the_past_only() -> None:
    splits = list(WalkForward(2).split(DAY0, DAY1))
    assert [test.tolist() for _, test in splits] == [[4, 5, 6, 7], [8, 9, 10, 11]]
    for train, test in splits:
        assert DAY1[train].max() < DAY0[test].min()
    later = list(WalkForward(2, embargo_ns=2).split(np.arange(30), np.arange(30) + 3))
    assert [(train.max(), test.min()) for train, test in later] == [(4, 10), (14, 20)]


def test_too_few_moments_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="use more data"):
        list(PurgedKFold(5).split(np.zeros(9, int), np.ones(9, int)))


def test_an_empty_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match="no training rows"):
        list(PurgedKFold(2).split(DAY0, DAY0 + 100))


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), min_size=6, max_size=60)


@settings(max_examples=200, deadline=None)
@given(spans, st.integers(2, 5), st.integers(0, 10), st.booleans())
def test_no_training_life_touches_a_test_block(
    lives: list[tuple[int, int]], n_splits: int, embargo: int, forward: bool
) -> None:
    t0 = np.array([start for start, _ in lives])
    t1 = t0 + np.array([length for _, length in lives])
    splitter = WalkForward(n_splits, embargo) if forward else PurgedKFold(n_splits, embargo)
    try:
        splits = list(splitter.split(t0, t1))
    except ValueError:
        return  # too few moments, or nothing left to train on: refused, never leaked
    for train, test in splits:
        start, end = t0[test].min(), t1[test].max()
        assert not set(train) & set(test)
        for i in train:
            assert t1[i] < start or t0[i] > end
            assert not end < t0[i] <= end + embargo
            assert not any(t0[i] <= t1[j] and t0[j] <= t1[i] for j in test)
