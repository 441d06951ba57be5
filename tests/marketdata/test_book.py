import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.book import ASK, BID, OrderBook, depth_within_bps, new_book_state, set_level, walk_slippage_bps
from marketdata.events import PRICE_SCALE


@pytest.fixture
def book() -> OrderBook:
    """Asks 100 x 1, 100.1 x 2, 100.3 x 5; best bid 99.9: the worked example of the methods page (mid 99.95)."""
    return OrderBook().set("ask", 100.0, 1.0).set("ask", 100.1, 2.0).set("ask", 100.3, 5.0).set("bid", 99.9, 4.0)


def state_of(book: OrderBook):
    return book._state


def test_the_best_levels_come_first(book):
    assert book.levels("ask")["price_e8"].tolist() == [10_000_000_000, 10_010_000_000, 10_030_000_000]
    assert (book.best_bid, book.best_ask) == (99.9, 100.0)


def test_a_quantity_of_zero_removes_the_level(book):
    book.set("ask", 100.0, 0.0)
    assert book.best_ask == 100.1


def test_removing_an_unknown_level_is_normal(book):
    book.set("ask", 100.05, 0.0).set("bid", 1.0, 0.0)
    assert len(book.levels("ask")) == 3 and len(book.levels("bid")) == 1


def test_a_known_price_gets_its_new_quantity(book):
    book.set("ask", 100.1, 7.0)
    assert book.levels("ask")["qty"].tolist() == [1.0, 7.0, 5.0]


@pytest.mark.parametrize(("qty", "vwap"), [(3, 100.0666666667), (8, 100.2125)])
def test_slippage_walks_the_book_to_the_average_price(book, qty, vwap):
    slippage = book.buy_slippage_bps(qty * vwap - 1e-6)
    assert slippage == pytest.approx((vwap - 100.0) / 99.95 * 1e4, rel=1e-6)


def test_a_book_too_thin_for_the_size_has_no_slippage(book):
    assert math.isnan(book.buy_slippage_bps(9 * 101.0))


def test_an_empty_side_has_no_slippage():
    assert math.isnan(OrderBook().set("ask", 100.0, 1.0).buy_slippage_bps(1.0))


def test_depth_counts_quote_units_within_reach(book):
    assert depth_within_bps(state_of(book), 0, ASK, 10.0) == pytest.approx(100.0 + 200.2)
    assert depth_within_bps(state_of(book), 0, BID, 10.0) == pytest.approx(99.9 * 4)


def test_a_full_side_gives_up_its_far_levels_and_says_so():
    book = OrderBook(max_levels=8)
    for step in range(9):
        book.set("bid", 100.0 + step, 1.0)
    assert book.best_bid == 108.0
    assert state_of(book).dropped[0].tolist() == [2, 0]
    assert book.levels("bid")["price_e8"].tolist() == [(108 - k) * PRICE_SCALE for k in range(7)]


def test_a_far_level_does_not_enter_a_full_side():
    book = OrderBook(max_levels=8)
    for step in range(8):
        book.set("bid", 100.0 + step, 1.0)
    book.set("bid", 50.0, 1.0)
    assert book.levels("bid")["price_e8"].min() > 50 * PRICE_SCALE


changes = st.lists(
    st.tuples(st.sampled_from([BID, ASK]), st.integers(1, 60), st.sampled_from([0.0, 1.0, 2.5])), max_size=200
)


@given(changes)
def test_any_changes_leave_the_book_a_dict_would_leave(changes):
    state = new_book_state(1, 128)
    book = OrderBook(state)
    plain: tuple[dict, dict] = ({}, {})
    for side, price, qty in changes:
        set_level(state, 0, side, price, qty)
        if qty:
            plain[side][price] = qty
        else:
            plain[side].pop(price, None)
    for side, name, best_first in ((BID, "bid", True), (ASK, "ask", False)):
        expected = sorted(plain[side].items(), reverse=best_first)
        assert book.levels(name).tolist() == expected


def test_books_of_other_symbols_stay_untouched():
    state = new_book_state(2, 16)
    set_level(state, 1, BID, 5, 1.0)
    assert len(OrderBook(state, 0).levels("bid")) == 0


def test_slippage_is_never_negative_and_grows_with_size():
    rng = np.random.default_rng(11)
    book = OrderBook().set("bid", 99.0, 1.0)
    for price, qty in zip(rng.uniform(100, 101, 50).round(2), rng.uniform(0.1, 3, 50), strict=True):
        book.set("ask", float(price), float(qty))
    costs = [walk_slippage_bps(state_of(book), 0, ASK, size) for size in (1.0, 10.0, 100.0, 1000.0, 3000.0)]
    assert costs[0] == 0.0 and costs == sorted(costs) and costs[-1] > 10.0
