"""The two published questions about announced pumps, answered beside their baselines on the same grouped folds.

(E) detection: how many pumps are noticed at 0.1 false alerts per coin-day, and how late. (A) classification: which
chunk is the pump's first. Folds never part an event; intervals resample whole events, paired between methods.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from marketdata.features.pump_chunks import pump_chunk_features
from marketdata.features.trade_bars import TRADE_FEATURES
from modeling.baselines import fit_logistic
from modeling.boosting import TreeRows, fit_trees
from modeling.focal import focal_probability
from modeling.metrics import ClusterBootstrap, average_precision, interval
from modeling.pump_tapes import PumpRows, PumpTape, grouped_folds, groups_of, onset_of
from modeling.training_config import Boosting, TrainingConfig

N_FOLDS = 5
FALSE_ALERTS_PER_DAY = 0.1
EARLY_MS, LATE_MS = 5000, 30_000
POSITIVE_MS = 15_000
BEFORE_MS, AFTER_MS = 300_000, 1_800_000
"""Rows this near to an onset are neither a hit nor a false alert."""
COOL_DOWN_MS = 1_800_000
RULE, LOGISTIC, LOGLOSS, FOCAL, FOREST = "rule", "logistic", "logloss", "focal", "forest"
GAMMA = 2.0

DETECTOR = Boosting(
    learning_rate=0.05, num_leaves=8, max_rounds=150, patience=0, max_bin=1023, min_data_in_leaf=20, lambda_l2=20.0,
    feature_fraction=0.5, bagging_fraction=0.7,
)  # fmt: skip
CLASSIFIER = Boosting(
    learning_rate=0.05, num_leaves=4, max_rounds=200, patience=0, max_bin=8191, min_data_in_leaf=3, lambda_l2=1.0,
    feature_fraction=0.5, bagging_fraction=0.7,
)  # fmt: skip
N_NO_CLOCK = 8
"""The published features without their clock: our models never read the hour."""

Step = Callable[[str], None]
FitScore = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(train rows, test rows) -> scores of the test rows."""


def out_of_fold(fit_score: FitScore, fold: np.ndarray, usable: np.ndarray, workers: int) -> np.ndarray:
    """Score every row by a model that saw no event of its fold; only `usable` rows are learnt from."""
    scores = np.empty(len(fold))

    def one(k: int) -> None:
        test = np.flatnonzero(fold == k)
        scores[test] = fit_score(np.flatnonzero((fold != k) & usable), test)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, range(int(fold.max()) + 1)))
    return scores


def _trees(x: np.ndarray, y: np.ndarray, gamma: float, how: Boosting, seed: int) -> FitScore:
    rows = TreeRows(x, y, np.ones(len(y)), np.zeros(len(y), np.int64), np.zeros(len(y), np.int64))

    def fit_score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        raw = fit_trees(rows.take(train), gamma, None, how, seed, how.max_rounds).raw(x[test])
        return focal_probability(raw, gamma)

    return fit_score


def _logistic(x: np.ndarray, y: np.ndarray) -> FitScore:
    return lambda train, test: fit_logistic(x[train], y[train], np.ones(len(train))).raw(x[test])


