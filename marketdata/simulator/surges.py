"""Planted episodes: real surges, and decoys that look like one and are not. The simulated exchange's ground truth.

An episode has a first phase in which order flow builds up, a ramp that moves the price, and a fade. How loudly the
first phase speaks (`strength`) overlaps between surges and bursts, so that no model can tell them apart with certainty.
"""

from random import Random
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from marketdata.events import NS_PER_S

SURGE, BURST, SELLOFF, SPOOF = 0, 1, 2, 3
KINDS = ("surge", "burst", "selloff", "spoof")

Episode: TypeAlias = Any
"""One row of `episode_dtype`, its fields read as attributes by compiled code."""

Effect: TypeAlias = tuple[float, float, float, float, float]

episode_dtype = np.dtype(
    [
        ("kind", "i8"),
        ("start_ns", "i8"),
        ("ramp_ns", "i8"),
        ("peak_ns", "i8"),
        ("end_ns", "i8"),
        ("gain_bps", "f8"),
        ("kept", "f8"),  # share of the gain that remains after the fade
        ("strength", "f8"),
        ("drift_bps", "f8"),  # what the price gives away before the ramp
    ],
    align=True,
)


class PlantedSurge(NamedTuple):
    """One episode as ground truth: the flow builds up from `start_ns`, the price leaves at `ramp_ns`."""

    symbol: str
    start_ns: int
    peak_ns: int
    end_ns: int
    gain_bps: float
    kind: str
    ramp_ns: int


def planted_surge(symbol: str, episode: np.void) -> PlantedSurge:
    kind, start_ns, ramp_ns, peak_ns, end_ns, gain_bps = episode.tolist()[:6]
    return PlantedSurge(symbol, start_ns, peak_ns, end_ns, gain_bps, KINDS[kind], ramp_ns)


class SurgePlan(NamedTuple):
    """How often episodes come, per symbol, and how large they are."""

    surge_every_s: float = 480.0
    decoy_every_s: float = 420.0
    first_after_s: float = 20.0
    build_up_s: tuple[float, float] = (8.0, 20.0)
    ramp_s: tuple[float, float] = (20.0, 60.0)
    fade_s: tuple[float, float] = (25.0, 60.0)
    gain_bps: tuple[float, float] = (80.0, 400.0)


_TYPICAL_EPISODE_S = 75.0


class Schedule:
    """The endless list of one symbol's episodes, drawn in order, so asking early or late gives the same list."""

    def __init__(self, plan: SurgePlan, seed: str, start_ns: int) -> None:
        self._plan = plan
        self._random = Random(seed)
        self._free_ns = start_ns + int(plan.first_after_s * NS_PER_S)

    def next(self) -> np.ndarray:
        """Return one row of `episode_dtype`; each starts after the last has ended."""
        plan, random = self._plan, self._random
        episodes_per_s = 1.0 / plan.surge_every_s + 1.0 / plan.decoy_every_s
        gap_s = random.expovariate(1.0) * max(5.0, 1.0 / episodes_per_s - _TYPICAL_EPISODE_S)
        start_ns = self._free_ns + int(gap_s * NS_PER_S)
        is_surge = random.random() * episodes_per_s < 1.0 / plan.surge_every_s
        row = _surge(plan, random, start_ns) if is_surge else _decoy(random, start_ns)
        self._free_ns = int(row["end_ns"][0])
        return row


class _Shape(NamedTuple):
    """How a kind of episode is drawn; pairs are the ends of uniform ranges."""

    kind: int
    build_up_s: tuple[float, float]
    ramp_s: tuple[float, float]
    fade_s: tuple[float, float]
    kept: tuple[float, float]
    strength: tuple[float, float]
    drift_bps: tuple[float, float]


_BURST = _Shape(BURST, (6.0, 18.0), (5.0, 12.0), (10.0, 20.0), (0.0, 0.4), (0.25, 1.0), (0.0, 6.0))
_SELLOFF = _Shape(SELLOFF, (6.0, 18.0), (15.0, 50.0), (20.0, 45.0), (0.3, 0.8), (0.35, 1.4), (-8.0, 0.0))
_SPOOF = _Shape(SPOOF, (6.0, 18.0), (3.0, 8.0), (8.0, 15.0), (0.3, 0.3), (0.6, 1.5), (0.0, 0.0))


