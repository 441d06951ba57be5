"""Every worked vector of the microstructure, through the whole-window measures and through the live kernels."""

import math

import numpy as np
import pytest

from marketdata.features.feature_set import new_feature_state
from marketdata.features.liquidity import ols_slope
from marketdata.features.order_flow import order_flow_increment
from marketdata.features.trade_flow import vpin, vpin_step
from marketdata.features.volatility import jump_share
from marketdata.microstructure import (
    amihud_illiquidity,
    bulk_buy_share,
    kyle_lambda,
    realised_variation,
    roll_spread,
    trade_flow_imbalance,
    volume_weighted_price,
)
from tests.marketdata.microstructure_vectors import VECTORS

TRADES = np.array(VECTORS["tfi"]["trades"])
PRICE, QTY, SIDE = TRADES[:, 1], TRADES[:, 2], TRADES[:, 3]


def test_order_flow_increments_equal_the_vector() -> None:
    states = [(round(bid * 10), bq, round(ask * 10), aq) for bid, bq, ask, aq in VECTORS["ofi"]["book"]]
    got = [order_flow_increment(*before, *after) for before, after in zip(states, states[1:], strict=False)]
    assert got == VECTORS["ofi"]["e"] and sum(got) == VECTORS["ofi"]["sum"]


def test_volume_weighted_price_and_imbalance_equal_the_vector() -> None:
    assert volume_weighted_price(PRICE, QTY) == pytest.approx(VECTORS["tfi"]["vwap"], rel=1e-12)
    assert trade_flow_imbalance(SIDE * QTY) == VECTORS["tfi"]["tfi"]


def test_kyle_lambda_equals_the_vector_with_and_without_intercept() -> None:
    moves, signed = np.array(VECTORS["kyle"]["dp"]), np.array(VECTORS["kyle"]["signed_v"])
    assert kyle_lambda(moves, signed) == pytest.approx(VECTORS["kyle"]["lam_ols"], rel=1e-12)
    assert kyle_lambda(moves, signed, intercept=False) == pytest.approx(VECTORS["kyle"]["lam_noint"], rel=1e-12)
    live = ols_slope(5.0, float(signed.sum()), float(moves.sum()), float(signed @ signed), float(signed @ moves))
    assert live == pytest.approx(kyle_lambda(moves, signed), rel=1e-12)
    assert math.isnan(kyle_lambda(moves, np.ones(5)))


def test_amihud_equals_the_vector() -> None:
    assert amihud_illiquidity(PRICE, QTY) == pytest.approx(VECTORS["amihud"]["val"], rel=1e-12)


def test_roll_spread_equals_the_vector_and_needs_reversals() -> None:
    price = np.array(VECTORS["roll"]["p"])
    assert roll_spread(price) == pytest.approx(VECTORS["roll"]["spread"], rel=1e-12)
    assert -((roll_spread(price) / 2) ** 2) == pytest.approx(VECTORS["roll"]["cov"], rel=1e-12)
    assert roll_spread(np.array([1.0, 1.0, 2.0, 4.0, 8.0])) == 0.0


def test_roll_finds_the_spread_that_made_the_bounce() -> None:
    rng = np.random.default_rng(1)
    mid = 100 + np.cumsum(rng.normal(0, 0.005, 50_000))
    assert roll_spread(mid + 0.05 * rng.choice([-1, 1], 50_000)) == pytest.approx(0.1, rel=0.02)


def test_realised_variation_equals_the_vector() -> None:
    want = VECTORS["rv_bv"]
    returns = np.array(want["r"])
    got = realised_variation(returns)
    assert got == pytest.approx((want["RV"], want["BV"], want["RJ"], want["TQ"], want["Z_ratio"]), rel=1e-9)
    neighbours = float(np.abs(returns[1:]) @ np.abs(returns[:-1]))
    assert jump_share(float(returns @ returns), neighbours, len(returns)) == pytest.approx(got.jump_share, rel=1e-12)


def test_the_jump_test_is_calm_without_jumps_and_fires_with_one() -> None:
    calm = [realised_variation(np.random.default_rng(seed).normal(0, 1e-3, 300)).z for seed in range(300)]
    assert np.mean(calm) == pytest.approx(0.0, abs=0.2) and np.std(calm) == pytest.approx(1.0, abs=0.15)
    jumpy = np.random.default_rng(1).normal(0, 1e-3, 300)
    jumpy[150] = 0.02
    assert realised_variation(jumpy).z > 5
    assert realised_variation(np.zeros(10)) == (0.0, 0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="at least three"):
        realised_variation(np.ones(2))


def test_vpin_equals_the_vector() -> None:
    flow = new_feature_state(1).trades[0]
    for _, _, qty, side in VECTORS["tfi"]["trades"]:
        vpin_step(flow, float(qty), int(side), VECTORS["vpin"]["bucket"])
    buckets = np.array(VECTORS["vpin"]["buckets"])
    assert vpin(flow) == VECTORS["vpin"]["vpin_n2"] == np.abs(buckets[:, 0] - buckets[:, 1]).mean() / 8


@pytest.mark.parametrize("row", VECTORS["bvc"], ids=lambda row: str(row["dP"]))
def test_bulk_classification_equals_the_vector(row: dict[str, float]) -> None:
    move = np.array([row["dP"]])
    assert bulk_buy_share(move, row["sigma"])[0] == pytest.approx(row["buyfrac"], rel=1e-9)
    assert bulk_buy_share(move, row["sigma"], degrees=0.25)[0] == pytest.approx(row["buyfrac_t025"], rel=1e-9)
