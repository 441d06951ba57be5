"""Compile all numba kernels once, by sending a short simulated market through the rooms that hold them."""

import numpy as np

from marketdata.costs import CostModel, fee_schedule
from marketdata.events import NS_PER_S, Market
from marketdata.frames import blocks_of
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from modeling.simulated import dataset_of_blocks
from modeling.training_config import TrainingConfig
from signals.decision import Barriers
from signals.pipeline import SignalPipeline
from signals.presets import PRESETS

SECONDS, SYMBOLS, SEED = 240.0, 2, 1
START_NS = 1_700_000_000 * NS_PER_S


def kernels_compile() -> int:
    """Run every compiled step once; the results are thrown away. Returns the number of capture lines played."""
    played = 0
    for market in Market:
        lines = list(capture_lines(SimulatedMarket(SEED, market, SYMBOLS, START_NS), SECONDS, seed=SEED))
        costs = CostModel.taker(fee_schedule(market))
        pipeline = SignalPipeline(market, half_and_half, PRESETS, Barriers(60.0, 40.0, 60.0, 0.0), costs)
        for block in blocks_of(iter(lines)):
            pipeline.feed(block)
        pipeline.finish()
        dataset_of_blocks(blocks_of(iter(lines)), TrainingConfig(), market)
        played += len(lines)
    return played


def half_and_half(rows: np.ndarray) -> np.ndarray:
    return np.full((len(rows), 2), 0.5)
