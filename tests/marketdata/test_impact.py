"""Impact and book walks against the worked vectors."""

import math
from typing import Any

import numpy as np
import pytest

from marketdata.book import OrderBook
from marketdata.impact import capacity, mean_impact_bps, peak_impact_bps
from tests.marketdata.microstructure_vectors import VECTORS


@pytest.mark.parametrize("row", VECTORS["sqrt"], ids=lambda row: str(row["Q"]))
def test_the_square_root_law_equals_the_vector(row: dict[str, float]) -> None:
    asked = (row["Q"], row["V"], 1e4 * row["sigma"], row["Y"])
    assert peak_impact_bps(*asked) == pytest.approx(row["I_bp"], rel=1e-12)
    assert mean_impact_bps(*asked) == pytest.approx(row["vwap_bp"], rel=1e-12)


@pytest.mark.parametrize("row", VECTORS["walk"], ids=lambda row: str(row["q"]))
def test_walking_the_book_equals_the_vector(row: dict[str, Any]) -> None:
    """Slippage is counted from the best ask; the vector counts from the mid, half a spread more."""
    book = OrderBook().set("ask", 100.0, 1.0).set("ask", 100.1, 2.0).set("ask", 100.3, 5.0).set("bid", 99.9, 1.0)
    notional = row["q"] * (row["vwap"] or 100.3)
    slippage = book.buy_slippage_bps(notional * (1 - 1e-12))
    if row["vwap"] is None:
        assert math.isnan(slippage)
    else:
        assert slippage + 1e4 * 0.05 / 99.95 == pytest.approx(row["slip_bp_vs_mid"], abs=1e-6)


def test_capacity_equals_the_worked_example_and_is_the_best_size() -> None:
    """methods.md 6: 50 bps of edge, sigma 5 %, volume 1e7, two legs: 25,000, where a third of the edge is left."""
    best = capacity(50.0, 1e7, 500.0)
    assert best == pytest.approx(25_000.0)

    def earned(size: float) -> float:
        return size * (50.0 - 2 * mean_impact_bps(size, 1e7, 500.0))

    sizes = np.linspace(0.5, 1.5, 101) * best
    assert max(sizes, key=earned) == pytest.approx(best)
    assert earned(best) / best == pytest.approx(50.0 / 3)


def test_no_edge_has_no_capacity_and_impossible_orders_are_refused() -> None:
    assert capacity(-5.0, 1e7, 500.0) == 0.0
    with pytest.raises(ValueError, match="positive"):
        peak_impact_bps(1.0, 0.0, 500.0)
