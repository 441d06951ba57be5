"""DOOR: TrainedModel -> ONNX bytes, let through only if ONNX Runtime decides exactly as the trained model does."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from modeling.heads import TrainedModel, TreeRaw
from modeling.onnx_graph import INPUT, PROBABILITIES, RAW_SCORES, fused_graph
from modeling.onnx_trees import ZERO_EDGE, parse_trees, thresholds
from modeling.scorer import open_session

MAX_DP = 1e-12
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)
BATCHES = (1, 2, 7, 300, 5000)
EDGE_ROWS = 2000
ODD_VALUES = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e300, 1.7e308, -1.7e308, ZERO_EDGE, -ZERO_EDGE, 1e-36, -1e-36, 1e-30]
)


class ParityError(Exception):
    """The exported model would not decide like the trained one, so it must not be used."""


@dataclass(frozen=True)
class Parity:
    """What the gate saw."""

    rows: int
    max_dp: float
    max_draw: float
    decision_flips: int
    batch_differences: int

    @property
    def ok(self) -> bool:
        return self.max_dp <= MAX_DP and self.decision_flips == 0 and self.batch_differences == 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok, "value": self.max_dp, "limit": MAX_DP, "text": PARITY_TEXT}


PARITY_TEXT = "The exported model gives the same probabilities and decisions, in batches of any size."


def export_onnx(model: TrainedModel, x: np.ndarray, metadata: dict[str, str], seed: int) -> tuple[bytes, Parity]:
    """Return the ONNX bytes of a model and what the parity gate saw on rows `x` and on rows made to break it.

    Raises
    ------
    ParityError
        If any probability differs by more than 1e-12, any decision flips, or a score depends on its batch.
    """
    onnx_bytes = fused_graph(model, metadata)
    parity = parity_of(onnx_bytes, model, np.concatenate([x, edge_rows(model, x, seed)]))
    if not parity.ok:
        raise ParityError(
            f"The exported model does not decide like the trained one on {parity.rows} rows: largest difference "
            f"{parity.max_dp:.2e} (allowed {MAX_DP:.0e}), {parity.decision_flips} decisions flipped, "
            f"{parity.batch_differences} rows depend on their batch. Nothing was registered; report this."
        )
    return onnx_bytes, parity


def parity_of(onnx_bytes: bytes, model: TrainedModel, x: np.ndarray) -> Parity:
    session = open_session(onnx_bytes)
    probabilities, raw = session.run([PROBABILITIES, RAW_SCORES], {INPUT: np.ascontiguousarray(x)})
    wanted = model.probabilities(x)
    flips = (probabilities[:, 0, None] >= THRESHOLDS) != (wanted[:, 0, None] >= THRESHOLDS)
    return Parity(
        rows=len(x),
        max_dp=_largest(probabilities, wanted),
        max_draw=_largest(raw, model.raw_scores(x)),
        decision_flips=int(flips.sum()),
        batch_differences=_batch_differences(session, x, probabilities),
    )


def _largest(a: np.ndarray, b: np.ndarray) -> float:
    difference = np.abs(a - b)
    return float(difference.max()) if np.all(np.isfinite(difference)) else float("inf")


def _batch_differences(session: ort.InferenceSession, x: np.ndarray, whole: np.ndarray) -> int:
    """Count rows whose bits change when the rows are scored in smaller batches."""
    changed = 0
    for size in BATCHES:
        n = min(len(x), 40 * size)
        parts = [session.run([PROBABILITIES], {INPUT: x[i : i + size]})[0] for i in range(0, n, size)]
        got = np.concatenate(parts)
        changed += int(np.any(got.view(np.int64) != whole[: len(got)].view(np.int64), axis=1).sum())
    return changed


def edge_rows(model: TrainedModel, x: np.ndarray, seed: int) -> np.ndarray:
    """Return rows placed on thresholds and one float beside them, with gaps, infinities, zeros and huge values."""
    rng = np.random.default_rng(seed)
    rows = x[rng.integers(0, len(x), EDGE_ROWS)].copy()
    for feature, threshold in _thresholds(model):
        on = rng.integers(0, EDGE_ROWS, 3)
        rows[on, feature] = threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)
    spots = rng.random(rows.shape) < 0.02
    rows[spots] = rng.choice(ODD_VALUES, int(spots.sum()))
    uniform = np.repeat(ODD_VALUES[:, None], x.shape[1], axis=1)
    return np.concatenate([rows, uniform])


def _thresholds(model: TrainedModel) -> list[tuple[int, float]]:
    trees = [parse_trees(head.model.text) for head in model.heads if isinstance(head.model, TreeRaw)]
    return [pair for part in trees for pair in thresholds(part)]
