"""One-minute bars of many pairs: triple-barrier labels on bars, and the labelled rows that can be learnt from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from marketdata.features.bars import BAR_FEATURES, BAR_MS, BASE_MIN, bar_features, market_features
from modeling.dataset import Dataset, DatasetError
from modeling.evaluation import gate
from modeling.labels import Barriers, Outcome
from modeling.metrics import ClusterBootstrap, interval
from modeling.sample_weights import average_uniqueness
from modeling.training_config import TrainingConfig

MS = 1_000_000
THIRDS = ("thin", "middle", "liquid")
MAX_HIT_GAP, LEAST_REALISED_SHARE = 0.03, 0.7


@dataclass(frozen=True)
class BarTape:
    """Bars of one pair in time order; start_ms is when each bar opened."""

    symbol: str
    start_ms: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


@njit(cache=True)
def bar_barrier(
    start_ms: np.ndarray,
    open_: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    bar_ms: int,
    take_profit_bps: float,
    stop_loss_bps: float,
    horizon_ms: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label the decision at the close of each bar: outcome, when it was known (ms), return (bps).

    The entry is the open of the next bar. A bar that touches both barriers counts as a stop; one that opens beyond a
    barrier is left at its open. A touch is known when its bar closes. Time-outs leave at the last close within the
    horizon; where the data end before, or the next bar comes late, the outcome is NONE.
    """
    n = len(close)
    outcome, known_ms, ret_bps = np.zeros(n, np.int8), np.full(n, -1, np.int64), np.full(n, np.nan)
    for i in range(n - 1):
        if start_ms[i + 1] != start_ms[i] + bar_ms:
            continue
        price, end_ms = open_[i + 1], start_ms[i + 1] + horizon_ms
        stop, goal = price * (1.0 - stop_loss_bps / 1e4), price * (1.0 + take_profit_bps / 1e4)
        k = i + 1
        while k < n and start_ms[k] + bar_ms <= end_ms:
            if low[k] <= stop:
                outcome[i], left = 2, min(open_[k], stop)
            elif high[k] >= goal:
                outcome[i], left = 1, max(open_[k], goal)
            if outcome[i] != 0:
                known_ms[i], ret_bps[i] = start_ms[k] + bar_ms, (left / price - 1.0) * 1e4
                break
            k += 1
        if outcome[i] == 0 and k < n:
            outcome[i], known_ms[i], ret_bps[i] = 3, end_ms, (close[k - 1] / price - 1.0) * 1e4
    return outcome, known_ms, ret_bps


@dataclass(frozen=True)
class BarRows:
    """The labelled rows, and what each coin turned over in the day before each: how liquid it was then."""

    data: Dataset
    turnover: np.ndarray


