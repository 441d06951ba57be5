"""Compile all numba kernels once: a short rehearsal of live and training on a simulated market, results thrown away."""

import json
import multiprocessing
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from marketdata.costs import CostModel, fee_schedule
from marketdata.events import NS_PER_S, Market
from marketdata.frames import blocks_of, capture_line
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from modeling.export import export_onnx
from modeling.simulated import dataset_of_blocks
from modeling.train import train
from modeling.training_config import Boosting, TrainingConfig
from signals.decision import Barriers
from signals.pipeline import SignalPipeline
from signals.presets import PRESETS

SECONDS, SYMBOLS, SEED = 400.0, 4, 1  # the shortest history found with surges in every fold
START_NS = 1_700_000_000 * NS_PER_S
SHORT = replace(
    TrainingConfig(), n_folds=2, bootstrap_draws=5, workers=1, min_events=1,
    boosting=Boosting(max_rounds=3, min_data_in_leaf=5),
)  # fmt: skip


def kernels_compile() -> None:
    """The simulator's kernels and the pipeline's do not know each other, so two cores compile them side by side."""
    simulator = multiprocessing.get_context("spawn").Process(target=history, args=[Market.SPOT])
    simulator.start()
    rehearse_live(Market.SPOT, few_lines())
    simulator.join()
    lines = history(Market.SPOT)
    rehearse_live(Market.SPOT, lines)
    rehearse_live(Market.USDM, history(Market.USDM))
    rehearse_training(Market.SPOT, lines)


def history(market: Market) -> list[bytes]:
    return list(capture_lines(SimulatedMarket(SEED, market, SYMBOLS, START_NS), SECONDS, seed=SEED))


def few_lines() -> list[bytes]:
    """A book, a change of it, a quote and a trade: enough for the compiler to see every type."""
    levels = {"bids": [["99.9", "1"]], "asks": [["100.1", "1"]]}
    frames: list[dict[str, Any]] = [
        {"stream": "btcusdt@depthSnapshot", "generated": True, "data": {"lastUpdateId": 1, **levels}},
        {"stream": "btcusdt@depth@100ms", "data": {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 2, "u": 2}},
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


def rehearse_training(market: Market, lines: Iterable[bytes]) -> None:
    data = dataset_of_blocks(blocks_of(iter(lines)), SHORT, market)
    result = train(data, SHORT)
    export_onnx(result.model, data.X, {}, SHORT.seed)


def half_and_half(rows: np.ndarray) -> np.ndarray:
    return np.full((len(rows), 2), 0.5)
