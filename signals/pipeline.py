"""The one pipeline of live, replay and backtest: capture lines in, decisions out, no clock, no disk, no network.

lines -> FeatureReplay -> score -> DecisionPolicy per strategy -> decisions, and one running hash of all of them
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from marketdata.costs import CostModel
from marketdata.events import Market
from marketdata.features.replay import GRID_NS, FeatureReplay, FeatureRows
from signals.decision import Barriers, DecisionPolicy, Decisions, StrategyParameters, decision_dtype, size_columns

Score = Callable[[np.ndarray], np.ndarray]
"""(n, N_FEATURES) float64 -> (n, 2) float64: p_tp and p_sl. Each row alone decides its result, bit by bit."""


class PipelineOutput(NamedTuple):
    """What a block of lines completed: feature rows, their probabilities, and the decisions of each strategy."""

    rows: FeatureRows
    probabilities: np.ndarray
    decisions: list[Decisions]


class SignalPipeline:
    """Feed capture lines, get decisions. The same lines give the same bytes, however they are cut into blocks."""

    def __init__(
        self,
        market: Market,
        score: Score,
        strategies: Sequence[StrategyParameters],
        barriers: Barriers,
        costs: CostModel,
        *,
        grid_ns: int = GRID_NS,
    ) -> None:
        sizes, self._columns = size_columns(strategies)
        self.replay = FeatureReplay(market, grid_ns=grid_ns, sizes_quote=sizes)
        self.policies = [DecisionPolicy(s, index, barriers, costs) for index, s in enumerate(strategies)]
        self.decisions = 0
        self.signals = 0
        self._score = score
        self._digest = hashlib.sha256()

    def feed(self, block: bytes) -> PipelineOutput:
        """Take whole capture lines; return what they completed."""
        return self._decide(self.replay.feed(block))

    def finish(self) -> PipelineOutput:
        """Complete the pending tick at the end of a recording."""
        return self._decide(self.replay.finish())

    @property
    def decisions_sha256(self) -> str:
        """Return the hash of all decisions so far: each symbol by name, each field bit by bit."""
        return self._digest.hexdigest()

    def _decide(self, rows: FeatureRows) -> PipelineOutput:
        probabilities = self._probabilities(rows)
        decided = [
            policy.decide(rows, probabilities, column)
            for policy, column in zip(self.policies, self._columns, strict=True)
        ]
        if len(rows):
            self._record(rows, decided)
        return PipelineOutput(rows, probabilities, decided)

    def _probabilities(self, rows: FeatureRows) -> np.ndarray:
        """Score the rows that have a trusted, warm book; the others stay NaN and can never fire."""
        probabilities = np.full((len(rows), 2), np.nan)
        ready = np.flatnonzero((rows.context["synced"] == 1) & (rows.context["warm"] == 1))
        if len(ready):
            probabilities[ready] = self._score(rows.X[ready])
        return probabilities

    def _record(self, rows: FeatureRows, decided: list[Decisions]) -> None:
        """Hash row by row, so that the hash does not depend on how the lines were cut into blocks."""
        names = np.array([name.encode() for name in self.replay.symbols], "S64")
        record = np.zeros(len(rows), [("name", "S64"), ("decisions", decision_dtype, (len(decided),))])
        record["name"] = names[rows.symbol]
        for k, decisions in enumerate(decided):
            record["decisions"][:, k] = decisions.table
        self._digest.update(record.tobytes())
        self.decisions += len(rows) * len(decided)
        self.signals += sum(len(d.fired()) for d in decided)
