"""The three-outcome utility of a decision against the worked vectors of the methods page."""

import numpy as np
import pytest

from signals.decision import Barriers
from tests.marketdata.microstructure_vectors import VECTORS

EV = VECTORS["ev"]
BPS = 1e4


def utility(p_tp: float, p_sl: float, mean_timeout: float) -> float:
    barriers = Barriers(EV["G"] * BPS, EV["L"] * BPS, 600.0, mean_timeout * BPS)
    return float(barriers.utility_bps(np.array([p_tp]), np.array([p_sl]), np.array([EV["c"] * BPS]))[0])


@pytest.mark.parametrize("case", EV["cases"], ids=lambda case: f"{case['p_tp']} {case['p_sl']} {case['mu_to']}")
def test_utility_equals_the_vector(case: dict[str, float]) -> None:
    assert utility(case["p_tp"], case["p_sl"], case["mu_to"]) == pytest.approx(case["ev"] * BPS, abs=1e-6)


def test_the_break_even_probability_has_no_utility() -> None:
    assert utility(EV["pstar"], 1 - EV["pstar"], 0.0) == pytest.approx(0.0, abs=1e-9)
    assert utility(EV["pstar"] + 0.01, 0.99 - EV["pstar"], 0.0) == pytest.approx(4.5)