def _forest(x: np.ndarray, y: np.ndarray, seed: int) -> FitScore:
    def fit_score(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        forest = RandomForestClassifier(200, max_depth=5, random_state=seed, n_jobs=1).fit(x[train], y[train])
        return np.asarray(forest.predict_proba(x[test])[:, 1])

    return fit_score


# -- E: detection ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alarms:
    """What one score would have raised at one threshold: per tape, whether it was caught, when, and false alerts."""

    caught: np.ndarray
    delay_s: np.ndarray
    false_alerts: np.ndarray


@dataclass(frozen=True)
class Watch:
    """The rows of all tapes as a detector sees them; onset_ms is -1 where a coin did not pump."""

    at_ms: np.ndarray
    tape: np.ndarray
    onset_ms: np.ndarray
    days: np.ndarray

    @property
    def since_ms(self) -> np.ndarray:
        onset = self.onset_ms[self.tape]
        return np.where(onset >= 0, self.at_ms - onset, np.int64(-1) << 40)

    @property
    def positive(self) -> np.ndarray:
        return (self.since_ms > 0) & (self.since_ms <= POSITIVE_MS)

    @property
    def usable(self) -> np.ndarray:
        near = (self.since_ms > -BEFORE_MS) & (self.since_ms <= AFTER_MS)
        return self.positive | ~near

    def alarms(self, fired: np.ndarray) -> Alarms:
        """Follow the fired rows of each tape; false alerts within half an hour count once."""
        n = len(self.onset_ms)
        caught, delay_s, false_alerts = np.zeros(n, bool), np.full(n, np.nan), np.zeros(n, np.int64)
        since = self.since_ms
        for i in range(n):
            rows = np.flatnonzero(fired & (self.tape == i))
            hits = rows[(since[rows] > -EARLY_MS) & (since[rows] <= LATE_MS)]
            if len(hits):
                caught[i], delay_s[i] = True, since[hits[0]] / 1000.0
            quiet = rows[(since[rows] <= -BEFORE_MS) | (since[rows] > AFTER_MS)]
            false_alerts[i] = _episodes(self.at_ms[quiet])
        return Alarms(caught, delay_s, false_alerts)

    def best_threshold(self, score: np.ndarray, tapes: np.ndarray) -> float:
        """Return the threshold that catches most on `tapes` within the allowed false alerts; the highest of equals."""
        mine = np.isin(self.tape, tapes)
        grid = np.unique(np.quantile(score[mine], 1.0 - np.logspace(-5.5, -2.0, 80)))[::-1]
        best, most = np.inf, -1
        for threshold in grid:
            seen = self.alarms(mine & (score >= threshold))
            allowed = seen.false_alerts.sum() <= FALSE_ALERTS_PER_DAY * self.days[tapes].sum()
            if allowed and seen.caught.sum() > most:
                best, most = float(threshold), int(seen.caught.sum())
        return best


def _episodes(at_ms: np.ndarray) -> int:
    count, last = 0, -(1 << 60)
    for t in at_ms.tolist():
        if t - last >= COOL_DOWN_MS:
            count, last = count + 1, t
    return count


def detection_task(
    tapes: Sequence[PumpTape], rows: PumpRows, *, seed: int, draws: int, workers: int, step: Step
) -> dict[str, Any]:
    """Return what each detector catches at 0.1 false alerts per coin-day.

    `detected` reads its threshold on all out-of-fold scores, as the published figures do (optimistic, the same for
    all); `detected_honest` takes each fold's threshold from the other folds.
    """
    onset = np.array([-1 if (found := onset_of(tape)) is None else found for tape in tapes], np.int64)
    days = np.array([np.ptp(rows.at_ms[rows.tape == i]) / 86.4e6 if np.any(rows.tape == i) else 0.0
                     for i in range(len(tapes))])  # fmt: skip
    watch = Watch(rows.at_ms, rows.tape, onset, days)
    fold = grouped_folds(groups_of(tapes), N_FOLDS, seed)
    y, x = watch.positive.astype(np.float64), rows.X
    methods: dict[str, FitScore] = {
        RULE: lambda train, test: burst_rule(x[test]),
        LOGISTIC: _logistic(x, y),
        LOGLOSS: _trees(x, y, 0.0, DETECTOR, seed),
        FOCAL: _trees(x, y, GAMMA, DETECTOR, seed),
    }
    caught, table = {}, {}
    for name, fit_score in methods.items():
        step(f"detecting onsets with {name}")
        score = out_of_fold(fit_score, fold[rows.tape], watch.usable, workers)
        caught[name], table[name] = _detection(watch, score, y, fold)
    rng = np.random.default_rng(seed)
    pumps = np.flatnonzero(onset >= 0)
    drawn = pumps[rng.integers(0, len(pumps), (draws, len(pumps)))]
    for name in table:
        extra = caught[name].astype(float) - caught[RULE]
        table[name]["detected_over_rule"] = interval(float(extra.sum()), extra[drawn].sum(axis=1))._asdict()
    return {
        "events": int((onset >= 0).sum()), "coin_days": float(days.sum()), "rows": len(rows), "folds": N_FOLDS,
        "false_alerts_per_day_limit": FALSE_ALERTS_PER_DAY, "methods": table,
    }  # fmt: skip


def burst_rule(x: np.ndarray) -> np.ndarray:
    """Buying of the last 15 s against normal, plus the rise: the plainest detector that works."""
    bought, rise = (x[:, TRADE_FEATURES.index(name)] for name in ("buy_volume_15s", "return_15s"))
    return np.nan_to_num(bought, nan=-10.0) + 50.0 * np.maximum(rise, 0.0)


def _detection(watch: Watch, score: np.ndarray, y: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    everything = np.arange(len(watch.onset_ms))
    seen = watch.alarms(score >= watch.best_threshold(score, everything))
    usable = watch.usable
    honest = np.zeros(len(score), bool)
    for k in range(int(fold.max()) + 1):
        mine = fold[watch.tape] == k
        honest |= mine & (score >= watch.best_threshold(score, np.flatnonzero(fold != k)))
    blind = watch.alarms(honest)
    return seen.caught, {
        "ap": average_precision(y[usable], score[usable], np.ones(int(usable.sum()))),
        "detected": int(seen.caught.sum()),
        "false_alerts_per_day": float(seen.false_alerts.sum() / watch.days.sum()),
        "median_delay_s": float(np.nanmedian(seen.delay_s)) if seen.caught.any() else None,
        "detected_honest": int(blind.caught.sum()),
        "false_alerts_per_day_honest": float(blind.false_alerts.sum() / watch.days.sum()),
        "median_delay_honest_s": float(np.nanmedian(blind.delay_s)) if blind.caught.any() else None,
    }


# -- A: classification of chunks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunks:
    """Chunks of buys with full windows: the published features, and which chunk is the pump's first."""

    published: np.ndarray
    y: np.ndarray
    tape: np.ndarray


def labelled_chunks(tapes: Sequence[PumpTape], seconds: int, published_ms: dict[str, np.ndarray]) -> Chunks:
    """Return the chunks of all tapes whose pump falls into a chunk with full windows.

    The first chunk is the published one where there is one, else the one our onset lies in.
    """
    parts = []
    for i, tape in enumerate(tapes):
        amount = tape.volume / tape.price
        chunks = pump_chunk_features(tape.timestamp_ms, tape.is_buy, tape.price, amount, seconds)
        full = ~np.isnan(chunks.X).any(axis=1)
        start_ms = chunks.start_ms[full]
        known = published_ms.get(tape.coin.removesuffix("BTC"), np.zeros(0, np.int64))
        near = known[np.abs(known - tape.announced_ms) <= 86_400_000]
        onset = int(near[0]) if len(near) else onset_of(tape)
        if onset is None or not (first := start_ms == onset // (1000 * seconds) * (1000 * seconds)).any():
            continue
        finite = np.nan_to_num(chunks.X[full], posinf=1e6, neginf=-1e6)
        parts.append((finite, first.astype(np.float64), np.full(len(start_ms), i)))
    return Chunks(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def classification_task(chunks: Chunks, groups: np.ndarray, *, seed: int, draws: int, workers: int) -> dict[str, Any]:
    """Return AP and F1 (at one half) of the published forest and of our trees, and our gain with paired intervals."""
    tapes = np.unique(chunks.tape)
    fold_of = np.full(int(tapes.max()) + 1, -1)
    fold_of[tapes] = grouped_folds(groups[tapes], N_FOLDS, seed)
    fold, y = fold_of[chunks.tape], chunks.y
    no_clock = chunks.published[:, :N_NO_CLOCK]
    methods = {
        FOREST: _forest(chunks.published, y, seed),
        LOGLOSS: _trees(no_clock, y, 0.0, CLASSIFIER, seed),
        FOCAL: _trees(no_clock, y, GAMMA, CLASSIFIER, seed),
    }
    usable = np.ones(len(y), bool)
    scores = {name: out_of_fold(fit_score, fold, usable, workers) for name, fit_score in methods.items()}
    _, cluster = np.unique(chunks.tape, return_inverse=True)
    bootstrap = ClusterBootstrap.of(cluster, draws, seed)
    ap = {name: bootstrap.draws("ap", y, score) for name, score in scores.items()}
    table: dict[str, Any] = {}
    for name, score in scores.items():
        point = average_precision(y, score, np.ones(len(y)))
        table[name] = {"ap": interval(point, ap[name])._asdict(), "f1": f1_at_half(y, score)}
        gain = point - table[FOREST]["ap"]["value"]
        table[name]["ap_over_forest"] = interval(gain, ap[name] - ap[FOREST])._asdict()
    return {"events": len(tapes), "rows": len(y), "folds": N_FOLDS, "methods": table}


def f1_at_half(y: np.ndarray, p: np.ndarray) -> float:
    called = p >= 0.5
    return float(2.0 * y[called].sum() / (called.sum() + y.sum()))


def pump_tasks(
    tapes: Sequence[PumpTape],
    rows: PumpRows,
    published_ms: dict[int, dict[str, np.ndarray]],
    config: TrainingConfig,
    on_progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """Answer all questions; `published_ms`: chunk length in seconds -> coin -> published first chunks."""
    how: dict[str, Any] = {"seed": config.seed, "draws": config.bootstrap_draws, "workers": config.workers}
    found = {"E_onset": detection_task(tapes, rows, **how, step=lambda step: on_progress(0.0, step))}
    groups = groups_of(tapes)
    for seconds, known in published_ms.items():
        on_progress(0.6, f"classifying chunks of {seconds} s")
        chunks = labelled_chunks(tapes, seconds, known)
        found[f"A_chunks_{seconds}s"] = classification_task(chunks, groups, **how)
    return found
