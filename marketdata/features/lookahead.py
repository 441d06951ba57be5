"""Proof that no feature reads the future, and that a model's skill does not come from a leak.

Prefix invariance: everything known at time t must stay the same to the last bit when what comes after t is cut off or
replaced by garbage. It sees any leak, also one of a single tick, but only in what is recomputed from raw events; so a
training adds three tests of the finished data: with labels that mean nothing there must be no skill, and older
features must not be better ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np


class Rows(NamedTuple):
    """Feature rows: time_ns (n,) int64 when each may be used, symbol (n,) int, X (n, columns) float64."""

    time_ns: np.ndarray
    symbol: np.ndarray
    X: np.ndarray


class Tape(Protocol):
    """Raw input in time order that can be cut and spoiled at a moment."""

    @property
    def times_ns(self) -> np.ndarray: ...

    def until(self, t_ns: int) -> Self:
        """Return the tape as it was known at `t_ns` (included)."""
        ...

    def spoiled_after(self, t_ns: int, rng: np.random.Generator) -> Sequence[Self]:
        """Return tapes that are the same up to `t_ns` and garbage after it."""
        ...


AnyTape = TypeVar("AnyTape", bound=Tape)


@dataclass(frozen=True)
class PrefixReport:
    """What prefix invariance found.

    features: columns under test; prefixes: cut points, violated_prefixes: those with any change; violations: pairs of
    cut point and column that changed, plus cut points at which rows came or went; unseen: columns that never held a
    number, about which nothing is known.
    """

    features: int
    prefixes: int
    violated_prefixes: int
    violations: int
    by_column: dict[str, int]
    unseen: tuple[str, ...]
    rows_compared: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"unseen": list(self.unseen)}


ROWS_CHANGED = "(rows)"
"""The entry of `by_column` for cut points at which a row appeared or vanished."""


def random_cuts(tape: Tape, rows: Rows, n: int, rng: np.random.Generator, *, least_share: float = 0.0) -> list[int]:
    """Return cut points at which a leak of a single row shows: half at times of rows, half at times of events.

    An event time serves only if something more happens before the next row, else that row is known already. No cut
    lies before `least_share` of the rows or after the last row.
    """
    ticks, events = np.unique(rows.time_ns), np.unique(tape.times_ns)
    first, last = rows.time_ns[int(least_share * (len(rows.time_ns) - 1))], ticks[-1]
    ticks = ticks[(ticks >= first) & (ticks < last)]
    events = events[(events >= first) & (events < last)]
    following = np.append(events[1:], last)
    events = events[following < np.append(ticks, last)[np.searchsorted(ticks, events, side="right")]]
    halves = (
        rng.choice(moments, min(len(moments), share), replace=False)
        for moments, share in ((ticks, n - n // 2), (events, n // 2))
    )
    return sorted({int(t) for half in halves for t in half})


def prefix_invariance(
    rows_of: Callable[[AnyTape], Rows],
    tape: AnyTape,
    cuts_ns: Sequence[int],
    names: Sequence[str],
    rng: np.random.Generator,
) -> PrefixReport:
    """Compare, for every cut point, the rows up to it with those of the whole tape, bit by bit.

    Parameters
    ----------
    rows_of : callable
        The code under test: tape -> Rows, in any order of rows that does not depend on the future.
    tape : Tape
    cuts_ns : sequence of int
    names : sequence of str
        The columns of X.
    """
    whole = rows_of(tape)
    changed = np.zeros(len(names), np.int64)
    moved = compared = violated = 0
    for t_ns in cuts_ns:
        known = _known_at(whole, t_ns)
        compared += len(known.time_ns)
        now_changed, now_moved = np.zeros(len(names), bool), False
        for future in (tape.until(t_ns), *tape.spoiled_after(t_ns, rng)):
            got = _known_at(rows_of(future), t_ns)
            if _same(got.time_ns, known.time_ns) and _same(got.symbol, known.symbol):
                now_changed |= (_bits(got.X) != _bits(known.X)).any(axis=0)
            else:
                now_moved = True
        changed += now_changed
        moved += now_moved
        violated += bool(now_changed.any() or now_moved)
    by_column = {name: int(count) for name, count in zip(names, changed, strict=True) if count}
    if moved:
        by_column[ROWS_CHANGED] = moved
    unseen = tuple(np.asarray(names)[~np.isfinite(whole.X).any(axis=0)].tolist())
    return PrefixReport(len(names), len(cuts_ns), violated, sum(by_column.values()), by_column, unseen, compared)


def joined_reports(reports: Sequence[PrefixReport]) -> PrefixReport:
    """Return one report over several tapes; a column is unseen only if no tape showed it."""
    by_column: dict[str, int] = {}
    for report in reports:
        for name, count in report.by_column.items():
            by_column[name] = by_column.get(name, 0) + count
    return PrefixReport(
        reports[0].features,
        sum(report.prefixes for report in reports),
        sum(report.violated_prefixes for report in reports),
        sum(by_column.values()),
        by_column,
        tuple(name for name in reports[0].unseen if all(name in report.unseen for report in reports)),
        sum(report.rows_compared for report in reports),
    )


def _known_at(rows: Rows, t_ns: int) -> Rows:
    known = rows.time_ns <= t_ns
    return Rows(*(column[known] for column in rows))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b))


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float64).view(np.int64)


# -- the tests of a training -------------------------------------------------------------------------------------------

FitAndScore = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(X, y, train rows, test rows) -> scores of the test rows: the whole pipeline, with everything that it fits."""
Skill = Callable[[np.ndarray, np.ndarray], float]
"""(y, scores) -> how good the scores are; average precision for rare events."""
Folds = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class NullSkill:
    """The skill of a pipeline on labels that mean nothing, beside what honest chance gives on the same rows."""

    skill: float
    chance: float
    chance_high: float
    passed: bool


