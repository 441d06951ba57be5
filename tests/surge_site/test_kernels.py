"""The rehearsal that fills the compiler's cache has to keep up with the rooms it rehearses."""

from marketdata.events import Market
from marketdata.features.replay import FeatureReplay
from surge_site import kernels


def test_the_few_lines_reach_a_synchronised_book() -> None:
    replay = FeatureReplay(Market.SPOT)
    replay.feed(b"".join(kernels.few_lines()))
    assert replay.is_synced("BTCUSDT")
    assert not replay.parser.counts.rejected


def test_training_can_be_rehearsed_on_coin_tosses() -> None:
    kernels.rehearse_training(kernels.coin_tosses())


def test_live_and_labels_can_be_rehearsed_on_a_short_history() -> None:
    lines = kernels.history(Market.SPOT)
    kernels.rehearse_live(Market.SPOT, lines)
    kernels.rehearse_labels(Market.SPOT, lines)
