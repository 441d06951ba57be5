"""The client's state machines under a virtual clock and seeded faults: drops, cuts, stalls, shutdowns, bad REST."""

from collections.abc import Iterable
from itertools import islice

import pytest

from marketdata.binance.dedup import Handover
from marketdata.binance.messages import ParsedBlock
from marketdata.binance.snapshot_queue import SnapshotQueue
from marketdata.binance.watchdog import Rhythm
from marketdata.features.loop import Pause
from marketdata.features.replay import FeatureReplay
from tests.simulation.batch import run_all
from tests.simulation.scenario import Scenario, Violation


@pytest.mark.timeout(1800)
def test_no_seed_breaks_a_promise(seeds: range) -> None:
    failures = list(islice(run_all(seeds), 5))
    assert not failures, "\n".join(failures)


def test_a_seed_is_a_reproduction() -> None:
    runs = [Scenario(11), Scenario(11)]
    for run in runs:
        run.run()
    assert runs[0].statistics == runs[1].statistics
    assert runs[0].keeper.statistics == runs[1].keeper.statistics
    assert runs[0].heard == runs[1].heard


def broken_by(seeds: Iterable[int]) -> str:
    """The first violation in some seeds."""
    for seed in seeds:
        try:
            Scenario(seed).run()
        except Violation as violation:
            return str(violation)
    return "nothing"


def test_a_book_that_ignores_gaps_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    on_pause = FeatureReplay._on_pause

    def go_on(self: FeatureReplay, pause: Pause, parsed: ParsedBlock, at: int) -> None:
        if pause is Pause.GAP:
            self._sync.last_id[parsed.events[at]["symbol"]] = parsed.events[at]["last_id"]
        else:
            on_pause(self, pause, parsed, at)

    monkeypatch.setattr(FeatureReplay, "_on_pause", go_on)
    assert "differs from the true one" in broken_by(range(60))


def test_a_watchdog_that_sleeps_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rhythm, "is_silent", lambda self, now_s: False)
    stalls = [
        seed
        for seed in range(600)
        if any(f.kind == "sticky_stall" and "@depth" in f.stream for f in Scenario(seed).faults)
    ]
    assert "SYNCED" in broken_by(stalls)


def test_a_handover_that_repeats_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "_is_news", lambda self, frame: True)
    assert "came out twice" in broken_by(range(40))


def test_a_handover_that_does_not_wait_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "from_new", lambda self, frame: [])
    assert broken_by(range(40)) != "nothing"


def test_a_desk_that_ignores_a_refusal_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(self: SnapshotQueue, symbol: str, now_s: float, retry_after_s: float | None = None) -> float:
        self.drop(symbol)
        self.want(symbol, now_s)
        return 0.0

    monkeypatch.setattr(SnapshotQueue, "failed", failed)
    assert "before Retry-After" in broken_by(range(200))