@dataclass(frozen=True)
class DelayedSkill:
    """The skill with features one row older; `change_low`: the low end of its change over resampled time blocks."""

    skill: float
    delayed: float
    change: float
    change_low: float
    passed: bool


@dataclass(frozen=True)
class LookaheadCertificate:
    """What was tested before a model was believed; stored with the model."""

    prefix: PrefixReport
    base_rate: float
    shuffled: NullSkill
    rotated: NullSkill
    delayed: DelayedSkill

    @property
    def problems(self) -> tuple[str, ...]:
        found = []
        if self.prefix.violations:
            found.append(f"features that read the future: {', '.join(self.prefix.by_column)}")
        if not self.shuffled.passed:
            found.append("skill on shuffled labels: something that is fitted sees the labels of test rows")
        if not self.rotated.passed:
            found.append("skill on rotated labels: train and test rows of one episode are not kept apart")
        if not self.delayed.passed:
            found.append("older features predict better: labels and features are not aligned in time")
        return tuple(found)

    @property
    def passed(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "prefix": self.prefix.as_dict(),
            "problems": list(self.problems),
            "passed": self.passed,
        }


def lookahead_certificate(
    prefix: PrefixReport,
    fit_and_score: FitAndScore,
    X: np.ndarray,
    y: np.ndarray,
    symbol: np.ndarray,
    folds: Folds,
    skill: Skill,
    rng: np.random.Generator,
    *,
    repeats: int = 3,
    draws: int = 199,
) -> LookaheadCertificate:
    """Run all tests of a training and return what they found.

    It fits 2 + 2 * repeats times per fold, so pass a thinned dataset or a small model where that matters.

    Parameters
    ----------
    prefix : PrefixReport
        Of the features that made X.
    fit_and_score : callable
        The pipeline under test.
    X, y, symbol : ndarray, shapes (n, columns), (n,), (n,)
        The dataset, rows in time order.
    folds : sequence of (train rows, test rows)
    skill : callable
    repeats : int
        Refits per kind of meaningless label.
    draws : int
        Chance draws that a leak has to beat, every one of them.
    """
    parts = (fit_and_score, X, y, symbol, folds, skill, rng)
    return LookaheadCertificate(
        prefix,
        float(y.mean()),
        null_skill(*parts, rotate=False, repeats=repeats, draws=draws),
        null_skill(*parts, rotate=True, repeats=repeats, draws=draws),
        delayed_skill(*parts, draws=draws),
    )