def bar_rows(tapes: Sequence[BarTape], barriers: Barriers, row_step_ns: int) -> BarRows:
    """Return one row per pair and `row_step_ns`, labelled; memory grows with the rows kept, not with the bars."""
    if not tapes:
        raise DatasetError("There are no bars to learn from.")
    grid = np.unique(np.concatenate([tape.start_ms for tape in tapes]))
    market = market_features(_closes(tapes, grid))
    parts = [_rows_of(i, tape, grid, market, barriers, row_step_ns // MS) for i, tape in enumerate(tapes)]
    x, outcome, t0_ns, t1_ns, symbol, ret_bps, turnover = (np.concatenate(c) for c in zip(*parts, strict=True))
    if not len(outcome):
        raise DatasetError("No bar has a day of bars before it and its outcome after it: use longer data.")
    order = np.lexsort((symbol, t0_ns))
    data = Dataset(
        X=x[order],
        outcome=outcome[order],
        t0_ns=t0_ns[order],
        t1_ns=t1_ns[order],
        weight=average_uniqueness(t0_ns[order], t1_ns[order], symbol[order], BAR_MS * MS),
        symbol=symbol[order],
        ret_bps=ret_bps[order],
        feature_names=BAR_FEATURES,
        symbols=tuple(tape.symbol for tape in tapes),
    )
    return BarRows(data, turnover[order])


def _closes(tapes: Sequence[BarTape], grid: np.ndarray) -> np.ndarray:
    closes = np.full((len(grid), len(tapes)), np.nan)
    for i, tape in enumerate(tapes):
        closes[np.searchsorted(grid, tape.start_ms), i] = tape.close
    return closes


def _rows_of(
    index: int, tape: BarTape, grid: np.ndarray, market: np.ndarray, barriers: Barriers, step_ms: int
) -> tuple[np.ndarray, ...]:
    columns = (tape.open, tape.high, tape.low, tape.close)
    outcome, known_ms, ret_bps = bar_barrier(
        tape.start_ms,
        *columns,
        BAR_MS,
        barriers.take_profit_bps,
        barriers.stop_loss_bps,
        barriers.horizon_ns // MS,
    )
    decided_ms = tape.start_ms + BAR_MS
    rows = np.flatnonzero((outcome != Outcome.NONE) & (decided_ms % step_ms == 0))
    rows = rows[rows >= BASE_MIN]
    own = bar_features(*columns, tape.volume)[rows]
    x = np.column_stack([own, market[np.searchsorted(grid, tape.start_ms[rows])]])
    summed = np.concatenate([[0.0], np.cumsum(tape.close * tape.volume)])
    turnover = summed[rows + 1] - summed[rows + 1 - BASE_MIN]
    t0_ns, t1_ns = decided_ms[rows] * MS, known_ms[rows] * MS
    return x, outcome[rows], t0_ns, t1_ns, np.full(len(rows), index), ret_bps[rows], turnover


# -- what the decision region earns, by how liquid coins were ----------------------------------------------------------


def liquidity_report(
    data: Dataset, turnover: np.ndarray, probabilities: np.ndarray, config: TrainingConfig, mean_timeout_bps: float
) -> list[dict[str, Any]]:
    """Promised against realised where the model would decide, for all coins and by thirds of turnover.

    It decides where p_tp reaches `decision_p` and the promise pays after costs; `mean_timeout_bps` must come from the
    past. Intervals resample whole days. Thirds are of the rows judged, by the turnover of the day before each row.
    """
    p_tp, p_sl = probabilities.T
    bet = config.barriers
    left = np.maximum(0.0, 1.0 - p_tp - p_sl) * mean_timeout_bps
    expected = p_tp * bet.take_profit_bps - p_sl * bet.stop_loss_bps + left - config.cost_bps
    third = np.searchsorted(np.quantile(turnover, [1 / 3, 2 / 3]), turnover, side="right")
    day = data.t0_ns // (86_400_000 * MS)
    bootstrap = ClusterBootstrap.of(day - day.min(), config.bootstrap_draws, config.seed)
    chosen = (p_tp >= config.decision_p) & (expected > 0.0)
    table = [("all", chosen), *((name, chosen & (third == i)) for i, name in enumerate(THIRDS))]
    return [
        {"third": name, "rows": int(rows.sum())} | _promise(data, rows, p_tp, expected, config.cost_bps, bootstrap)
        for name, rows in table
        if rows.any()
    ]


def _promise(
    data: Dataset,
    rows: np.ndarray,
    p_tp: np.ndarray,
    expected_bps: np.ndarray,
    cost_bps: float,
    bootstrap: ClusterBootstrap,
) -> dict[str, Any]:
    net = data.ret_bps - cost_bps
    size = bootstrap.counts.shape[1]
    total = bootstrap.counts @ np.bincount(bootstrap.cluster[rows], net[rows], size)
    count = bootstrap.counts @ np.bincount(bootstrap.cluster[rows], minlength=size)
    with np.errstate(invalid="ignore"):
        draws = total / count
    expected, realised = float(expected_bps[rows].mean()), float(net[rows].mean())
    return {
        "expected_hit": float(p_tp[rows].mean()),
        "realised_hit": float(data.hit(Outcome.TAKE_PROFIT)[rows].mean()),
        "expected_net_bps": expected,
        "realised_net_bps": interval(realised, draws)._asdict(),
        "realised_share": realised / expected,
    }


def liquidity_gates(table: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the gates of the decision region; they fail where the model never decides."""
    gap = max((abs(row["expected_hit"] - row["realised_hit"]) for row in table), default=float("nan"))
    share = min((row["realised_share"] for row in table), default=float("nan"))
    return {
        "region_hit_rate": gate(
            gap, MAX_HIT_GAP, gap <= MAX_HIT_GAP, "Promised and realised hit rate agree in every third of liquidity."
        ),
        "region_utility": gate(
            share,
            LEAST_REALISED_SHARE,
            share >= LEAST_REALISED_SHARE,
            "Realised over promised profit after costs, worst third of liquidity.",
        ),
    }
