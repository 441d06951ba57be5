import numpy as np
import pytest

from marketdata.capture import read_blocks
from marketdata.costs import CostModel, fee_schedule
from marketdata.events import Market
from modeling.rule import rule_score
from signals.decision import Barriers
from signals.pipeline import SignalPipeline
from signals.presets import PRESETS
from signals.session import Session, SessionError

BARRIERS = Barriers(60.0, 40.0, 60.0, 0.0)


def pipeline_of(market: Market, score=rule_score) -> SignalPipeline:
    return SignalPipeline(market, score, PRESETS, BARRIERS, CostModel.taker(fee_schedule(market)))


def run(path, block_bytes: int) -> SignalPipeline:
    pipeline = pipeline_of(Market(path.name.partition("_")[0]))
    for block in read_blocks(path, block_bytes=block_bytes):
        pipeline.feed(block)
    pipeline.finish()
    return pipeline


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["spot_3symbols_2021-04-04_91s", "usdm_5symbols_2021-04-05_119s"])
def test_decisions_do_not_depend_on_how_a_capture_is_cut(shared_data, name):
    path = shared_data / "captures" / f"{name}.txt.gz"
    one, two = run(path, 1 << 20), run(path, 3000)
    assert one.decisions > 1000 and one.decisions_sha256 == two.decisions_sha256


@pytest.mark.realdata
def test_one_changed_byte_changes_the_hash(shared_data):
    path = shared_data / "captures" / "spot_3symbols_2021-04-04_91s.txt.gz"
    block = b"".join(read_blocks(path))
    one, two = pipeline_of(Market.SPOT), pipeline_of(Market.SPOT)
    one.feed(block)
    at = block.rindex(b'"q":"') + 5
    two.feed(block[:at] + (b"9" if block[at : at + 1] != b"9" else b"8") + block[at + 1 :])
    assert one.decisions_sha256 != two.decisions_sha256


@pytest.mark.realdata
def test_only_rows_with_a_warm_book_are_scored(shared_data):
    seen = []

    def score(X: np.ndarray) -> np.ndarray:
        seen.append(len(X))
        return rule_score(X)

    pipeline = pipeline_of(Market.SPOT, score)
    output = pipeline.feed(b"".join(read_blocks(shared_data / "captures" / "spot_3symbols_2021-04-04_91s.txt.gz")))
    ready = (output.rows.context["warm"] == 1) & (output.rows.context["synced"] == 1)
    assert sum(seen) == ready.sum() > 0
    np.testing.assert_array_equal(np.isfinite(output.probabilities[:, 0]), ready)


def test_a_session_line_brings_back_the_strategies():
    session = Session("v1", PRESETS, "VIP0-BNB")
    assert Session.from_lines([b'5 {"stream":"!universe"}\n', session.line(5)]) == session


def test_a_recording_without_a_session_has_none():
    assert Session.from_lines([b'5 {"stream":"btcusdt@trade","data":{}}\n']) is None


def test_a_damaged_session_line_says_what_to_do():
    with pytest.raises(SessionError, match="--model-version"):
        Session.from_lines([b'5 {"stream":"!session","data":{}}\n'])
