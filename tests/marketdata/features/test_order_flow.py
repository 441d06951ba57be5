"""Order-flow imbalance by hand."""

import numpy as np
import pytest

from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.order_flow import order_flow_increment
from tests.marketdata.features.player import play, vector_of
from tests.marketdata.features.tapes import NS_PER_S, START_NS, Book, Quote, Reset

STATES = [
    (1000, 5, 1001, 4),
    (1000, 7, 1001, 4),
    (1001, 3, 1002, 6),
    (1001, 3, 1002, 2),
    (1000, 9, 1001, 5),
    (1000, 9, 1002, 8),
]
PUBLISHED = [2.0, 7.0, 4.0, -8.0, 5.0]


def increment(before: tuple, after: tuple) -> float:
    return order_flow_increment(*(int(x) if k % 2 == 0 else float(x) for k, x in enumerate((*before, *after))))


@pytest.mark.parametrize("n", range(5))
def test_increments_equal_the_published_vector(n: int) -> None:
    """testvectors.json `ofi`."""
    assert increment(STATES[n], STATES[n + 1]) == PUBLISHED[n]


def test_a_growing_bid_is_buying_pressure() -> None:
    assert increment((100, 5, 101, 5), (100, 8, 101, 5)) == 3.0


def test_a_withdrawn_ask_is_buying_pressure() -> None:
    assert increment((100, 5, 101, 4), (100, 5, 102, 9)) == 4.0


def quotes_of(states: list[tuple], first_ns: int, step_ns: int) -> list[Quote]:
    return [
        Quote(first_ns + k * step_ns, 0, bid * 10**7, float(bid_qty), ask * 10**7, float(ask_qty))
        for k, (bid, bid_qty, ask, ask_qty) in enumerate(states)
    ]


def warm_quotes(step_ns: int = NS_PER_S) -> list[Quote]:
    return quotes_of([STATES[0]] * 30, START_NS - 30 * step_ns, step_ns)


def ofi_60s(events: list, ts_ns: int) -> float:
    return vector_of(play(events), ts_ns)[FEATURE_NAMES.index("ofi_60s")]


def test_the_sum_over_a_moment_is_ten_touch_depths_of_the_vector() -> None:
    """Six states within microseconds: no decay, so the sum is 10, over a mean depth of (5 + 4) / 2."""
    events = [*warm_quotes(), *quotes_of(STATES, START_NS, 1)]
    assert ofi_60s(events, START_NS + 5) == pytest.approx(10.0 / 4.5, rel=1e-6)


def test_increments_do_not_span_a_reset() -> None:
    quotes = quotes_of(STATES, START_NS, 1)
    events = [*warm_quotes(), *quotes[:2], Reset(START_NS + 1, 0), *quotes[2:]]
    assert ofi_60s(events, START_NS + 5) == pytest.approx((10.0 - 7.0) / 4.5, rel=1e-6)


def book_at(ts_ns: int, levels: int, extra: float = 0.0) -> Book:
    bids = tuple((10**10 - k * 10**6, 2.0 + extra) for k in range(levels))
    asks = tuple((10**10 + (k + 1) * 10**6, 2.0) for k in range(levels))
    return Book(ts_ns, 0, bids, asks)


def depth_flow(events: list, ts_ns: int) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, vector_of(play(events), ts_ns), strict=True))


def test_size_added_on_ten_bids_counts_once_per_level() -> None:
    events = [book_at(START_NS + k * NS_PER_S, 10) for k in range(30)]
    end = START_NS + 29 * NS_PER_S
    events.append(book_at(end, 10, extra=1.0))
    vector = depth_flow(events, end)
    assert vector["mlofi5_5s"] == pytest.approx(0.5)
    assert vector["mlofi10_5s"] == pytest.approx(0.5)


def test_a_missing_level_is_nan_and_never_zero() -> None:
    events = [book_at(START_NS + k * NS_PER_S, 10) for k in range(60)]
    events[40] = book_at(START_NS + 40 * NS_PER_S, 7)
    vector = depth_flow(events, START_NS + 59 * NS_PER_S)
    assert np.isnan(vector["mlofi10_5s"])
    assert vector["mlofi5_5s"] == 0.0
    later = [book_at(START_NS + k * NS_PER_S, 10) for k in range(60, 70)]
    assert depth_flow(events + later, START_NS + 69 * NS_PER_S)["mlofi10_5s"] == 0.0


def test_depth_increments_do_not_span_a_reset() -> None:
    events = [book_at(START_NS + k * NS_PER_S, 10) for k in range(30)]
    end = START_NS + 29 * NS_PER_S
    later = [book_at(end + k * NS_PER_S, 10, extra=5.0) for k in range(1, 25)]
    vector = depth_flow([*events, Reset(end, 0), *later], end + 24 * NS_PER_S)
    assert vector["mlofi5_60s"] == 0.0
