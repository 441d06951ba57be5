"""Feature rows -> Dataset: labelled, sampled and weighted rows, ready for cross-validation and training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from marketdata.features.replay import FeatureRows
from modeling.labels import BarrierLabels, Barriers, Outcome, triple_barrier
from modeling.sample_weights import average_uniqueness

UNIQUENESS_BAR_NS = 250_000_000


class DatasetError(ValueError):
    """The data cannot be trained on; the message says why and what would help."""


@dataclass(frozen=True)
class Dataset:
    """Labelled decisions in time order; arrays share the first axis.

    `t0_ns` is the decision, `t1_ns` the moment its outcome was known; `weight` is the average uniqueness.
    """

    X: np.ndarray
    outcome: np.ndarray
    t0_ns: np.ndarray
    t1_ns: np.ndarray
    weight: np.ndarray
    symbol: np.ndarray
    ret_bps: np.ndarray
    feature_names: tuple[str, ...]
    symbols: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.outcome)

    def hit(self, outcome: Outcome) -> np.ndarray:
        """Return 1.0 where the bet ended with `outcome`."""
        return (self.outcome == outcome).astype(np.float64)

    def take(self, rows: np.ndarray) -> "Dataset":
        return replace(self, **{name: column[rows] for name, column in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @property
    def span_s(self) -> float:
        return float(self.t0_ns.max() - self.t0_ns.min()) / 1e9

    @property
    def mean_timeout_bps(self) -> float:
        """Return the mean return of bets that ran out of time; 0 when none did."""
        timed_out = self.ret_bps[self.outcome == Outcome.TIME_OUT]
        return float(timed_out.mean()) if len(timed_out) else 0.0

    def sha256(self) -> str:
        """Return one hash over all values, names and order."""
        digest = hashlib.sha256(repr((self.feature_names, self.symbols)).encode())
        for name, column in self.arrays().items():
            digest.update(f"{name}{column.dtype}{column.shape}".encode())
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


class DatasetBuilder:
    """Collect feature rows block by block, then label them.

    Every tick marks the price path; of the decisions, the first of each symbol in each `row_step_ns` that had a
    trusted, warm book is kept. Uniform sampling keeps shares honest: what is true of 4 % of training rows is
    true of 4 % of live ticks. Features are kept for these decisions only, so memory grows with their number.
    """

    def __init__(self, feature_names: tuple[str, ...], barriers: Barriers, row_step_ns: int) -> None:
        self._feature_names = feature_names
        self._barriers = barriers
        self._row_step_ns = row_step_ns
        self._last_step: dict[int, int] = {}
        self._quotes: list[tuple[np.ndarray, ...]] = []
        self._decisions: list[tuple[np.ndarray, ...]] = []

    def add(self, rows: FeatureRows) -> None:
        if not len(rows):
            return
        trusted = rows.context["synced"] == 1
        bid, ask = (np.where(trusted, rows.context[side], 0) for side in ("bid_e8", "ask_e8"))
        self._quotes.append((rows.tick_ns.copy(), rows.symbol.copy(), bid, ask))
        chosen = self._first_of_each_step(rows, np.flatnonzero(trusted & (rows.context["warm"] == 1)))
        self._decisions.append((rows.tick_ns[chosen], rows.symbol[chosen], rows.X[chosen]))

    def _first_of_each_step(self, rows: FeatureRows, ready: np.ndarray) -> np.ndarray:
        symbol, step = rows.symbol[ready], rows.tick_ns[ready] // self._row_step_ns
        _, first = np.unique(np.column_stack([symbol, step]), axis=0, return_index=True)
        first = np.array([i for i in np.sort(first) if self._last_step.get(int(symbol[i])) != step[i]], np.int64)
        self._last_step.update(zip(symbol.tolist(), step.tolist(), strict=True))
        return ready[first]

    def finish(self, symbols: Sequence[str]) -> Dataset:
        """Return the labelled dataset; `symbols` are the names behind the indices of the rows."""
        if not self._decisions or not any(len(part[0]) for part in self._decisions):
            raise DatasetError(
                "The data hold no decision to learn from: each coin needs a synchronised book and its warm-up first. "
                "Use a longer recording that has snapshots in it."
            )
        tick_ns, symbol, bid, ask = (np.concatenate(column) for column in zip(*self._quotes, strict=True))
        t0_ns, asked, x = (np.concatenate(column) for column in zip(*self._decisions, strict=True))
        labels = _empty_labels(len(t0_ns))
        for each in np.unique(asked):
            mine, path = np.flatnonzero(asked == each), np.flatnonzero(symbol == each)
            found = self._label(tick_ns[path], bid[path], ask[path], t0_ns[mine], int(tick_ns.max()))
            for column, values in zip(labels, found, strict=True):
                column[mine] = values
        known = np.flatnonzero(labels.outcome != Outcome.NONE)
        if not len(known):
            raise DatasetError(
                "No decision in the data lives to see its outcome: after the warm-up they need at least "
                f"{self._barriers.horizon_ns / 1e9:.0f} s more. Use a longer recording."
            )
        return self._dataset(known, t0_ns, asked.astype(np.int64), x, labels, tuple(symbols))

    def _label(
        self, ts_ns: np.ndarray, bid: np.ndarray, ask: np.ndarray, decision_ns: np.ndarray, end_ns: int
    ) -> BarrierLabels:
        # A quote stays in force until the next row, so a coin that fell silent is marked once more at the end.
        return triple_barrier(
            np.append(ts_ns, end_ns),
            np.append(bid, bid[-1]),
            np.append(ask, ask[-1]),
            decision_ns,
            take_profit_bps=self._barriers.take_profit_bps,
            stop_loss_bps=self._barriers.stop_loss_bps,
            horizon_ns=self._barriers.horizon_ns,
            entry_latency_ns=self._barriers.entry_latency_ns,
        )

    def _dataset(
        self,
        rows: np.ndarray,
        t0_ns: np.ndarray,
        symbol: np.ndarray,
        x: np.ndarray,
        labels: BarrierLabels,
        symbols: tuple[str, ...],
    ) -> Dataset:
        rows = rows[np.lexsort((symbol[rows], t0_ns[rows]))]
        t1_ns = labels.touch_ns
        return Dataset(
            X=x[rows],
            outcome=labels.outcome[rows],
            t0_ns=t0_ns[rows],
            t1_ns=t1_ns[rows],
            weight=average_uniqueness(t0_ns[rows], t1_ns[rows], symbol[rows], UNIQUENESS_BAR_NS),
            symbol=symbol[rows],
            ret_bps=labels.ret_bps[rows],
            feature_names=self._feature_names,
            symbols=symbols,
        )


def _empty_labels(n: int) -> BarrierLabels:
    return BarrierLabels(
        np.zeros(n, np.int8), *(np.full(n, -1, np.int64) for _ in range(2)), *(np.full(n, np.nan) for _ in range(3))
    )


def dataset_join(parts: Sequence[Dataset]) -> Dataset:
    """Return several recordings as one dataset in time order; coins of one name are one coin."""
    if len(parts) == 1:
        return parts[0]
    symbols = tuple(sorted({name for part in parts for name in part.symbols}))
    place = {name: i for i, name in enumerate(symbols)}
    renamed = [replace(p, symbol=np.array([place[name] for name in p.symbols])[p.symbol]) for p in parts]
    columns: dict[str, Any] = {
        name: np.concatenate([part.arrays()[name] for part in renamed]) for name in parts[0].arrays()
    }
    whole = replace(parts[0], **columns, symbols=symbols)
    whole = whole.take(np.lexsort((whole.symbol, whole.t0_ns)))
    return replace(whole, weight=average_uniqueness(whole.t0_ns, whole.t1_ns, whole.symbol, UNIQUENESS_BAR_NS))
