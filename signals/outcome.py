"""What became of a signal: settled on the live ticks by the very barriers its model was trained on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from marketdata.events import NS_PER_S, PRICE_SCALE
from marketdata.features.replay import FeatureRows
from signals.decision import Barriers


@dataclass
class OpenSignal:
    """A signal whose outcome is still unknown. Prices are in 1e-8 quote units, 0 until the entry is filled."""

    key: int
    symbol: int
    decided_ns: int
    barriers: Barriers
    cost_bps: float
    entry_e8: int = 0
    entry_ns: int = 0
    last_bid_e8: int = 0
    mfe_bps: float = -math.inf
    mae_bps: float = math.inf


@dataclass(frozen=True)
class Outcome:
    """How a signal ended. Returns are in bps from the entry ask to the exit bid."""

    key: int
    result: str  # tp, sl or timeout
    entry_price: float
    settled_ns: int
    return_bps: float
    net_bps: float
    mfe_bps: float
    mae_bps: float


@dataclass
class OutcomeTracker:
    """Follow open signals tick by tick.

    The entry is the ask of the first tick at least `entry_latency_ns` after the decision; a barrier is touched when
    the bid's return reaches it (the stop first, should a tick touch both); after the horizon the last bid counts.
    """

    entry_latency_ns: int = 100_000_000
    _open: dict[int, list[OpenSignal]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(signals) for signals in self._open.values())

    def open(self, signal: OpenSignal) -> None:
        self._open.setdefault(signal.symbol, []).append(signal)

    def update(self, rows: FeatureRows) -> list[Outcome]:
        """Take the rows of completed ticks in time order; return the signals that they settle."""
        settled: list[Outcome] = []
        if not self._open or not len(rows):
            return settled
        followed = np.isin(rows.symbol, list(self._open)) & (rows.context["synced"] == 1)
        for n in np.flatnonzero(followed):
            symbol, tick_ns = int(rows.symbol[n]), int(rows.tick_ns[n])
            bid, ask = int(rows.context["bid_e8"][n]), int(rows.context["ask_e8"][n])
            settled += self._keep_open(
                symbol, [_step(s, tick_ns, bid, ask, self.entry_latency_ns) for s in self._open.get(symbol, [])]
            )
        settled += self._expire(int(rows.tick_ns[-1]))
        return settled

    def _keep_open(self, symbol: int, steps: list["OpenSignal | Outcome"]) -> Iterator[Outcome]:
        still = [step for step in steps if isinstance(step, OpenSignal)]
        if still:
            self._open[symbol] = still
        else:
            self._open.pop(symbol, None)
        return (step for step in steps if isinstance(step, Outcome))

    def _expire(self, now_ns: int) -> list[Outcome]:
        """Settle quiet coins whose horizon passed without another tick of their own."""
        settled: list[Outcome] = []
        for symbol in list(self._open):
            steps = [
                _timeout(s) if s.entry_ns and now_ns > s.entry_ns + _horizon_ns(s) else s for s in self._open[symbol]
            ]
            settled += self._keep_open(symbol, steps)
        return settled


def _horizon_ns(signal: OpenSignal) -> int:
    return round(signal.barriers.horizon_s * NS_PER_S)


def _step(signal: OpenSignal, tick_ns: int, bid_e8: int, ask_e8: int, latency_ns: int) -> OpenSignal | Outcome:
    if not signal.entry_ns:
        if tick_ns < signal.decided_ns + max(latency_ns, 1) or not 0 < bid_e8 <= ask_e8:
            return signal
        signal.entry_e8, signal.entry_ns = ask_e8, tick_ns
    elif tick_ns > signal.entry_ns + _horizon_ns(signal):
        return _timeout(signal)
    signal.last_bid_e8 = bid_e8
    gain = (bid_e8 - signal.entry_e8) * 10_000  # whole numbers: a touch on the dot counts, as in the labels
    moved = gain / signal.entry_e8
    signal.mfe_bps, signal.mae_bps = max(signal.mfe_bps, moved), min(signal.mae_bps, moved)
    if gain <= -signal.barriers.stop_loss_bps * signal.entry_e8:
        return _outcome(signal, "sl", tick_ns, moved)
    if gain >= signal.barriers.take_profit_bps * signal.entry_e8:
        return _outcome(signal, "tp", tick_ns, moved)
    return signal


def _timeout(signal: OpenSignal) -> Outcome:
    moved = (signal.last_bid_e8 - signal.entry_e8) * 10_000 / signal.entry_e8
    return _outcome(signal, "timeout", signal.entry_ns + _horizon_ns(signal), moved)


def _outcome(signal: OpenSignal, result: str, settled_ns: int, moved_bps: float) -> Outcome:
    return Outcome(
        signal.key,
        result,
        signal.entry_e8 / PRICE_SCALE,
        settled_ns,
        moved_bps,
        moved_bps - signal.cost_bps,
        signal.mfe_bps,
        signal.mae_bps,
    )
