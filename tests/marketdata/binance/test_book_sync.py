import numpy as np
import pytest

from marketdata.binance.book_sync import BookSync, BufferedDiff, Snapshot, Verdict, judge
from marketdata.events import Market

NONE = np.zeros(0, np.int64), np.zeros(0)


def spot_diff(first_id: int, last_id: int) -> BufferedDiff:
    return BufferedDiff(first_id, last_id, -1, 0, *NONE)


def usdm_diff(first_id: int, last_id: int, prev_id: int) -> BufferedDiff:
    return BufferedDiff(first_id, last_id, prev_id, 0, *NONE)


def snapshot(last_id: int) -> Snapshot:
    return Snapshot(last_id, 0, *NONE)


@pytest.mark.parametrize(
    ("first_id", "last_id", "verdict"),
    [
        (101, 105, Verdict.APPLY),
        (95, 105, Verdict.APPLY),  # straddles the snapshot
        (90, 100, Verdict.OLD),
        (90, 95, Verdict.OLD),
        (102, 105, Verdict.GAP),
    ],
)
def test_spot_diffs_are_judged_by_their_ids(first_id, last_id, verdict):
    assert judge(True, False, 100, first_id, last_id, -1) == verdict


@pytest.mark.parametrize(
    ("first_id", "last_id", "prev_id", "fresh", "verdict"),
    [
        (101, 105, 100, False, Verdict.APPLY),
        (95, 105, 99, False, Verdict.GAP),  # in mid-stream only pu counts
        (95, 105, 94, True, Verdict.APPLY),  # the first one may straddle the snapshot
        (95, 100, 94, True, Verdict.APPLY),  # u == lastUpdateId is not older
        (95, 99, 94, True, Verdict.OLD),
        (104, 105, 103, True, Verdict.GAP),
        (104, 105, 100, True, Verdict.APPLY),
        (95, 100, 94, False, Verdict.OLD),
    ],
)
def test_usdm_diffs_are_judged_by_pu(first_id, last_id, prev_id, fresh, verdict):
    assert judge(False, fresh, 100, first_id, last_id, prev_id) == verdict


def test_buffered_diffs_join_the_snapshot():
    sync = BookSync(Market.SPOT)
    for diff in (spot_diff(90, 95), spot_diff(96, 103), spot_diff(104, 108)):
        sync.hold(diff)
    assert [d.last_id for d in sync.join(snapshot(100))] == [103, 108]
    assert (sync.synced, sync.syncs, sync.resyncs, len(sync.buffer)) == (True, 1, 0, 0)


def test_a_snapshot_older_than_the_buffer_is_refused_and_the_buffer_kept():
    sync = BookSync(Market.SPOT)
    sync.hold(spot_diff(110, 115))
    assert sync.join(snapshot(100)) is None
    assert (sync.synced, sync.refused_snapshots, len(sync.buffer)) == (False, 1, 1)
    assert sync.join(snapshot(112)) is not None and sync.synced


def test_a_snapshot_newer_than_all_diffs_stands_alone():
    sync = BookSync(Market.SPOT)
    sync.hold(spot_diff(90, 95))
    assert sync.join(snapshot(200)) == []


def test_diffs_before_a_break_in_the_buffer_are_given_up():
    sync = BookSync(Market.SPOT)
    for diff in (spot_diff(96, 103), spot_diff(110, 115), spot_diff(116, 117)):
        sync.hold(diff)
    assert sync.join(snapshot(100)) is None
    assert [d.first_id for d in sync.buffer] == [110, 116]
    assert [d.first_id for d in sync.join(snapshot(112))] == [110, 116]


def test_usdm_buffers_chain_by_pu():
    sync = BookSync(Market.USDM)
    for diff in (usdm_diff(95, 103, 94), usdm_diff(110, 115, 103), usdm_diff(120, 121, 115)):
        sync.hold(diff)
    assert len(sync.join(snapshot(100))) == 3


def test_a_second_sync_counts_as_a_resync():
    sync = BookSync(Market.SPOT)
    sync.join(snapshot(1))
    sync.lose()
    sync.join(snapshot(2))
    assert sync.resyncs == 1
