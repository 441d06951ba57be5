"""The certificate of a training: honest data pass, a label among the features does not."""

from dataclasses import replace

import numpy as np
import pytest

from marketdata.features.bars import BAR_FEATURES
from marketdata.features.trade_bars import TRADE_FEATURES
from modeling.labels import Outcome
from modeling.leakage import certificate_of, prefix_of
from tests.modeling.cast import S, made_up_dataset


@pytest.mark.parametrize(("level", "features"), [("trades", TRADE_FEATURES), ("bars", BAR_FEATURES)])
def test_no_feature_of_trades_or_bars_reads_the_future(level: str, features: tuple[str, ...]) -> None:
    for seed in (1, 2):
        report = prefix_of(level, seed)
        assert (report.features, report.violations, report.unseen) == (len(features), 0, ())
        assert report.prefixes >= 4 and report.rows_compared > 1000


def test_honest_data_get_a_certificate() -> None:
    certificate = certificate_of(made_up_dataset(3), "trades", 60 * S, seed=1)
    assert certificate.passed and certificate.delayed.skill > certificate.base_rate


def test_labels_one_row_late_are_seen() -> None:
    data = made_up_dataset(3)
    late = np.full((len(data), 1), np.nan)
    hit = data.hit(Outcome.TAKE_PROFIT)
    for each in np.unique(data.symbol):
        rows = np.flatnonzero(data.symbol == each)
        late[rows[:-1], 0] = hit[rows[1:]]  # the row before knows: features and labels are not aligned
    certificate = certificate_of(replace(data, X=np.hstack([data.X, late])), "bars", 60 * S, seed=1)
    assert not certificate.passed and "older features predict better" in " ".join(certificate.problems)
