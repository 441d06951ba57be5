"""DOOR: scores feature rows with an exported model. Loads ONNX only, from bytes whose hash was checked."""

from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime as ort

from marketdata.features.feature_set import FEATURE_SET_HASH
from modeling.artifacts import ModelCard, artifact_read


class ModelContractError(Exception):
    """A model and what it is fed do not belong together; the message says what differs and what to do."""


def open_session(onnx_bytes: bytes) -> ort.InferenceSession:
    """Open a session on one thread without a growing arena. Open it after a fork, never before."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


class OnnxScorer:
    """Calibrated chances of gain and loss for feature rows; a row's score is the same in any batch, to the bit."""

    def __init__(self, session: ort.InferenceSession, card: ModelCard) -> None:
        self.card = card
        self._run = session.run
        self._n_features = len(card.feature_names)

    @classmethod
    def load(cls, folder: Path | str, *, sha256: str | None = None, feature_set_hash: str = FEATURE_SET_HASH) -> Self:
        """Load the model version in `folder`.

        Parameters
        ----------
        folder : Path
            Holds model.onnx, card.json and SHA256SUMS.
        sha256 : str, optional
            Hash of model.onnx that the registry remembers.
        feature_set_hash : str
            The features that rows will carry; must be those the model was trained on.

        Raises
        ------
        ModelContractError
            If the model reads other features than the rows carry.
        ArtifactError
            If a file is missing or was changed.
        """
        card, onnx_bytes = artifact_read(Path(folder), sha256)
        if card.feature_set_hash != feature_set_hash:
            raise ModelContractError(
                f"Model {card.version} was trained on feature set {card.feature_set_hash[:12]}, but this program "
                f"computes feature set {feature_set_hash[:12]}. Train a new model: ./surge train --dataset simulated"
            )
        return cls(open_session(onnx_bytes), card)

    def score(self, x: np.ndarray) -> np.ndarray:
        """Return p_tp and p_sl, shape (n, 2), of feature rows (n, F) float64. NaN means unknown and is fine."""
        if not isinstance(x, np.ndarray) or x.dtype != np.float64:
            raise ModelContractError(
                f"Feature rows must be a float64 array, not {getattr(x, 'dtype', type(x).__name__)}: "
                "float32 rounds values over the thresholds of the trees."
            )
        if x.ndim != 2 or x.shape[1] != self._n_features:
            raise ModelContractError(
                f"Model {self.card.version} reads rows of {self._n_features} features, but got an array of "
                f"shape {x.shape}."
            )
        if len(x) == 0:
            return np.empty((0, 2))
        (probabilities,) = self._run(["probabilities"], {"features": np.ascontiguousarray(x)})
        return np.asarray(probabilities)