def _episode(random: Random, shape: _Shape, start_ns: int, gain_bps: float) -> np.ndarray:
    row = np.zeros(1, episode_dtype)
    ramp_ns = start_ns + int(random.uniform(*shape.build_up_s) * NS_PER_S)
    peak_ns = ramp_ns + int(random.uniform(*shape.ramp_s) * NS_PER_S)
    end_ns = peak_ns + int(random.uniform(*shape.fade_s) * NS_PER_S)
    draws = (random.uniform(*shape.kept), random.uniform(*shape.strength), random.uniform(*shape.drift_bps))
    row[0] = (shape.kind, start_ns, ramp_ns, peak_ns, end_ns, gain_bps, *draws)
    return row


def _surge(plan: SurgePlan, random: Random, start_ns: int) -> np.ndarray:
    low, high = plan.gain_bps
    gain_bps = low * (high / low) ** random.random()
    shape = _Shape(SURGE, plan.build_up_s, plan.ramp_s, plan.fade_s, (0.15, 0.6), (0.35, 1.4), (0.0, 8.0))
    return _episode(random, shape, start_ns, gain_bps)


def _decoy(random: Random, start_ns: int) -> np.ndarray:
    share = random.random()
    if share < 0.45:
        return _episode(random, _BURST, start_ns, random.uniform(4.0, 28.0))
    if share < 0.8:
        return _episode(random, _SELLOFF, start_ns, -random.uniform(60.0, 250.0))
    return _episode(random, _SPOOF, start_ns, -random.uniform(5.0, 25.0))


@njit(cache=True)
def price_effect_bps(episode: Episode, now_ns: int) -> float:
    """How far the episode has moved the fair value at `now_ns`."""
    if now_ns <= episode.start_ns:
        return 0.0
    if now_ns < episode.ramp_ns:
        share = _share(now_ns, episode.start_ns, episode.ramp_ns)
        return float(episode.drift_bps * share * share)
    if now_ns < episode.peak_ns:
        share = _share(now_ns, episode.ramp_ns, episode.peak_ns)
        # slow start, then nearly straight: the first seconds of the ramp can still be bought
        shape = share * share * (3.0 - 2.0 * share) * 0.6 + share * 0.4
        return float(episode.drift_bps + (episode.gain_bps - episode.drift_bps) * shape)
    share = min(1.0, _share(now_ns, episode.peak_ns, episode.end_ns))
    return float(episode.gain_bps * (1.0 - (1.0 - episode.kept) * share * (2.0 - share)))


@njit(cache=True)
def _share(now_ns: int, begin_ns: int, end_ns: int) -> float:
    return (now_ns - begin_ns) / (end_ns - begin_ns)


@njit(cache=True)
def flow_effect(episode: Episode, now_ns: int) -> Effect:
    """How many times the usual at `now_ns`: takers along the move, takers against it, depth behind it, depth in its
    way, and quoting.
    """
    if now_ns <= episode.start_ns or now_ns >= episode.end_ns:
        return 1.0, 1.0, 1.0, 1.0, 1.0
    if now_ns < episode.ramp_ns:
        return _build_up(episode, _share(now_ns, episode.start_ns, episode.ramp_ns))
    if now_ns < episode.peak_ns:
        return _ramp(episode)
    left = 1.0 - _share(now_ns, episode.peak_ns, episode.end_ns)
    return 1.0 + left, 1.0 + 2.0 * left, 1.0, 1.0, 1.0 + left


@njit(cache=True)
def _build_up(episode: Episode, rise: float) -> Effect:
    push = episode.strength * rise
    if episode.kind == SPOOF:
        return 1.0, 1.0, 1.0 + 2.0 * push, 1.0, 1.0 + 0.3 * rise
    return 1.0 + 3.5 * push, 1.0 + 0.3 * rise, 1.0 + 0.8 * push, 1.0 / (1.0 + 0.6 * push), 1.0 + 0.7 * rise


@njit(cache=True)
def _ramp(episode: Episode) -> Effect:
    if episode.kind == SPOOF:
        return 0.8, 1.8, 0.6, 1.0, 1.5
    if episode.kind == BURST:
        return 1.0 + 2.5 * episode.strength, 2.2, 1.0, 1.0, 1.8
    return 3.0 + 5.0 * episode.strength, 1.5, 1.4, 0.7, 3.0
