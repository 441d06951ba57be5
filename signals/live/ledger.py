"""From decision to ledger: writes signals down, follows them, settles them, and tells the pages."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from marketdata.events import PRICE_SCALE
from marketdata.features.feature_set import FEATURE_NAMES
from modeling.models import ModelVersion
from signals.decision import Decisions
from signals.models import Signal, Strategy
from signals.outcome import OpenSignal, Outcome, OutcomeTracker
from signals.pipeline import PipelineOutput, SignalPipeline
from signals.scorer import ScoringModel
from signals.selectors import outcome_row, signal_row
from signals.services import signal_mark_published, signal_record, signal_settle
from signals.sse import publish_outcome, publish_signal

TOP_FEATURES = 8
NUMBERS = ("p_tp", "p_sl", "utility_bps", "cost_bps")


class Ledger:
    """Turn pipeline output into signals and outcomes.

    `pick` runs on the event loop and copies what is needed out of the arrays; `write` and `settle` run on the
    writing thread, one after the other.
    """

    def __init__(
        self,
        *,
        mode: str,
        market: str,
        pipeline: SignalPipeline,
        strategies: Sequence[Strategy],
        model_version: ModelVersion,
        model: ScoringModel,
    ) -> None:
        self._mode = mode
        self._market = market
        self._pipeline = pipeline
        self._strategies = list(strategies)
        self._model_version = model_version
        self._barriers = model.barriers
        leading = [name for name in model.leading_features if name in FEATURE_NAMES] or list(FEATURE_NAMES)
        self._shown = [(name, FEATURE_NAMES.index(name)) for name in leading[:TOP_FEATURES]]
        self._tracker = OutcomeTracker(model.entry_latency_ns)

    def pick(self, output: PipelineOutput) -> list[dict[str, Any]]:
        """Return the arguments of `signal_record` for each decision that fired."""
        return [
            self._record_of(output, decisions, int(n), k)
            for k, decisions in enumerate(output.decisions)
            for n in decisions.fired()
        ]

    def track(self, output: PipelineOutput) -> list[Outcome]:
        """Return the outcomes that the ticks of this output settle."""
        return self._tracker.update(output.rows)

    def _record_of(self, output: PipelineOutput, decisions: Decisions, n: int, k: int) -> dict[str, Any]:
        decision, context = decisions.table[n], output.rows.context[n]
        values = output.rows.X[n]
        return {
            "mode": self._mode,
            "market": self._market,
            "symbol": self._pipeline.replay.symbols[int(decision["symbol"])],
            "strategy": self._strategies[k],
            "model_version": self._model_version,
            "decided_ns": int(decision["tick_ns"]),
            "price": Decimal(int(context["ask_e8"])) / PRICE_SCALE,
            "numbers": {name: float(decision[name]) for name in NUMBERS},
            "cost_parts": {name: float(part[n]) for name, part in decisions.costs._asdict().items()},
            "gates": self._pipeline.policies[k].explain(decision, context),
            "features": {name: float(values[i]) if np.isfinite(values[i]) else None for name, i in self._shown},
            "barriers": vars(self._barriers).copy(),
        }

    def write(self, record: dict[str, Any]) -> OpenSignal | None:
        """Write one signal down and tell the pages; return what is to be followed, None when it was known already."""
        signal, created = signal_record(**record)
        if signal.published_at is None:
            publish_signal(signal_row(signal))
            signal_mark_published(signal=signal)
        return self.open_signal(signal) if created else None

    def follow(self, signal: OpenSignal) -> None:
        self._tracker.open(signal)

    def open_signal(self, signal: Signal) -> OpenSignal:
        index = self._pipeline.replay.symbols.index(signal.symbol)
        return OpenSignal(signal.pk, index, signal.decided_ns, self._barriers, signal.cost_bps)

    def settle(self, outcome: Outcome) -> None:
        """Write an outcome down and tell the pages."""
        row = signal_settle(outcome=outcome)
        told = outcome_row(row)
        publish_outcome({"public_id": str(row.signal.public_id), "outcome": told, "return_bps": row.return_bps})
