"""How fast the feature kernels are: events per second per kind, and the time of one vector. Prints one JSON line.

python benchmarks/bench_features.py [--events 1000000] [--symbols 20]
"""

import argparse
import json
import time

import numpy as np
from numba import njit

from marketdata.features import feature_set as fs

MIX = {"mixed": (0.5, 0.2, 0.3), "quote": (1.0, 0.0, 0.0), "book": (0.0, 1.0, 0.0), "trade": (0.0, 0.0, 1.0)}
START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000
TICK_E8 = 1_000_000


@njit  # not cached: a cached driver would keep an older feature set inside it
def drive(state, kinds, draws, start_ns, bids, bid_qtys, asks, ask_qtys, out, n_vectors):  # type: ignore[no-untyped-def]
    """Play one drawn event after another over all symbols, then write vectors of symbol 0."""
    for k in range(kinds.shape[0]):
        i = k % state.clock.shape[0]
        ts_ns = start_ns + k * STEP_NS
        draw = draws[k]
        move = int(draw * 5) * TICK_E8
        if kinds[k] == 0:
            fs.on_quote(state, i, ts_ns, bids[0] + move, bid_qtys[0] + draw, asks[0] + move, ask_qtys[0] + 1.0 - draw)
        elif kinds[k] == 1:
            bid_qtys[3] = 1.0 + draw
            fs.on_book(state, i, ts_ns, bids, bid_qtys, asks, ask_qtys, bids.shape[0], asks.shape[0])
        else:
            fs.on_trade(state, i, ts_ns, asks[0] + move, draw + 0.001, 1 if draw > 0.4 else -1)
    end_ns = start_ns + kinds.shape[0] * STEP_NS
    for k in range(n_vectors):
        fs.write_vector(state, 0, end_ns + k, out)


def best_seconds(kinds: np.ndarray, symbols: int, n_vectors: int, runs: int = 5) -> float:
    rng = np.random.default_rng(7)
    levels = np.arange(fs.N_BOOK_LEVELS, dtype=np.int64) * TICK_E8
    bids, asks = 10_000_000_000 - levels, 10_001_000_000 + levels
    bid_qtys, ask_qtys = 1.0 + rng.random((2, fs.N_BOOK_LEVELS))
    draws = rng.random(len(kinds))
    state = fs.new_feature_state(symbols)
    out = np.empty(fs.N_FEATURES)
    took = []
    for run in range(runs):
        start_ns = START_NS + run * len(kinds) * STEP_NS
        begin = time.perf_counter()
        drive(state, kinds, draws, start_ns, bids, bid_qtys, asks, ask_qtys, out, n_vectors)
        took.append(time.perf_counter() - begin)
    return min(took)


def measure(events: int, symbols: int) -> dict[str, float]:
    rng = np.random.default_rng(8)
    begin = time.perf_counter()
    best_seconds(np.array([0, 1, 2]), symbols, 1, runs=1)
    figures: dict[str, float] = {"features": fs.N_FEATURES, "first_call_s": round(time.perf_counter() - begin, 2)}
    for name, odds in MIX.items():
        kinds = rng.choice(3, events, p=odds)
        figures[f"{name}_events_per_s"] = round(events / best_seconds(kinds, symbols, 0))
    few = rng.choice(3, 60_000, p=MIX["mixed"])
    n_vectors = 200_000
    vectors_s = best_seconds(few, 1, n_vectors) - best_seconds(few, 1, 0)
    figures["write_vector_ns"] = round(vectors_s / n_vectors * 1e9)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=20)
    options = parser.parse_args()
    print(json.dumps(measure(options.events, options.symbols)))
