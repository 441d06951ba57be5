"""Imbalance, deep mid and slope by hand."""

import math

import pytest

from marketdata.features.feature_set import FEATURE_NAMES
from tests.marketdata.features.player import play, vector_of
from tests.marketdata.features.tapes import NS_PER_S, START_NS, Book, Event, Quote


def warm(event: Event) -> dict[str, float]:
    """The vector of a symbol that has seen nothing but this event, each second, for 30 s."""
    events = [event._replace(ts_ns=START_NS + k * NS_PER_S) for k in range(30)]
    return dict(zip(FEATURE_NAMES, vector_of(play(events), events[-1].ts_ns), strict=True))


def test_queue_imbalance_and_weighted_mid_equal_the_published_vector() -> None:
    """testvectors.json `imb`: 9 @ 100.0 against 3 @ 100.1."""
    vector = warm(Quote(0, 0, 10_000_000_000, 9.0, 10_010_000_000, 3.0))
    assert vector["queue_imbalance"] == pytest.approx(0.5)
    assert vector["microprice_bps"] == pytest.approx(1e4 * (100.075 - 100.05) / 100.05)
    assert vector["spread_bps"] == pytest.approx(1e4 * 0.1 / 100.05)
    assert vector["spread_vs_slow"] == pytest.approx(0.0, abs=1e-9)


def even_book(bid_qty: float, ask_qty: float, levels: int = 10) -> Book:
    bids = tuple((10_000_000_000 - k * 10_000_000, bid_qty) for k in range(levels))
    asks = tuple((10_010_000_000 + k * 10_000_000, ask_qty) for k in range(levels))
    return Book(0, 0, bids, asks)


def test_an_even_book_leans_nowhere() -> None:
    vector = warm(even_book(2.0, 2.0))
    assert vector["depth_imbalance_5"] == 0.0
    assert vector["depth_imbalance_10"] == 0.0
    assert vector["deep_mid_bps"] == pytest.approx(0.0, abs=1e-9)
    assert vector["slope_imbalance"] == pytest.approx(0.0, abs=1e-9)
    assert vector["ask_reach_bps"] == pytest.approx(1e4 * 0.9 / 100.05)
    assert vector["depth_vs_slow"] == pytest.approx(0.0, abs=1e-9)


def test_three_times_the_bids_lean_up() -> None:
    vector = warm(even_book(6.0, 2.0))
    assert vector["depth_imbalance_5"] == pytest.approx(0.5)
    assert vector["depth_imbalance_10"] == pytest.approx(0.5)
    assert vector["slope_imbalance"] == pytest.approx(math.log(3.0))
    bid, ask = 100.0 - 0.45, 100.1 + 0.45
    assert vector["deep_mid_bps"] == pytest.approx(1e4 * (0.75 * ask + 0.25 * bid - 100.05) / 100.05)


def test_nearer_levels_count_more() -> None:
    near = Book(0, 0, tuple((10**10 - k, 9.0 if k == 0 else 1.0) for k in range(10)), even_book(1.0, 1.0).asks)
    far = Book(0, 0, tuple((10**10 - k, 9.0 if k == 9 else 1.0) for k in range(10)), even_book(1.0, 1.0).asks)
    assert warm(near)["depth_imbalance_10"] > warm(far)["depth_imbalance_10"] > 0.0


def test_a_book_of_seven_levels_has_no_ten_level_features() -> None:
    vector = warm(even_book(2.0, 2.0, levels=7))
    assert vector["depth_imbalance_5"] == 0.0
    assert all(math.isnan(vector[name]) for name in ("depth_imbalance_10", "deep_mid_bps", "depth_vs_slow"))


def test_vanishing_asks_show_against_their_slow_average() -> None:
    events = [even_book(2.0, 2.0)._replace(ts_ns=START_NS + k * NS_PER_S) for k in range(60)]
    events.append(even_book(2.0, 0.5)._replace(ts_ns=START_NS + 60 * NS_PER_S))
    vector = dict(zip(FEATURE_NAMES, vector_of(play(events), events[-1].ts_ns), strict=True))
    assert vector["ask_depth_vs_slow"] == pytest.approx(math.log(0.26 / 1.01), abs=1e-6)
