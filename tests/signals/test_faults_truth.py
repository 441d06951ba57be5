"""The judge of the fault scenarios: a right book passes, a wrong or an old one is found."""

import json

import pytest

from marketdata.events import Market
from marketdata.features.replay import FeatureReplay
from marketdata.frames import capture_line
from marketdata.simulator.market import Message, SimulatedMarket
from signals.management.fault_scenarios.truth import Truth

START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SYMBOL = "BTCUSDT"
STREAM = "btcusdt@depth@100ms"


class Scene:
    """A market, its judge with a clock of its own, and a client that hears what it is given."""

    def __init__(self, market: Market) -> None:
        self.now_s = 0.0
        self.market = SimulatedMarket(4, market, 1, START_NS)
        self.truth = Truth(self.market.oracle_book, lambda: self.now_s)
        self.replay = FeatureReplay(market)
        self.live(1.0)
        self.hear(f"{SYMBOL.lower()}@depthSnapshot", self.market.snapshot(SYMBOL), generated=True)
        self.hear_all(self.live(1.0))
        assert self.replay.is_synced(SYMBOL)

    def live(self, seconds: float) -> list[Message]:
        """Let the market live, step by step, so that each diff has a time; the judge sees it all."""
        told = []
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            for message in self.market.advance(self.market.now_ns + SECOND // 10):
                self.truth.watch(*message)
                told.append(message)
        return told

    def hear(self, stream: str, data: bytes, *, generated: bool = False) -> None:
        mark = b',"generated":true' if generated else b""
        frame = b'{"stream":"%b"%b,"data":%b}' % (stream.encode(), mark, data)
        self.replay.feed(capture_line(self.market.now_ns, frame))

    def hear_all(self, messages: list[Message]) -> None:
        for _, stream, data in messages:
            self.hear(stream, data)

    def claim(self) -> Truth:
        self.truth.claim(SYMBOL, self.replay)
        return self.truth


@pytest.fixture(params=list(Market))
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


def test_a_client_in_step_is_right_and_not_late(scene: Scene) -> None:
    for _ in range(5):
        scene.hear_all(scene.live(0.5))
        truth = scene.claim()
    assert (truth.wrong, truth.compared, truth.worst_lag_s) == ([], 5, {SYMBOL: 0.0})


def test_a_client_who_hears_nothing_more_is_late_by_the_time_since_the_first_diff_he_missed(scene: Scene) -> None:
    scene.live(3.0)
    truth = scene.claim()
    assert truth.wrong == []
    assert 2.7 <= truth.worst_lag_s[SYMBOL] <= 3.0


def test_a_book_with_another_touch_is_wrong(scene: Scene) -> None:
    messages = scene.live(1.0)
    last = max(n for n, (_, stream, _) in enumerate(messages) if stream == STREAM)
    ts_ns, stream, data = messages[last]
    changed = json.loads(data)
    changed["b"].append([scene.market.oracle_book(SYMBOL).bids[0][0], "777.00000"])
    messages[last] = (ts_ns, stream, json.dumps(changed, separators=(",", ":")).encode())
    scene.hear_all(messages)
    assert "777" in scene.claim().wrong[0]


def test_after_a_jump_of_the_ids_an_old_book_is_late_from_the_jump_on(scene: Scene) -> None:
    jumped = scene.live(0.3)[-1]
    _, _, data = next(m for m in [*scene.live(0.2), jumped] if m[1] == STREAM)
    message = json.loads(data)
    shift = -50_000_000
    ids = {name: message[name] + shift for name in ("U", "u", "pu") if name in message}
    scene.truth.watch(0, STREAM, json.dumps(message | ids).encode())
    scene.now_s += 2.0
    assert scene.claim().worst_lag_s[SYMBOL] >= 2.0
