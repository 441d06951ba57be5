"""Average uniqueness and the sequential bootstrap, by the worked example of the book."""

import numpy as np
import pytest

from modeling.sample_weights import average_uniqueness, life_bars, sequential_bootstrap, sequential_probabilities

FIRST, LAST = np.array([1, 3, 5]), np.array([3, 4, 6])


def test_uniqueness_of_the_book_example() -> None:
    got = average_uniqueness(FIRST, LAST, np.zeros(3, int), bar_ns=1)
    np.testing.assert_allclose(got, [5 / 6, 3 / 4, 1.0], rtol=1e-15)


def test_labels_of_different_symbols_do_not_share_a_life() -> None:
    got = average_uniqueness(FIRST, LAST, np.array([0, 1, 0]), bar_ns=1)
    assert got.tolist() == [1.0, 1.0, 1.0]


def test_wider_bars_count_neighbours_as_overlap() -> None:
    got = average_uniqueness(np.array([0, 5]), np.array([1, 6]), np.zeros(2, int), bar_ns=10)
    assert got.tolist() == [0.5, 0.5]


def test_a_label_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before"):
        average_uniqueness(np.array([5]), np.array([4]), np.zeros(1, int), 1)


@pytest.mark.parametrize(
    ("drawn", "want"),
    [([1], [5 / 14, 3 / 14, 6 / 14]), ([1, 2], [5 / 11, 3 / 11, 3 / 11]), ([], [10 / 31, 9 / 31, 12 / 31])],
)
def test_chances_of_the_next_draw_of_the_book_example(drawn: list[int], want: list[float]) -> None:
    first, last, _ = life_bars(FIRST, LAST, 1)
    if not drawn:  # nothing drawn yet: every label would be alone
        want = [1 / 3] * 3
    got = sequential_probabilities(first, last, np.array(drawn, np.int64))
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_sequential_bootstrap_draws_less_overlap_than_plain_bootstrap() -> None:
    first = np.r_[np.zeros(40, int), np.arange(20, 60)]  # forty labels on one spot, forty alone
    last = first.copy()

    def share_alone(rows: np.ndarray) -> float:
        return float(np.mean(rows >= 40))

    drawn = [sequential_bootstrap(first, last, 30, np.random.default_rng(seed)) for seed in range(20)]
    plain = [np.random.default_rng(seed).integers(0, 80, 30) for seed in range(20)]
    assert np.mean([share_alone(rows) for rows in drawn]) > np.mean([share_alone(rows) for rows in plain]) + 0.2


def test_the_same_seed_draws_the_same_rows() -> None:
    first, last, _ = life_bars(FIRST, LAST, 1)
    draws = [sequential_bootstrap(first, last, 20, np.random.default_rng(9)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]
