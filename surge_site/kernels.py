"""Compile all numba kernels once: a short rehearsal of live and training on a simulated market, results thrown away."""

import json
import multiprocessing
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from marketdata.costs import CostModel, fee_schedule
from marketdata.events import NS_PER_S, Market
from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.frames import blocks_of, capture_line
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from modeling.dataset import Dataset
from modeling.export import export_onnx
from modeling.simulated import dataset_of_blocks
from modeling.train import train
from modeling.training_config import Boosting, TrainingConfig
from signals.decision import Barriers
from signals.pipeline import SignalPipeline
from signals.presets import PRESETS

SECONDS, SYMBOLS, SEED = 120.0, 2, 1
START_NS = 1_700_000_000 * NS_PER_S
SHORT = replace(
    TrainingConfig(), n_folds=2, bootstrap_draws=5, workers=1, min_events=1, boosting=Boosting(max_rounds=3)
)


def kernels_compile() -> None:
    """The simulator's kernels and the pipeline's do not know each other, so two cores compile them side by side."""
    simulator = multiprocessing.get_context("spawn").Process(target=history, args=[Market.SPOT])
    simulator.start()
    rehearse_live(Market.SPOT, few_lines())
    simulator.join()
    lines = history(Market.SPOT)
    rehearse_live(Market.SPOT, lines)
    rehearse_live(Market.USDM, history(Market.USDM))
    rehearse_labels(Market.SPOT, lines)
    rehearse_training(coin_tosses())


def history(market: Market) -> list[bytes]:
    return list(capture_lines(SimulatedMarket(SEED, market, SYMBOLS, START_NS), SECONDS, seed=SEED))


def few_lines() -> list[bytes]:
    """A book, a change of it, a quote and a trade: enough for the compiler to see every type."""
    levels = {"bids": [["99.9", "1"]], "asks": [["100.1", "1"]]}
    frames: list[dict[str, Any]] = [
        {"stream": "btcusdt@depthSnapshot", "generated": True, "data": {"lastUpdateId": 1, **levels}},
        {
            "stream": "btcusdt@depth@100ms",
            "data": {"e": "depthUpdate", "E": START_NS // 1_000_000, "s": "BTCUSDT", "U": 2, "u": 2},
        },
        {
            "stream": "btcusdt@bookTicker",
            "data": {"u": 2, "s": "BTCUSDT", "b": "99.9", "B": "1", "a": "100.1", "A": "1"},
        },
        {"stream": "!tick", "generated": True, "data": {}},
    ]
    frames[1]["data"].update(b=levels["bids"], a=levels["asks"])
    return [capture_line(START_NS + i * NS_PER_S, json.dumps(frame).encode()) for i, frame in enumerate(frames)]


def rehearse_live(market: Market, lines: Iterable[bytes]) -> None:
    costs = CostModel.taker(fee_schedule(market))
    pipeline = SignalPipeline(market, half_and_half, PRESETS, Barriers(60.0, 40.0, 60.0, 0.0), costs)
    for block in blocks_of(iter(lines)):
        pipeline.feed(block)
    pipeline.finish()


def rehearse_labels(market: Market, lines: Iterable[bytes]) -> None:
    dataset_of_blocks(blocks_of(iter(lines)), SHORT, market)


def rehearse_training(data: Dataset) -> None:
    result = train(data, SHORT)
    export_onnx(result.model, data.X, {}, SHORT.seed)


def coin_tosses(rows: int = 1200) -> Dataset:
    """Rows without any truth in them: a model of them is worthless, and it is trained all the same."""
    dice = np.random.default_rng(SEED)
    t0_ns = START_NS + np.arange(rows) * 10 * NS_PER_S
    return Dataset(
        X=dice.normal(size=(rows, len(FEATURE_NAMES))),
        outcome=dice.integers(1, 4, rows),
        t0_ns=t0_ns,
        t1_ns=t0_ns + NS_PER_S,
        weight=np.ones(rows),
        symbol=np.zeros(rows, np.int64),
        ret_bps=dice.normal(size=rows),
        feature_names=FEATURE_NAMES,
        symbols=("COINUSDT",),
    )


def half_and_half(rows: np.ndarray) -> np.ndarray:
    return np.full((len(rows), 2), 0.5)
