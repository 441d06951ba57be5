"""Simulated history as capture lines, without sockets: what a recorder beside the exchange would have written."""

import heapq
import json
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from marketdata.events import NS_PER_S
from marketdata.simulator.market import SimulatedMarket

_CHUNK_NS = NS_PER_S // 10


class Latency(NamedTuple):
    """How long messages travel: at least `least_ns`, and a random rest of `mean_extra_ns` on average."""

    least_ns: int = 6_000_000
    mean_extra_ns: int = 3_000_000
    rest_ns: int = 120_000_000


def capture_lines(
    market: SimulatedMarket,
    seconds: float,
    *,
    latency: Latency | None = None,
    seed: int = 0,
    first_snapshot_s: float = 1.0,
    snapshot_gap_s: float = 0.1,
    snapshot_limit: int = 1000,
) -> Iterator[bytes]:
    """Yield capture lines in receive order: the universe, diffs, a snapshot of each symbol, and the rest.

    Snapshots are asked for one after the other from `first_snapshot_s` on: every symbol has diffs before its own.
    """
    latency = latency or Latency()
    random = Random(f"latency {seed}")
    recv_ns = market.now_ns
    end_ns = market.now_ns + int(seconds * NS_PER_S)
    due = _snapshot_times(market, first_snapshot_s, snapshot_gap_s)
    answers: list[tuple[int, bytes]] = []
    yield capture_line(recv_ns, _universe(market))
    while market.now_ns < end_ns:
        asked = due.pop() if due and due[-1][0] <= market.now_ns + _CHUNK_NS else None
        until_ns = asked[0] if asked else min(end_ns, market.now_ns + _CHUNK_NS)
        for sent_ns, stream, data in market.advance(until_ns):
            arrival_ns = sent_ns + _travel_ns(latency, random)
            while answers and answers[0][0] <= arrival_ns:
                answer_ns, frame = heapq.heappop(answers)
                recv_ns = max(recv_ns, answer_ns)
                yield capture_line(recv_ns, frame)
            recv_ns = max(recv_ns, arrival_ns)
            yield b'%d {"stream":"%b","data":%b}\n' % (recv_ns, stream.encode(), data)
        if asked:
            body = market.snapshot(asked[1], snapshot_limit)
            frame = b'{"stream":"%b@depthSnapshot","generated":true,"data":%b}' % (asked[1].lower().encode(), body)
            heapq.heappush(answers, (asked[0] + int(latency.rest_ns * (0.5 + random.random())), frame))
    for answer_ns, frame in sorted(answers):
        recv_ns = max(recv_ns, answer_ns)
        yield capture_line(recv_ns, frame)


def capture_line(recv_ns: int, frame: bytes) -> bytes:
    return b"%d %b\n" % (recv_ns, frame)


def _travel_ns(latency: Latency, random: Random) -> int:
    """Mostly short; now and then long, and then what follows arrives together with it."""
    draw = random.random()
    return latency.least_ns + int(latency.mean_extra_ns * min(30.0, draw / (1.0 - draw)))


def _snapshot_times(market: SimulatedMarket, first_s: float, gap_s: float) -> list[tuple[int, str]]:
    """Latest first."""
    times = [
        (market.now_ns + int((first_s + gap_s * row) * NS_PER_S), symbol) for row, symbol in enumerate(market.symbols)
    ]
    return times[::-1]


def _universe(market: SimulatedMarket) -> bytes:
    symbols = [
        {"symbol": listing.symbol, "tick_size": listing.tick_size, "step_size": listing.step_size, "min_notional": "5"}
        for listing in market.listings
    ]
    universe = {
        "stream": "!universe",
        "generated": True,
        "data": {"market": str(market.market), "symbols": symbols},
    }
    return json.dumps(universe, separators=(",", ":"), ensure_ascii=False).encode()
