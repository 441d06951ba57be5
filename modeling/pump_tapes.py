"""Trades around announced pumps: when each pump began, and the labelled rows that can be learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marketdata.features.trade_bars import TRADE_FEATURES, busy_bar_ends, trade_features
from modeling.dataset import Dataset, DatasetError
from modeling.labels import Barriers, Outcome, triple_barrier
from modeling.sample_weights import average_uniqueness

DAY_MS = 86_400_000
MS = 1_000_000
BAR_MS = 5000
UNIQUENESS_BAR_NS = 5_000_000_000
LEAST_RUN_UP = 0.03
PEAK_SHARE = 0.25
NEAR_MS = 300_000
PUMP_MS = 600_000


@dataclass(frozen=True)
class PumpTape:
    """All trades of one coin around one announcement; volume in quote units."""

    event: str
    coin: str
    announced_ms: int
    timestamp_ms: np.ndarray
    is_buy: np.ndarray
    price: np.ndarray
    volume: np.ndarray

    @property
    def days(self) -> float:
        return float(self.timestamp_ms[-1] - self.timestamp_ms[0]) / DAY_MS

    def features_at(self, at_ms: np.ndarray) -> np.ndarray:
        return trade_features(self.timestamp_ms, self.is_buy, self.price, self.volume, at_ms)


def onset_of(tape: PumpTape) -> int | None:
    """Return the start of the first 5 s with a quarter of the peak's buying, or None if the coin did not pump.

    Announced pumps that never rise 3 % are kept as ordinary days: a detector must stay silent on them.
    """
    ts, low = tape.timestamp_ms, tape.announced_ms - NEAR_MS
    near = (ts >= low) & (ts < tape.announced_ms + PUMP_MS) & tape.is_buy
    if not near.any():
        return None
    bought = np.bincount((ts[near] - low) // BAR_MS, tape.volume[near])
    onset = int(low + np.flatnonzero(bought >= PEAK_SHARE * bought.max())[0] * BAR_MS)
    before = tape.price[ts < onset]
    after = tape.price[(ts >= onset) & (ts < onset + PUMP_MS)]
    if not len(before) or onset > tape.announced_ms + NEAR_MS or after.max() / before[-1] - 1.0 < LEAST_RUN_UP:
        return None
    return onset


def groups_of(tapes: Sequence[PumpTape]) -> np.ndarray:
    """Return the group of each tape: tapes of one coin that share hours are one, so no fold parts them."""
    group = np.arange(len(tapes))
    for i, later in enumerate(tapes):
        for k, earlier in enumerate(tapes[:i]):
            overlap = min(earlier.timestamp_ms[-1], later.timestamp_ms[-1]) - max(
                earlier.timestamp_ms[0], later.timestamp_ms[0]
            )
            if earlier.coin == later.coin and overlap >= 0:
                group[group == group[i]] = group[k]
    return group


def grouped_folds(group: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Return the fold of each tape; folds hold about equally many tapes and never part a group."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(group), np.int64)
    sizes = np.zeros(n_folds, np.int64)
    for each in rng.permutation(np.unique(group)):
        smallest = int(sizes.argmin())
        fold[group == each] = smallest
        sizes[smallest] += int((group == each).sum())
    return fold


@dataclass(frozen=True)
class PumpRows:
    """Decisions on 5 s bars with a trade: X (n, features), at_ms (n,), tape (n,) index of the tape."""

    X: np.ndarray
    at_ms: np.ndarray
    tape: np.ndarray

    def __len__(self) -> int:
        return len(self.at_ms)


def pump_rows(tapes: Sequence[PumpTape]) -> PumpRows:
    """Return the rows of all tapes after their six hours of warm-up."""
    parts = []
    for i, tape in enumerate(tapes):
        at_ms = busy_bar_ends(tape.timestamp_ms, BAR_MS)
        x = tape.features_at(at_ms)
        warm = np.isfinite(x[:, TRADE_FEATURES.index("silence_s")])
        parts.append((x[warm], at_ms[warm], np.full(int(warm.sum()), i)))
    X, at_ms, index = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(at_ms):
        raise DatasetError("No tape has six hours of trades before its first row: use longer recordings.")
    return PumpRows(X, at_ms, index)


def pump_dataset(tapes: Sequence[PumpTape], rows: PumpRows, barriers: Barriers) -> Dataset:
    """Label the rows by the barrier the price of later trades touches first; the symbol is the tape."""
    parts = []
    for i, tape in enumerate(tapes):
        mine = np.flatnonzero(rows.tape == i)
        labels = triple_barrier(
            tape.timestamp_ms * MS,
            tape.price,
            tape.price,
            rows.at_ms[mine] * MS,
            take_profit_bps=barriers.take_profit_bps,
            stop_loss_bps=barriers.stop_loss_bps,
            horizon_ns=barriers.horizon_ns,
            entry_latency_ns=barriers.entry_latency_ns,
        )
        known = labels.outcome != Outcome.NONE
        parts.append((mine[known], labels.outcome[known], labels.touch_ns[known], labels.ret_bps[known]))
    chosen, outcome, t1_ns, ret_bps = (np.concatenate(column) for column in zip(*parts, strict=True))
    t0_ns, symbol = rows.at_ms[chosen] * MS, rows.tape[chosen].astype(np.int64)
    whole = Dataset(
        X=rows.X[chosen],
        outcome=outcome,
        t0_ns=t0_ns,
        t1_ns=t1_ns,
        weight=average_uniqueness(t0_ns, t1_ns, symbol, UNIQUENESS_BAR_NS),
        symbol=symbol,
        ret_bps=ret_bps,
        feature_names=TRADE_FEATURES,
        symbols=tuple(tape.event for tape in tapes),
    )
    return whole.take(np.lexsort((whole.symbol, whole.t0_ns)))
