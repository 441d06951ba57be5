"""The dataset named `simulated`: history of the simulated exchange, played through the live code into labelled rows."""

from collections.abc import Callable, Iterator

from marketdata.events import NS_PER_S, Market
from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.replay import FeatureReplay
from marketdata.frames import blocks_of
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from modeling.dataset import Dataset, DatasetBuilder
from modeling.training_config import TrainingConfig


def simulated_dataset(config: TrainingConfig, market: Market, on_share: Callable[[float], None]) -> Dataset:
    """Play the history of `config.history` and return its dataset; `on_share` hears how much is done (0..1)."""
    history = config.history
    exchange = SimulatedMarket(history.seed, market, history.symbols, history.start_ns)

    def blocks() -> Iterator[bytes]:
        for block in blocks_of(capture_lines(exchange, history.seconds, seed=history.seed)):
            on_share((exchange.now_ns - history.start_ns) / (history.seconds * NS_PER_S))
            yield block

    return dataset_of_blocks(blocks(), config, market)


def dataset_of_blocks(blocks: Iterator[bytes], config: TrainingConfig, market: Market) -> Dataset:
    """Replay blocks of capture lines of one recording into a dataset."""
    replay = FeatureReplay(market)
    builder = DatasetBuilder(FEATURE_NAMES, config.barriers, config.row_step_ns)
    for block in blocks:
        builder.add(replay.feed(block))
    builder.add(replay.finish())
    return builder.finish(replay.symbols)