def null_skill(
    fit_and_score: FitAndScore,
    X: np.ndarray,
    y: np.ndarray,
    symbol: np.ndarray,
    folds: Folds,
    skill: Skill,
    rng: np.random.Generator,
    *,
    rotate: bool,
    repeats: int = 3,
    draws: int = 199,
) -> NullSkill:
    """Fit on labels that mean nothing; what skill is left is a leak.

    Shuffled labels show a pipeline that fits something on test rows. Rotated ones (moved in time within a symbol, so
    that episodes stay whole) show folds that part an episode: its train rows then give away its test rows.
    Chance is the skill of the same scores against the same labels moved once more; a leak beats every draw of it.
    """
    move = rotated_labels if rotate else shuffled_labels
    seen, chance = [], np.zeros((repeats, draws))
    for repeat in range(repeats):
        nonsense = move(y, symbol, rng)
        rows, scores = _out_of_fold(fit_and_score, X, nonsense, folds)
        order = np.argsort(rows, kind="stable")
        rows, scores = rows[order], scores[order]
        seen.append(skill(nonsense[rows], scores))
        chance[repeat] = [skill(move(nonsense[rows], symbol[rows], rng), scores) for _ in range(draws)]
    by_chance = chance.mean(axis=0)
    value, high = float(np.mean(seen)), float(by_chance.max())
    return NullSkill(value, float(by_chance.mean()), high, value <= high)


def delayed_skill(
    fit_and_score: FitAndScore,
    X: np.ndarray,
    y: np.ndarray,
    symbol: np.ndarray,
    folds: Folds,
    skill: Skill,
    rng: np.random.Generator,
    *,
    delay_rows: int = 1,
    blocks: int = 20,
    draws: int = 199,
) -> DelayedSkill:
    """Fit once with every row's features and once with those of the row before it; older ones must not be better.

    The change counts as a rise when it is one in 97.5 % of resamplings of `blocks` stretches of time.
    """
    source = rows_before(symbol, delay_rows)
    usable = source >= 0
    older = X[np.maximum(source, 0)]
    kept = [(train[usable[train]], test[usable[test]]) for train, test in folds]
    rows, scores = _out_of_fold(fit_and_score, X, y, kept)
    _, old_scores = _out_of_fold(fit_and_score, older, y, kept)
    order = np.argsort(rows, kind="stable")
    rows, scores, old_scores = rows[order], scores[order], old_scores[order]
    parts = np.array_split(np.arange(len(rows)), blocks)
    changes = []
    for _ in range(draws):
        drawn = np.concatenate([parts[k] for k in rng.integers(0, blocks, blocks)])
        if 0.0 < y[rows[drawn]].mean() < 1.0:
            changes.append(skill(y[rows[drawn]], old_scores[drawn]) - skill(y[rows[drawn]], scores[drawn]))
    now, delayed = skill(y[rows], scores), skill(y[rows], old_scores)
    low = float(np.quantile(changes, 0.025)) if changes else 0.0
    return DelayedSkill(now, delayed, delayed - now, low, low <= 0.0)


def shuffled_labels(y: np.ndarray, symbol: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the labels of each symbol in random order."""
    moved = y.copy()
    for each in np.unique(symbol):
        rows = np.flatnonzero(symbol == each)
        moved[rows] = y[rng.permutation(rows)]
    return moved


def rotated_labels(y: np.ndarray, symbol: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the labels of each symbol moved by a quarter to three quarters of its rows, in a circle."""
    moved = y.copy()
    for each in np.unique(symbol):
        rows = np.flatnonzero(symbol == each)
        step = int(rng.integers(len(rows) // 4, 3 * len(rows) // 4 + 1))
        moved[rows] = np.roll(y[rows], step)
    return moved


def rows_before(symbol: np.ndarray, steps: int) -> np.ndarray:
    """Return, per row, the row of the same symbol `steps` earlier; -1 where there is none."""
    source = np.full(len(symbol), -1, np.int64)
    for each in np.unique(symbol):
        rows = np.flatnonzero(symbol == each)
        source[rows[steps:]] = rows[: len(rows) - steps]
    return source


def _out_of_fold(
    fit_and_score: FitAndScore, X: np.ndarray, y: np.ndarray, folds: Folds
) -> tuple[np.ndarray, np.ndarray]:
    scores = [fit_and_score(X, y, train, test) for train, test in folds]
    return np.concatenate([test for _, test in folds]), np.concatenate(scores)
