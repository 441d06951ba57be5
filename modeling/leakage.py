"""The look-ahead certificate of a training: features cut off and spoiled, labels that mean nothing, old features."""

from collections.abc import Callable

import numpy as np

from marketdata.features.bars import BAR_FEATURES, BAR_MS, bar_features, market_features
from marketdata.features.lookahead import (
    LookaheadCertificate,
    PrefixReport,
    Rows,
    lookahead_certificate,
    prefix_invariance,
    random_cuts,
)
from marketdata.features.lookahead_tapes import ColumnTape, seeded_report
from marketdata.features.trade_bars import TRADE_FEATURES, busy_bar_ends, trade_features
from modeling.baselines import fit_logistic
from modeling.cv import PurgedKFold
from modeling.dataset import Dataset
from modeling.labels import Outcome
from modeling.metrics import average_precision

CUTS = 4
MOST_ROWS = 6000
FOLDS = 3
START_MS = 1_600_000_000_000
MS = 1_000_000


def _trade_tape(rng: np.random.Generator, n: int = 6000) -> ColumnTape:
    ts_ms = START_MS + np.cumsum(rng.choice([0, 300, 9000, 40_000], n, p=[0.2, 0.4, 0.3, 0.1]))
    price = np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    return ColumnTape(ts_ms.astype(np.int64) * MS, (rng.random(n) < 0.5, price, rng.exponential(1.0, n)))


def _trade_rows(tape: ColumnTape) -> Rows:
    is_buy, price, volume = tape.columns
    ts_ms = tape.times_ns // MS
    at_ms = busy_bar_ends(ts_ms, 5000)
    return Rows(at_ms * MS, np.zeros(len(at_ms), np.int64), trade_features(ts_ms, is_buy, price, volume, at_ms))


def _bar_tape(rng: np.random.Generator, n: int = 3000) -> ColumnTape:
    close = np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    opened = np.r_[1.0, close[:-1]]
    high = np.maximum(opened, close) * (1.0 + rng.exponential(5e-4, n))
    low = np.minimum(opened, close) * (1.0 - rng.exponential(5e-4, n))
    closed_ms = START_MS + BAR_MS * np.arange(1, n + 1)
    return ColumnTape(closed_ms * MS, (opened, high, low, close, rng.exponential(10.0, n)))


def _bar_rows(tape: ColumnTape) -> Rows:
    opened, high, low, close, volume = tape.columns
    own = bar_features(opened, high, low, close, volume)
    X = np.column_stack([own, market_features(np.column_stack([close, opened]))])
    return Rows(tape.times_ns, np.zeros(len(close), np.int64), X)


_TAPES: dict[str, tuple[Callable[[np.random.Generator], ColumnTape], Callable[[ColumnTape], Rows], tuple[str, ...]]] = {
    "trades": (_trade_tape, _trade_rows, TRADE_FEATURES),
    "bars": (_bar_tape, _bar_rows, BAR_FEATURES),
}


def certificate_of(data: Dataset, level: str, embargo_ns: int, seed: int) -> LookaheadCertificate:
    """Test the features of an input level and, on thinned rows with the plain model, the dataset made of them."""
    some = data.take(np.arange(0, len(data), max(1, len(data) // MOST_ROWS)))
    y, ones = some.hit(Outcome.TAKE_PROFIT), np.ones(len(some))

    def fit_and_score(x: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        if not 0.0 < labels[train].mean() < 1.0:
            return np.zeros(len(test))
        return fit_logistic(x[train], labels[train], ones[train]).raw(x[test])

    return lookahead_certificate(
        prefix_of(level, seed),
        fit_and_score,
        some.X,
        y,
        some.symbol,
        list(PurgedKFold(FOLDS, embargo_ns).split(some.t0_ns, some.t1_ns)),
        lambda labels, scores: average_precision(labels, scores, np.ones(len(labels))),
        np.random.default_rng(seed),
    )


def prefix_of(level: str, seed: int) -> PrefixReport:
    """Return prefix invariance of the features of an input level over a seeded tape."""
    if level == "book":
        return seeded_report(CUTS, seed)
    rng = np.random.default_rng(seed)
    tape_of, rows_of, names = _TAPES[level]
    tape = tape_of(rng)
    rows = rows_of(tape)
    cuts = random_cuts(tape, rows, 2 * CUTS, rng, least_share=0.5)
    return prefix_invariance(rows_of, tape, cuts, names, rng)
