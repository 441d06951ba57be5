"""Whether a scored row becomes a signal: every gate, its threshold and its margin.

A signal fires only when probability AND utility pass, every input is fresh and warm, the book can carry the position,
and the coin is neither cooling down nor still above its release level. NaN passes no gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from marketdata.costs import CostModel, CostParts
from marketdata.events import NS_PER_S
from marketdata.features.replay import FeatureRows


class Gate(IntEnum):
    """Gates in the order they are shown; the value is the bit in `failed`."""

    PROBABILITY = 0
    UTILITY = 1
    SYNCED = 2
    WARM = 3
    FRESH = 4
    SPREAD = 5
    DEPTH = 6
    COST_KNOWN = 7
    RELEASED = 8
    COOLDOWN = 9


ROW_GATES = tuple(gate for gate in Gate if gate < Gate.RELEASED)
_RELEASED_BIT, _COOLDOWN_BIT = 1 << Gate.RELEASED, 1 << Gate.COOLDOWN

decision_dtype = np.dtype(
    [
        ("tick_ns", "i8"),
        ("symbol", "i4"),
        ("strategy", "i4"),
        ("p_tp", "f8"),
        ("p_sl", "f8"),
        ("utility_bps", "f8"),
        ("cost_bps", "f8"),
        ("failed", "u4"),  # one bit per failed gate; 0: the signal fires
    ]
)


@dataclass(frozen=True)
class Barriers:
    """What a signal promises: the barriers its model was trained on."""

    take_profit_bps: float
    stop_loss_bps: float
    horizon_s: float
    mean_timeout_bps: float

    def utility_bps(self, p_tp: np.ndarray, p_sl: np.ndarray, cost_bps: np.ndarray) -> np.ndarray:
        """Return the expected gain after costs: p_tp G - p_sl L + p_to mu - cost, in bps of the position."""
        p_timeout = np.maximum(0.0, 1.0 - p_tp - p_sl)
        gain = p_tp * self.take_profit_bps - p_sl * self.stop_loss_bps + p_timeout * self.mean_timeout_bps
        utility: np.ndarray = gain - cost_bps
        return utility


@dataclass(frozen=True)
class StrategyParameters:
    """The thresholds of one strategy, frozen for a session; `Strategy` rows are turned into these."""

    name: str
    tier: str
    p_min: float
    utility_min_bps: float
    notional_quote: float
    max_spread_bps: float
    min_depth_ratio: float
    cooldown_s: float
    release_ratio: float = 0.7
    max_quote_age_ns: int = 3 * NS_PER_S
    max_book_age_ns: int = 3 * NS_PER_S


class Decisions(NamedTuple):
    """All decisions of some rows: rows of `decision_dtype` with their cost parts, and the feature row of each."""

    table: np.ndarray
    costs: CostParts
    row: np.ndarray

    def fired(self) -> np.ndarray:
        """Return the positions of the decisions that became signals."""
        return np.flatnonzero(self.table["failed"] == 0)


class PolicyState(NamedTuple):
    """What a policy remembers per symbol: last_fire_ns (n,) int64 (-1 never) and held (n,) u1 (above release level)."""

    last_fire_ns: np.ndarray
    held: np.ndarray


@njit(cache=True)
def _remember(
    tick_ns: np.ndarray,
    symbol: np.ndarray,
    p_tp: np.ndarray,
    failed: np.ndarray,
    state: PolicyState,
    cooldown_ns: int,
    release_p: float,
) -> None:
    """Apply the gates that depend on the past, in time order, and update what is remembered."""
    for n in range(tick_ns.shape[0]):
        i = symbol[n]
        if state.held[i] == 1 and p_tp[n] < release_p:
            state.held[i] = 0
        if state.held[i] == 1:
            failed[n] |= _RELEASED_BIT
        last = state.last_fire_ns[i]
        if last >= 0 and tick_ns[n] - last < cooldown_ns:
            failed[n] |= _COOLDOWN_BIT
        if failed[n] == 0:
            state.last_fire_ns[i] = tick_ns[n]
            state.held[i] = 1


class DecisionPolicy:
    """Decide rows for one strategy. Feed rows in time order; memory of earlier signals is kept inside."""

    def __init__(
        self, strategy: StrategyParameters, index: int, barriers: Barriers, costs: CostModel, capacity: int = 64
    ) -> None:
        self.strategy = strategy
        self.index = index
        self.barriers = barriers
        self.costs = costs
        self._state = PolicyState(np.full(capacity, -1, np.int64), np.zeros(capacity, np.uint8))

    def decide(self, rows: FeatureRows, probabilities: np.ndarray, size_column: int) -> Decisions:
        """Return one decision per row.

        Parameters
        ----------
        rows : FeatureRows
        probabilities : ndarray of float64, shape (n, 2)
            Calibrated p_tp and p_sl; NaN where the row was not scored.
        size_column : int
            The slippage column of this strategy's position size.
        """
        p_tp, p_sl = np.where((probabilities >= 0.0) & (probabilities <= 1.0), probabilities, np.nan).T
        parts = self.costs.parts(
            rows.context["spread_bps"], rows.buy_slippage_bps[:, size_column], rows.sell_slippage_bps[:, size_column]
        )
        cost = parts.total()
        table = np.zeros(len(rows), decision_dtype)
        table["tick_ns"], table["symbol"], table["strategy"] = rows.tick_ns, rows.symbol, self.index
        table["p_tp"], table["p_sl"], table["cost_bps"] = p_tp, p_sl, cost
        table["utility_bps"] = self.barriers.utility_bps(p_tp, p_sl, cost)
        failed = np.zeros(len(rows), np.uint32)
        values = self._gate_values(table, rows.context)
        for gate in ROW_GATES:
            value, threshold, at_least = values[gate]
            passed = value >= threshold if at_least else value <= threshold
            failed |= np.where(passed, 0, 1 << gate).astype(np.uint32)
        if len(rows):
            self._make_room(int(rows.symbol.max()) + 1)
            release_p = self.strategy.p_min * self.strategy.release_ratio
            cooldown_ns = round(self.strategy.cooldown_s * NS_PER_S)
            _remember(rows.tick_ns, rows.symbol, p_tp.copy(), failed, self._state, cooldown_ns, release_p)
        table["failed"] = failed
        return Decisions(table, parts, np.arange(len(rows)))

    def _gate_values(self, table: np.ndarray, context: np.ndarray) -> dict[Gate, tuple[np.ndarray, float, bool]]:
        """Return value, threshold and direction (True: at least) of each gate that reads the row alone."""
        strategy = self.strategy
        age = np.maximum(
            context["quote_age_ns"] / strategy.max_quote_age_ns, context["book_age_ns"] / strategy.max_book_age_ns
        )
        unseen = (context["quote_age_ns"] < 0) | (context["book_age_ns"] < 0)
        return {
            Gate.PROBABILITY: (table["p_tp"], strategy.p_min, True),
            Gate.UTILITY: (table["utility_bps"], strategy.utility_min_bps, True),
            Gate.SYNCED: (context["synced"].astype(np.float64), 1.0, True),
            Gate.WARM: (context["warm"].astype(np.float64), 1.0, True),
            Gate.FRESH: (np.where(unseen, np.nan, age), 1.0, False),
            Gate.SPREAD: (context["spread_bps"], strategy.max_spread_bps, False),
            Gate.DEPTH: (context["depth_ask_10bps"] / strategy.notional_quote, strategy.min_depth_ratio, True),
            Gate.COST_KNOWN: (np.isfinite(table["cost_bps"]).astype(np.float64), 1.0, True),
        }

    def explain(self, decision: np.void, context: np.void) -> list[dict[str, Any]]:
        """Return each gate of one decision with value, threshold, margin (>= 0 passes) and whether it passed."""
        values = self._gate_values(np.array([decision]), np.array([context]))
        gates = [
            _gate_row(gate, float(value[0]), threshold, at_least, int(decision["failed"]))
            for gate, (value, threshold, at_least) in values.items()
        ]
        for gate in (Gate.RELEASED, Gate.COOLDOWN):
            passed = not int(decision["failed"]) >> gate & 1
            gates.append(_gate_row(gate, float(passed), 1.0, True, int(decision["failed"])))
        return gates

    def _make_room(self, n_symbols: int) -> None:
        have = len(self._state.held)
        if n_symbols <= have:
            return
        grown = PolicyState(
            np.full(max(n_symbols, 2 * have), -1, np.int64), np.zeros(max(n_symbols, 2 * have), np.uint8)
        )
        grown.last_fire_ns[:have], grown.held[:have] = self._state
        self._state = grown


def _gate_row(gate: Gate, value: float, threshold: float, at_least: bool, failed: int) -> dict[str, Any]:
    margin = value - threshold if at_least else threshold - value
    return {
        "name": gate.name.lower(),
        "value": value if np.isfinite(value) else None,
        "threshold": threshold,
        "margin": margin if np.isfinite(margin) else None,
        "passed": not failed >> gate & 1,
    }


def reasons(failed: int) -> list[str]:
    """Return the names of the failed gates in a `failed` mask; empty for a signal."""
    return [gate.name.lower() for gate in Gate if failed >> gate & 1]


def size_columns(strategies: Sequence[StrategyParameters]) -> tuple[tuple[float, ...], list[int]]:
    """Return the distinct position sizes of some strategies, and the column of each strategy's size."""
    sizes = tuple(sorted({strategy.notional_quote for strategy in strategies}))
    return sizes, [sizes.index(strategy.notional_quote) for strategy in strategies]
