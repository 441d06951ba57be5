"""Writes of the registry, and the conductor of training: data -> model -> gates -> files -> ModelVersion."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from marketdata.capture import CaptureError, read_blocks
from marketdata.events import NS_PER_S, Market
from marketdata.features.bars import BAR_FEATURES_HASH
from marketdata.features.feature_set import FEATURE_SET_HASH
from marketdata.features.lookahead import LookaheadCertificate
from marketdata.features.trade_bars import TRADE_FEATURES_HASH
from modeling.archive import KLINES, PUMPS, RECORDED, read_bar_tapes, read_published_onsets, read_pump_tapes
from modeling.artifacts import ArtifactError, CardBarriers, ModelCard, artifact_read, artifact_write, sha256_hex
from modeling.dataset import Dataset, DatasetError, dataset_join
from modeling.evaluation import evaluate_unseen
from modeling.labels import Outcome
from modeling.models import Mode, ModelVersion, TrainingRun
from modeling.scorer import OnnxScorer, open_session
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

INPUT_LEVELS = {PUMPS: "trades", KLINES: "bars"}
FEATURE_HASHES = {"trades": TRADE_FEATURES_HASH, "bars": BAR_FEATURES_HASH, "book": FEATURE_SET_HASH}
"""What a source knows decides which features can be made of it; only those of the full book are computed live."""
PARITY_ROWS = 20_000

LIBRARIES = ("lightgbm", "scikit-learn", "numpy", "onnx", "onnxruntime", "skl2onnx")


class TrainingFailed(Exception):
    """A training could not make a model; the message says why and what to do."""


class TrainingCancelled(Exception):
    """Somebody cancelled the training; nothing was registered."""


def training_run_create(*, dataset: str, config: dict[str, Any], mode: str, market: str | None = None) -> TrainingRun:
    """Write down a training to be done; wrong settings are refused here, before anything waits for them."""
    if not dataset.strip():
        raise TrainingFailed("No dataset was named. Use 'simulated', 'pumps', 'klines' or the path of a capture file.")
    try:
        checked = TrainingConfig.from_json(config, dataset)
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
class _Source:
    """Labelled rows, and what else a dataset has to say about a model trained on them."""

    data: Dataset
    judge: Callable[["TrainingResult", Progress], dict[str, Any]]

    @classmethod
    def plain(cls, data: Dataset) -> "_Source":
        return cls(data, lambda result, report: {})


@dataclass(frozen=True)
class _Trained:
    data: Dataset
    config: TrainingConfig
    result: "TrainingResult"
    onnx_bytes: bytes
    parity: "Parity"
    judged: dict[str, Any]


def input_level(dataset: str) -> str:
    return INPUT_LEVELS.get(dataset, "book")


def _train(run: TrainingRun, report: _Reporter) -> ModelVersion:
    # Imported here: LightGBM, scikit-learn and skl2onnx must not load in every web and live process.
    from modeling.export import ParityError, export_onnx
    from modeling.leakage import certificate_of
    from modeling.train import train

    config = TrainingConfig.from_json(run.config)
    data_share, train_share = (0.05, 0.6) if run.dataset in RECORDED else (DATA_SHARE, TRAIN_SHARE)
    source = _source(run, config, report.part(0.0, data_share))
    data = source.data
    result = train(data, config, report.part(data_share, train_share))
    judged = source.judge(result, report.part(train_share, 0.9))
    if config.certificate:
        report(0.9, "testing for look-ahead")
        judged["certificate"] = certificate_of(data, input_level(run.dataset), config.embargo_ns, config.seed)
    report(0.94, "exporting and comparing")
    feature_hash = FEATURE_HASHES[input_level(run.dataset)]
    metadata = {"kind": result.model.kind, "feature_set_hash": feature_hash, "data_hash": data.sha256()}
    some = slice(None, None, max(1, len(data) // PARITY_ROWS))
    try:
        onnx_bytes, parity = export_onnx(result.model, data.X[some], metadata, config.seed)
    except ParityError as error:
        raise TrainingFailed(str(error)) from error
    report(0.97, "registering")
    trained = _Trained(data, config, result, onnx_bytes, parity, judged)
    model_version = model_version_register(
        card=_card(run, trained, timezone.now()), onnx_bytes=onnx_bytes, mode=run.mode
    )
    if model_version.gates_passed and _needs_champion(run):
        model_version_promote(model_version=model_version)
    return model_version


def _source(run: TrainingRun, config: TrainingConfig, report: Progress) -> _Source:
    if run.dataset == PUMPS:
        return _pumps(config, report)
    if run.dataset == KLINES:
        return _klines(config, report)
    return _Source.plain(_dataset(run, config, report))


def _pumps(config: TrainingConfig, report: Progress) -> _Source:
    # Imported here for the same reason as in `_train`.
    from modeling.pump_tapes import pump_dataset, pump_rows
    from modeling.pump_tasks import pump_tasks

    root = Path(settings.SURGE_DATA_ROOT)
    report(0.0, "reading the trades around announced pumps")
    tapes = read_pump_tapes(root)
    rows = pump_rows(tapes)
    published = {seconds: read_published_onsets(root, seconds) for seconds in (25, 5)}

    def judge(result: "TrainingResult", report: Progress) -> dict[str, Any]:
        return {"tasks": pump_tasks(tapes, rows, published, config, report)}

    return _Source(pump_dataset(tapes, rows, config.barriers), judge)


def _klines(config: TrainingConfig, report: Progress) -> _Source:
    from modeling.bar_tapes import bar_rows, liquidity_gates, liquidity_report

    report(0.0, "reading bars")
    rows = bar_rows(read_bar_tapes(Path(settings.SURGE_DATA_ROOT)), config.barriers, config.row_step_ns)

    def judge(result: "TrainingResult", report: Progress) -> dict[str, Any]:
        report(0.0, "weighing promises by liquidity")
        judged, probabilities = result.judged
        before = rows.data.take(np.flatnonzero(rows.data.t1_ns < rows.data.t0_ns[judged].min()))
        seen = rows.data.take(judged)
        table = liquidity_report(seen, rows.turnover[judged], probabilities, config, before.mean_timeout_bps)
        return {"liquidity": table, "gates": liquidity_gates(table)}

    return _Source(rows.data, judge)


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
                f"There is no dataset or capture file {str(path)!r}. Use 'simulated', 'pumps', 'klines', "
                "or the path of a recording."
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
    if run.dataset in RECORDED or (run.mode == Mode.PRODUCTION and run.dataset == SIMULATED):
        return False
    champion = champion_get(run.mode)
    return champion is None or champion.feature_set_hash != FEATURE_SET_HASH or not _folder(champion).is_dir()


def _folder(model_version: ModelVersion) -> Path:
    return Path(settings.SURGE_MODELS_DIR) / model_version.folder


def _card(run: TrainingRun, trained: _Trained, now: datetime) -> ModelCard:
    data, config, report = trained.data, trained.config, trained.result.report
    digest = sha256_hex(trained.onnx_bytes)
    return ModelCard(
        version=f"{trained.result.model.kind}-{now:%Y%m%d-%H%M%S}-{digest[:8]}",
        kind=trained.result.model.kind,
        created_at=now.isoformat(),
        feature_names=data.feature_names,
        feature_set_hash=FEATURE_HASHES[input_level(run.dataset)],
        barriers=CardBarriers(
            take_profit_bps=config.barriers.take_profit_bps,
            stop_loss_bps=config.barriers.stop_loss_bps,
            horizon_s=config.barriers.horizon_ns / 1e9,
            mean_timeout_bps=data.mean_timeout_bps,
            entry_latency_ms=config.barriers.entry_latency_ns / 1e6,
        ),
        dataset=_dataset_facts(run, data) | {"trained_to_ns": trained.result.trained_to_ns},
        data_hash=data.sha256(),
        config=config.as_json(),
        seeds={"training": config.seed, "history": config.history.seed},
        folds=trained.result.folds,
        metrics=report["metrics"],
        baselines=report["baselines"],
        gates={
            **report["gates"],
            **trained.judged.get("gates", {}),
            "parity": trained.parity.as_json(),
            **_certificate_gate(trained.judged.get("certificate")),
            **_live_gate(run.dataset),
        },
        calibration=report["calibration"],
        rounds=report["rounds"],
        importances=report["importances"],
        reliability=report["reliability"],
        decision_region=report["decision_region"],
        libraries={name: library_version(name) for name in LIBRARIES},
        tasks=trained.judged.get("tasks", {}),
        choice=report["choice"],
        calibration_contest=report["calibration_contest"],
        liquidity=trained.judged.get("liquidity", []),
        certificate=certificate.as_dict() if (certificate := trained.judged.get("certificate")) else None,
    )


def _certificate_gate(certificate: LookaheadCertificate | None) -> dict[str, Any]:
    if certificate is None:
        return {}
    text = "; ".join(certificate.problems) or "No feature reads the future, and labels that mean nothing teach nothing."
    return {"lookahead": {"ok": certificate.passed, "value": len(certificate.problems), "limit": 0, "text": text}}


def _live_gate(dataset: str) -> dict[str, Any]:
    level = input_level(dataset)
    if level == "book":
        return {}
    text = f"Reads features of {level} only, which the live worker does not compute: this model can never decide live."
    return {"live_features": {"ok": False, "value": level, "limit": "book", "text": text}}


def _dataset_facts(run: TrainingRun, data: Dataset) -> dict[str, Any]:
    return {
        "name": SIMULATED if run.dataset == SIMULATED else ", ".join(Path(p).name for p in run.dataset.splitlines()),
        "market": run.market,
        "input_level": input_level(run.dataset),
        "rows": len(data),
        "base_rate": float(data.hit(Outcome.TAKE_PROFIT).mean()),
        "effective_rows": float(data.weight.sum()),
        "symbols": list(data.symbols),
        "from_ns": int(data.t0_ns.min()),
        "to_ns": int(data.t1_ns.max()),
    }


def model_version_evaluate(
    *, model_version: ModelVersion, dataset: str, market: str, config: dict[str, Any], on_progress: Progress
) -> dict[str, Any]:
    """Judge a registered model on rows of `dataset` that it never saw; nothing is trained and nothing is written.

    Raises
    ------
    TrainingFailed
        If the dataset cannot be read, has other features than the model reads, or holds nothing new to the model.
    """
    facts = model_version.card["dataset"]
    if facts.get("input_level", "book") != input_level(dataset):
        raise TrainingFailed(
            f"{model_version.version} reads features of {facts.get('input_level', 'book')}, but {dataset} gives those "
            f"of {input_level(dataset)}: name a model trained on the same kind of data with --model-version."
        )
    try:
        asked = TrainingConfig.from_json({**model_version.card["config"], **config})
        if dataset == SIMULATED:  # another market, played later than the one trained on
            later = replace(asked.history, seed=asked.history.seed + 1, start_ns=int(facts["to_ns"]) + NS_PER_S)
            asked = replace(asked, history=later)
        run = TrainingRun(dataset=dataset, config=asked.as_json(), mode=model_version.mode, market=Market(market))
        data = _source(run, asked, on_progress).data
        card, onnx_bytes = artifact_read(_folder(model_version), model_version.sha256)
    except (DatasetError, CaptureError, ArtifactError, ValueError) as error:
        raise TrainingFailed(str(error)) from error
    seen_to_ns = int(facts.get("trained_to_ns", facts["to_ns"]))
    new = data.take(np.flatnonzero((data.t0_ns > seen_to_ns) | (data.t1_ns < int(facts["from_ns"]))))
    if not len(new) or not 0.0 < new.hit(Outcome.TAKE_PROFIT).mean() < 1.0:
        raise TrainingFailed(
            f"{dataset} holds no surges from other times than those {model_version.version} was trained on, so it "
            "proves nothing about it. Use a newer recording."
        )
    on_progress(1.0, f"scoring {len(new)} rows")
    return evaluate_unseen(new, OnnxScorer(open_session(onnx_bytes), card).score(new.X), asked, facts["base_rate"])


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
        If the files are missing or are not those that were registered, or the model reads features that the live
        worker does not compute.
    """
    if (level := model_version.card["dataset"].get("input_level", "book")) != "book":
        raise ArtifactError(
            f"{model_version.version} was trained on features of {level} only, which the live worker does not compute, "
            "so it cannot decide live. Train on 'simulated' or on recordings: ./surge train --dataset simulated"
        )
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
