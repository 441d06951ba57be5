"""Metrics against scikit-learn and the worked example; intervals that know rows of one event are not many."""

import numpy as np
import pytest
from sklearn import metrics as sk

from modeling.metrics import (
    ClusterBootstrap,
    average_precision,
    brier_score,
    corp_decomposition,
    event_clusters,
    expected_calibration_error,
    interval,
    log_loss,
    reliability_table,
    roc_auc,
)
from tests.modeling.vectors import VECTORS

CAL = VECTORS["cal"]
Y, P = np.array(CAL["y"], float), np.array(CAL["p"])


@pytest.mark.parametrize("seed", range(4))
def test_ranking_metrics_equal_scikit_learn_with_ties_and_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.integers(0, 30, 500) / 30
    y, weight = (rng.random(500) < p / 2).astype(float), rng.random(500)
    assert average_precision(y, p, weight) == pytest.approx(sk.average_precision_score(y, p, sample_weight=weight))
    assert roc_auc(y, p, weight) == pytest.approx(sk.roc_auc_score(y, p, sample_weight=weight))


def test_scores_equal_the_worked_example() -> None:
    ones = np.ones(10)
    assert brier_score(Y, P, ones) == pytest.approx(CAL["brier"], rel=1e-9)
    assert log_loss(Y, P, ones) == pytest.approx(CAL["logloss"], rel=1e-9)
    assert expected_calibration_error(Y, P, ones, n_bins=5, equal_width=True) == pytest.approx(CAL["ECE5"], rel=1e-9)
    got = corp_decomposition(Y, P)
    assert (got["mcb"], got["dsc"], got["unc"]) == pytest.approx((CAL["MCB"], CAL["DSC"], CAL["UNC"]), abs=1e-9)


def test_a_metric_without_positives_is_not_a_number() -> None:
    assert np.isnan(average_precision(np.zeros(5), np.arange(5.0), np.ones(5)))
    assert np.isnan(roc_auc(np.zeros(5), np.arange(5.0), np.ones(5)))


def test_the_reliability_table_holds_every_row() -> None:
    p = np.random.default_rng(0).random(1000)
    table = reliability_table((p > 0.5).astype(float), p, np.ones(1000), 10)
    assert sum(row["rows"] for row in table) == 1000
    assert [row["promised"] for row in table] == sorted(row["promised"] for row in table)


def test_touching_lives_of_one_symbol_are_one_event() -> None:
    symbol = np.array([0, 0, 0, 1, 0, 0])
    t0 = np.array([0, 5, 50, 5, 20, 21])
    t1 = t0 + 10
    positive = np.array([True, True, True, True, False, False])
    cluster, events = event_clusters(symbol, t0, t1, positive, block_ns=100)
    assert events == 3
    assert cluster[0] == cluster[1] != cluster[2]
    assert cluster[3] not in (cluster[0], cluster[2])
    assert cluster[4] == cluster[5] >= events


def test_resampling_events_is_wider_than_pretending_rows_are_independent() -> None:
    rng = np.random.default_rng(1)
    quality = np.repeat(rng.normal(size=40), 50)  # 40 events of 50 rows that all look alike
    y = np.tile([1.0, 0.0], 1000)
    p = 1 / (1 + np.exp(-(y * quality + rng.normal(size=2000) * 0.1)))

    def width(cluster: np.ndarray) -> float:
        got = interval(0.0, ClusterBootstrap.of(cluster, 200, seed=2).draws("ap", y, p))
        return got.high - got.low

    assert width(np.repeat(np.arange(40), 50)) > 2 * width(np.arange(2000))


def test_draws_are_paired_between_scores() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(600) < 0.2).astype(float)
    good = y * 0.5 + rng.random(600)
    better = good + y * 0.05
    bootstrap = ClusterBootstrap.of(np.arange(600) // 10, 150, seed=4)
    gain = bootstrap.draws("ap", y, better) - bootstrap.draws("ap", y, good)
    assert gain.std() < bootstrap.draws("ap", y, good).std()


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="ap, auc, brier"):
        ClusterBootstrap.of(np.zeros(3, int), 2, 0).draws("f1", np.ones(3), np.ones(3))
