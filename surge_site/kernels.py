"""Compile all numba kernels once: a short rehearsal of live and training on a simulated market, results thrown away."""

from dataclasses import replace

import numpy as np

from marketdata.costs import CostModel, fee_schedule
from marketdata.events import NS_PER_S, Market
from marketdata.frames import blocks_of
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
    rehearse_live(Market.USDM, history(Market.USDM))
    lines = history(Market.SPOT)
    rehearse_live(Market.SPOT, lines)
    rehearse_training(Market.SPOT, lines)


def history(market: Market) -> list[bytes]:
    return list(capture_lines(SimulatedMarket(SEED, market, SYMBOLS, START_NS), SECONDS, seed=SEED))


def rehearse_live(market: Market, lines: list[bytes]) -> None:
    costs = CostModel.taker(fee_schedule(market))
    pipeline = SignalPipeline(market, half_and_half, PRESETS, Barriers(60.0, 40.0, 60.0, 0.0), costs)
    for block in blocks_of(iter(lines)):
        pipeline.feed(block)
    pipeline.finish()


def rehearse_training(market: Market, lines: list[bytes]) -> None:
    data = dataset_of_blocks(blocks_of(iter(lines)), SHORT, market)
    result = train(data, SHORT)
    export_onnx(result.model, data.X, {}, SHORT.seed)


def half_and_half(rows: np.ndarray) -> np.ndarray:
    return np.full((len(rows), 2), 0.5)
