import asyncio

import pytest

from signals.live import sinks, snapshots, supervise
from signals.live.inbox import Inbox, ReceiveClock
from signals.live.sinks import Sink
from signals.live.snapshots import SnapshotDesk


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(snapshots, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(snapshots, "LONGEST_WAIT_S", 0.002)
    monkeypatch.setattr(supervise, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(sinks, "LONGEST_WAIT_S", 0.002)
    monkeypatch.setattr(sinks, "close_old_connections", lambda: None)


async def settled(desk: SnapshotDesk) -> None:
    while desk.missing or desk._errands:
        await asyncio.sleep(0.001)


async def test_a_wanted_snapshot_becomes_a_line():
    inbox = Inbox(ReceiveClock())

    async def fetch(symbol: str) -> bytes:
        return b'{"lastUpdateId":1,\n"bids":[],"asks":[]}\n'

    desk = SnapshotDesk(fetch, inbox, lambda symbol: False)
    desk.want("币安人生USDT")
    desk.want("币安人生USDT")
    await settled(desk)
    (line,) = inbox.take(0).splitlines()
    assert '"币安人生usdt@depthSnapshot","generated":true,"data":{"lastUpdateId":1, "bids"'.encode() in line


async def test_a_failed_request_is_tried_until_it_answers():
    answers = iter([OSError("no network"), TimeoutError(), b"{}"])
    inbox = Inbox(ReceiveClock())

    async def fetch(symbol: str) -> bytes:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    desk = SnapshotDesk(fetch, inbox, lambda symbol: False)
    desk.want("BTCUSDT")
    await settled(desk)
    assert inbox.take(0).count(b"\n") == 1


async def test_no_snapshot_is_fetched_for_a_book_that_stands_again():
    async def fetch(symbol: str) -> bytes:
        raise AssertionError("nobody needs this snapshot")

    desk = SnapshotDesk(fetch, Inbox(ReceiveClock()), lambda symbol: True)
    desk.want("BTCUSDT")
    await settled(desk)


async def test_few_requests_run_at_once():
    running, most = 0, 0

    async def fetch(symbol: str) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return b"{}"

    desk = SnapshotDesk(fetch, Inbox(ReceiveClock()), lambda symbol: False)
    for k in range(20):
        desk.want(f"COIN{k}USDT")
    await settled(desk)
    assert most == snapshots.AT_ONCE


async def test_a_refusal_with_a_time_closes_the_desk_for_all():
    asked = []

    class Refused(Exception):
        retry_after_s = 0.15

    async def fetch(symbol: str) -> bytes:
        asked.append((asyncio.get_running_loop().time(), symbol))
        if len(asked) == 1:
            raise Refused
        return b"{}"

    desk = SnapshotDesk(fetch, Inbox(ReceiveClock()), lambda symbol: False)
    desk.want("BTCUSDT")
    while not asked:
        await asyncio.sleep(0.001)
    desk.want("ETHUSDT")
    await settled(desk)
    assert asked[1][0] - asked[0][0] >= 0.15
    assert sorted(symbol for _, symbol in asked) == ["BTCUSDT", "BTCUSDT", "ETHUSDT"]


async def test_liquid_symbols_are_fetched_first(monkeypatch):
    monkeypatch.setattr(snapshots, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(snapshots, "AT_ONCE", 1)
    rates = {"QUIETUSDT": 0.1, "BTCUSDT": 900.0, "ETHUSDT": 500.0}
    asked = []

    async def fetch(symbol: str) -> bytes:
        asked.append(symbol)
        await asyncio.sleep(0.1)
        return b"{}"

    desk = SnapshotDesk(fetch, Inbox(ReceiveClock()), lambda symbol: False, rank=rates.__getitem__)
    for symbol in rates:
        desk.want(symbol)
    await settled(desk)
    assert asked[1:] == sorted(asked[1:], key=lambda symbol: -rates[symbol])


async def test_five_failures_are_an_alarm_and_no_end(caplog):
    tries = []

    async def fetch(symbol: str) -> bytes:
        tries.append(symbol)
        if len(tries) < 8:
            raise OSError("no network")
        return b"{}"

    inbox = Inbox(ReceiveClock())
    desk = SnapshotDesk(fetch, inbox, lambda symbol: False)
    desk.want("BTCUSDT")
    await settled(desk)
    assert inbox.take(0).count(b"\n") == 1
    alarms = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(alarms) == 1 and "no book of BTCUSDT after 5 tries" in alarms[0].message


async def test_a_book_waits_for_its_stream():
    delivers = False

    async def fetch(symbol: str) -> bytes:
        assert delivers, "a snapshot without its stream is old at once"
        return b"{}"

    inbox = Inbox(ReceiveClock())
    desk = SnapshotDesk(fetch, inbox, lambda symbol: False, delivers=lambda symbol: delivers)
    desk.want("BTCUSDT")
    await asyncio.sleep(0.05)
    assert inbox.take(0) == b"" and desk.missing == 1
    delivers = True
    await settled(desk)
    assert inbox.take(0).count(b"\n") == 1


async def run_for_a_while(sink: Sink) -> None:
    task = asyncio.create_task(sink.run())
    assert await sink.drain(5.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    sink.close()


async def test_jobs_of_a_sink_keep_their_order_through_failures():
    done, failures = [], iter([True, True, False])

    def fragile() -> None:
        if next(failures):
            raise OSError("the store is away")
        done.append("first")

    sink = Sink("test")
    sink.put(fragile)
    sink.put(lambda: done.append("second"))
    await run_for_a_while(sink)
    assert done == ["first", "second"] and sink.dropped == 0


async def test_a_droppable_sink_drops_what_it_cannot_hold_and_counts_it():
    done = []
    sink = Sink("test", droppable=True, limit=2)
    for k in range(5):
        sink.put(lambda k=k: done.append(k))
    await run_for_a_while(sink)
    assert done == [0, 1] and sink.dropped == 3


async def test_a_supervised_task_starts_again_after_each_failure():
    runs = []

    async def fragile() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("feed died")

    await supervise.supervise("fragile", fragile)
    assert len(runs) == 3
