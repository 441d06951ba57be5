"""Random draws of the simulated exchange: one small generator per symbol, the same numbers everywhere.

SplitMix64 (Steele, Lea & Flood 2014): its whole state is one 64-bit word, so it lies in the symbol's own state row and
a symbol's future depends on nothing but that row.
"""

import math

import numpy as np
from numba import njit

from marketdata.simulator.state import State

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0  # 2**-53


@njit(cache=True)
def uniform(state: State) -> float:
    """Return a number in [0, 1) and move `state.rng` on."""
    word = state.rng + _GOLDEN
    state.rng = word
    word = (word ^ (word >> _S30)) * _MIX_1
    word = (word ^ (word >> _S27)) * _MIX_2
    word = word ^ (word >> _S31)
    return float(word >> _S11) * _UNIT


@njit(cache=True)
def exponential(state: State) -> float:
    return -math.log(1.0 - uniform(state))


@njit(cache=True)
def normal(state: State) -> float:
    """Sum of twelve uniforms: close to a normal, cut at 6 sigma, and free of platform-dependent functions."""
    total = -6.0
    for _ in range(12):
        total += uniform(state)
    return total


@njit(cache=True)
def lognormal(state: State, sigma: float) -> float:
    """Median 1."""
    return math.exp(sigma * normal(state))
