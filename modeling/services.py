"""Writes of the registry, and the conductor of training: data -> model -> gates -> files -> ModelVersion."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from marketdata.capture import CaptureError, read_blocks
from marketdata.events import Market
from marketdata.features.feature_set import FEATURE_SET_HASH
from modeling.artifacts import ArtifactError, CardBarriers, ModelCard, artifact_read, artifact_write, sha256_hex
from modeling.dataset import Dataset, DatasetError, dataset_join
from modeling.models import Mode, ModelVersion, TrainingRun
from modeling.selectors import champion_get, training_run_list_open
from modeling.simulated import dataset_of_blocks, simulated_dataset
from modeling.training_config import TrainingConfig

if TYPE_CHECKING:
    from modeling.export import Parity
    from modeling.train import TrainingResult

log = logging.getLogger("surge.training")

Progress = Callable[[float, str], None]

SIMULATED = "simulated"
DATA_SHARE = 0.35
TRAIN_SHARE = 0.9
LOST_AFTER = timedelta(minutes=5)
"""A running training without a sign of life for this long was lost with its process and may be claimed again."""

LIBRARIES = ("lightgbm", "scikit-learn", "numpy", "onnx", "onnxruntime", "skl2onnx")


class TrainingFailed(Exception):
    """A training could not make a model; the message says why and what to do."""


class TrainingCancelled(Exception):
    """Somebody cancelled the training; nothing was registered."""


def training_run_create(*, dataset: str, config: dict[str, Any], mode: str, market: str | None = None) -> TrainingRun:
    """Write down a training to be done; wrong settings are refused here, before anything waits for them."""
    if not dataset.strip():
        raise TrainingFailed("No dataset was named. Use 'simulated' or the path of a capture file.")
    try:
        checked = TrainingConfig.from_json(config)
    except ValueError as error:
        raise TrainingFailed(str(error)) from error
    return TrainingRun.objects.create(
        dataset=dataset, config=checked.as_json(), mode=Mode(mode), market=Market(market or settings.SURGE_MARKET)
    )


def training_run_execute(
    *,
    dataset: str,
    config: dict[str, Any],
    mode: str,
    market: str | None = None,
    on_progress: Progress | None = None,
) -> TrainingRun:
    """Train now, in this process; see `training_run_perform`."""
    run = training_run_create(dataset=dataset, config=config, mode=mode, market=market)
    return training_run_perform(run_id=run.pk, on_progress=on_progress)


def training_run_perform(*, run_id: int, on_progress: Progress | None = None) -> TrainingRun:
    """Do a written-down training once, however often it is asked for.

    Raises
    ------
    TrainingFailed
        If the data or the gates of the export stopped it; the run holds the same sentence.
    TrainingCancelled
        If the run was cancelled meanwhile.
    """
    if not _claim(run_id):
        return TrainingRun.objects.get(pk=run_id)
    run = TrainingRun.objects.get(pk=run_id)
    try:
        model_version = _train(run, _Reporter(run_id, on_progress))
    except TrainingCancelled:
        raise
    except (DatasetError, CaptureError, ArtifactError, TrainingFailed) as error:
        _finish(run, TrainingRun.Status.FAILED, error=str(error))
        raise TrainingFailed(str(error)) from error
    except BaseException as error:
        _finish(run, TrainingRun.Status.FAILED, error=f"{type(error).__name__}: {error}")
        raise
    _finish(run, TrainingRun.Status.DONE, progress=1.0, message="done", model_version=model_version)
    run.refresh_from_db()
    return run


def training_run_cancel(*, run: TrainingRun) -> bool:
    """Stop a waiting or running training at its next step; False when it is over already."""
    open_one = training_run_list_open().filter(pk=run.pk)
    return bool(open_one.update(status=TrainingRun.Status.CANCELLED, finished_at=timezone.now()))


def _claim(run_id: int) -> bool:
    """Two workers, one winner: the conditional update decides."""
    now = timezone.now()
    lost = Q(status=TrainingRun.Status.RUNNING, heartbeat_at__lt=now - LOST_AFTER)
    free = TrainingRun.objects.filter(Q(status=TrainingRun.Status.QUEUED) | lost, pk=run_id)
    return bool(free.update(status=TrainingRun.Status.RUNNING, started_at=now, heartbeat_at=now, error=""))


def _finish(run: TrainingRun, status: Any, **values: Any) -> None:
    TrainingRun.objects.filter(pk=run.pk, status=TrainingRun.Status.RUNNING).update(
        status=status, finished_at=timezone.now(), **values
    )


class _Reporter:
    """Writes progress to the run, and learns there whether it was cancelled."""

    def __init__(self, run_id: int, on_progress: Progress | None) -> None:
        self._run_id = run_id
        self._on_progress = on_progress
        self._last: tuple[int, str] | None = None

    def __call__(self, share: float, step: str) -> None:
        if (percent := (int(100 * share), step)) == self._last:
            return
        self._last = percent
        alive = TrainingRun.objects.filter(pk=self._run_id, status=TrainingRun.Status.RUNNING)
        if not alive.update(progress=share, message=step[:200], heartbeat_at=timezone.now()):
            raise TrainingCancelled("The training was cancelled.")
        if self._on_progress is not None:
            self._on_progress(share, step)

    def part(self, start: float, end: float) -> Progress:
        return lambda share, step: self(start + share * (end - start), step)


@dataclass(frozen=True)
class _Trained:
    data: Dataset
    config: TrainingConfig
    result: "TrainingResult"
    onnx_bytes: bytes
    parity: "Parity"


def _train(run: TrainingRun, report: _Reporter) -> ModelVersion:
    # Imported here: LightGBM, scikit-learn and skl2onnx must not load in every web and live process.
    from modeling.export import ParityError, export_onnx
    from modeling.train import train

    config = TrainingConfig.from_json(run.config)
    data = _dataset(run, config, report.part(0.0, DATA_SHARE))
    result = train(data, config, report.part(DATA_SHARE, TRAIN_SHARE))
    report(TRAIN_SHARE, "exporting and comparing")
    metadata = {"kind": result.model.kind, "feature_set_hash": FEATURE_SET_HASH, "data_hash": data.sha256()}
    try:
        onnx_bytes, parity = export_onnx(result.model, data.X, metadata, config.seed)
    except ParityError as error:
        raise TrainingFailed(str(error)) from error
    report(0.97, "registering")
    trained = _Trained(data, config, result, onnx_bytes, parity)
    model_version = model_version_register(
        card=_card(run, trained, timezone.now()), onnx_bytes=onnx_bytes, mode=run.mode
    )
    if model_version.gates_passed and _needs_champion(run):
        model_version_promote(model_version=model_version)
    return model_version


def _dataset(run: TrainingRun, config: TrainingConfig, report: Progress) -> Dataset:
    market = Market(run.market)
    if run.dataset == SIMULATED:
        step = f"playing {config.history.seconds / 60:.0f} simulated minutes of {config.history.symbols} coins"
        report(0.0, step)
        return simulated_dataset(config, market, lambda share: report(share, step))
    paths = [Path(line) for line in run.dataset.splitlines()]
    for path in paths:
        if not path.is_file():
            raise TrainingFailed(
                f"There is no dataset or capture file {str(path)!r}. Use 'simulated', or the path of a recording."
            )
    parts = []
    for i, path in enumerate(paths):
        report(i / len(paths), f"replaying {path.name}")
        try:
            parts.append(dataset_of_blocks(read_blocks(path, salvage=config.salvage), config, market))
        except DatasetError as error:
            raise TrainingFailed(f"{path}: {error}") from error
    return dataset_join(parts)


def _needs_champion(run: TrainingRun) -> bool:
    """The first good model decides at once; later ones wait for a person. Simulated data never decide on money."""
    if run.mode == Mode.PRODUCTION and run.dataset == SIMULATED:
        return False
    champion = champion_get(run.mode)
    return champion is None or champion.feature_set_hash != FEATURE_SET_HASH or not _folder(champion).is_dir()


def _folder(model_version: ModelVersion) -> Path:
    return Path(settings.SURGE_MODELS_DIR) / model_version.folder


def _card(run: TrainingRun, trained: _Trained, now: datetime) -> ModelCard:
    data, config, report = trained.data, trained.config, trained.result.report
    digest = sha256_hex(trained.onnx_bytes)
    return ModelCard(
        version=f"{config.model}-{now:%Y%m%d-%H%M%S}-{digest[:8]}",
        kind=trained.result.model.kind,
        created_at=now.isoformat(),
        feature_names=data.feature_names,
        feature_set_hash=FEATURE_SET_HASH,
        barriers=CardBarriers(
            take_profit_bps=config.barriers.take_profit_bps,
            stop_loss_bps=config.barriers.stop_loss_bps,
            horizon_s=config.barriers.horizon_ns / 1e9,
            mean_timeout_bps=data.mean_timeout_bps,
            entry_latency_ms=config.barriers.entry_latency_ns / 1e6,
        ),
        dataset=_dataset_facts(run, data),
        data_hash=data.sha256(),
        config=config.as_json(),
        seeds={"training": config.seed, "history": config.history.seed},
        folds=trained.result.folds,
        metrics=report["metrics"],
        baselines=report["baselines"],
        gates={**report["gates"], "parity": trained.parity.as_json()},
        calibration=report["calibration"],
        rounds=report["rounds"],
        importances=report["importances"],
        reliability=report["reliability"],
        decision_region=report["decision_region"],
        libraries={name: library_version(name) for name in LIBRARIES},
    )


def _dataset_facts(run: TrainingRun, data: Dataset) -> dict[str, Any]:
    return {
        "name": SIMULATED if run.dataset == SIMULATED else ", ".join(Path(p).name for p in run.dataset.splitlines()),
        "market": run.market,
        "rows": len(data),
        "effective_rows": float(data.weight.sum()),
        "symbols": list(data.symbols),
        "from_ns": int(data.t0_ns.min()),
        "to_ns": int(data.t1_ns.max()),
    }


def model_version_register(*, card: ModelCard, onnx_bytes: bytes, mode: str) -> ModelVersion:
    """Write the files of a version, then its row: a row without files can never exist."""
    folder = artifact_write(Path(settings.SURGE_MODELS_DIR), card, onnx_bytes)
    return ModelVersion.objects.create(
        version=card.version,
        created_at=datetime.fromisoformat(card.created_at),
        mode=Mode(mode),
        feature_set_hash=card.feature_set_hash,
        card=card.as_json(),
        folder=folder.name,
        sha256=sha256_hex(onnx_bytes),
    )


def model_version_promote(*, model_version: ModelVersion) -> ModelVersion:
    """Make a version the champion of its mode; the one before retires in the same moment.

    Raises
    ------
    ArtifactError
        If the files are missing or are not those that were registered.
    """
    artifact_read(_folder(model_version), model_version.sha256)
    with transaction.atomic():
        before = ModelVersion.objects.select_for_update().filter(
            mode=model_version.mode, status=ModelVersion.Status.CHAMPION
        )
        before.exclude(pk=model_version.pk).update(status=ModelVersion.Status.RETIRED)
        model_version.status = ModelVersion.Status.CHAMPION
        model_version.promoted_at = timezone.now()
        model_version.save(update_fields=["status", "promoted_at"])
    log.info("Model %s is champion of %s", model_version.version, model_version.mode)
    return model_version
