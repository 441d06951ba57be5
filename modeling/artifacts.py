"""DOOR: one folder per model version: model.onnx, card.json, SHA256SUMS. Written whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

MODEL_FILE, CARD_FILE, SUMS_FILE = "model.onnx", "card.json", "SHA256SUMS"
MAX_MODEL_BYTES = 50 << 20


class ArtifactError(Exception):
    """A model version cannot be read or written; the message says which and what to do."""


@dataclass(frozen=True)
class CardBarriers:
    """The bet the model was trained on, as decisions need it."""

    take_profit_bps: float
    stop_loss_bps: float
    horizon_s: float
    mean_timeout_bps: float
    entry_latency_ms: float


@dataclass(frozen=True)
class ModelCard:
    """Everything one should know before trusting a model; the JSON beside its bytes."""

    version: str
    kind: str
    created_at: str
    feature_names: tuple[str, ...]
    feature_set_hash: str
    barriers: CardBarriers
    dataset: dict[str, Any]
    data_hash: str
    config: dict[str, Any]
    seeds: dict[str, int]
    folds: list[dict[str, Any]]
    metrics: dict[str, Any]
    baselines: dict[str, Any]
    gates: dict[str, Any]
    calibration: dict[str, str]
    rounds: dict[str, int]
    importances: list[dict[str, Any]]
    reliability: list[dict[str, Any]]
    decision_region: list[dict[str, Any]]
    libraries: dict[str, str]
    tasks: dict[str, Any] = field(default_factory=dict)
    choice: dict[str, Any] | None = None
    calibration_contest: dict[str, Any] = field(default_factory=dict)
    liquidity: list[dict[str, Any]] = field(default_factory=list)
    certificate: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return without_nan(asdict(self))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ModelCard":
        missing = [f.name for f in fields(cls) if f.name not in values and _required(f)]
        if missing:
            raise ArtifactError(f"The model card lacks {', '.join(missing)}: it was written by another version.")
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        barriers = CardBarriers(**values["barriers"])
        return cls(**{**known, "barriers": barriers, "feature_names": tuple(values["feature_names"])})


def _required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def without_nan(value: Any) -> Any:
    """Return the same nest with plain tuples as lists and numbers that JSON cannot hold as None."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def artifact_write(models_dir: Path, card: ModelCard, onnx_bytes: bytes) -> Path:
    """Write the folder of a new version and return it; a version that exists is never overwritten."""
    folder = models_dir / card.version
    if folder.exists():
        raise ArtifactError(f"Model version {card.version} exists already in {models_dir}; versions are never changed.")
    models_dir.mkdir(parents=True, exist_ok=True)
    card_bytes = json.dumps(card.as_json(), indent=1, sort_keys=True, allow_nan=False).encode()
    contents = {MODEL_FILE: onnx_bytes, CARD_FILE: card_bytes}
    contents[SUMS_FILE] = "".join(f"{sha256_hex(data)}  {name}\n" for name, data in contents.items()).encode()
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=models_dir))
    try:
        for name, data in contents.items():
            _write_durably(draft / name, data)
        draft.chmod(0o755)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def artifact_read(folder: Path, sha256: str | None = None) -> tuple[ModelCard, bytes]:
    """Return card and model bytes of a version after checking both against SHA256SUMS (and the registry's hash)."""
    sums = _sums(folder)
    contents = {name: _checked(folder, name, sums) for name in (MODEL_FILE, CARD_FILE)}
    if sha256 is not None and sums[MODEL_FILE] != sha256:
        raise ArtifactError(
            f"{folder / MODEL_FILE} is not the model that was registered as {folder.name}: its hash differs. "
            "Train again, or put the registered file back."
        )
    return ModelCard.from_json(json.loads(contents[CARD_FILE])), contents[MODEL_FILE]


def _sums(folder: Path) -> dict[str, str]:
    lines = _read(folder / SUMS_FILE, 1 << 16).decode("ascii", "replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (MODEL_FILE, CARD_FILE):
        if name not in sums:
            raise ArtifactError(f"{folder / SUMS_FILE} does not list {name}: the model folder is damaged. Train again.")
    return sums


def _checked(folder: Path, name: str, sums: dict[str, str]) -> bytes:
    content = _read(folder / name, MAX_MODEL_BYTES)
    if sha256_hex(content) != sums[name]:
        raise ArtifactError(f"{folder / name} was changed after it was written (its hash differs). Train again.")
    return content


def _read(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise ArtifactError(f"{path} is too large for a model file: {size} bytes, at most {limit} are read.")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"Cannot read {path}: {error.strerror}. Train a model: ./surge train") from error
