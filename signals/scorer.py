"""DOOR: the model that scores a pipeline: a trained version by name, the newest one, or the plain rule."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from modeling.artifacts import CARD_FILE, CardBarriers
from modeling.rule import HORIZON_S, RULE_VERSION, STOP_LOSS_BPS, TAKE_PROFIT_BPS, rule_score
from modeling.scorer import OnnxScorer
from signals.decision import Barriers


@dataclass(frozen=True)
class ScoringModel:
    """What a pipeline needs of a model."""

    version: str
    score: Callable[[np.ndarray], np.ndarray]
    barriers: Barriers
    entry_latency_ns: int
    leading_features: tuple[str, ...]

    @classmethod
    def trained(cls, folder: Path, sha256: str | None = None) -> Self:
        scorer = OnnxScorer.load(folder, sha256=sha256)
        leading = tuple(row["feature"] for row in scorer.card.importances if "feature" in row)
        latency_ns = round(scorer.card.barriers.entry_latency_ms * 1e6)
        return cls(scorer.card.version, scorer.score, promise(scorer.card.barriers), latency_ns, leading)

    @classmethod
    def rule(cls) -> Self:
        barriers = Barriers(TAKE_PROFIT_BPS, STOP_LOSS_BPS, HORIZON_S, 0.0)
        return cls(RULE_VERSION, rule_score, barriers, 100_000_000, ())


def promise(barriers: CardBarriers) -> Barriers:
    return Barriers(barriers.take_profit_bps, barriers.stop_loss_bps, barriers.horizon_s, barriers.mean_timeout_bps)


def scoring_model(models_dir: Path, version: str | None) -> ScoringModel:
    """Return the named model; without a name the newest trained one, or the rule where nothing was trained yet."""
    if version == RULE_VERSION:
        return ScoringModel.rule()
    if version is not None:
        return ScoringModel.trained(models_dir / version)
    versions = sorted(models_dir.glob(f"[!.]*/{CARD_FILE}"), key=lambda card: (card.stat().st_mtime_ns, card))
    return ScoringModel.trained(versions[-1].parent) if versions else ScoringModel.rule()
