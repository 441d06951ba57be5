"""The cast: event tapes made from explicit seeds. CALM is a quiet market, SURGE bursts upward, THIN has gaps."""

from typing import NamedTuple

import numpy as np

from marketdata.features.feature_set import N_BOOK_LEVELS

NS_PER_S = 1_000_000_000
START_NS = 1_723_161_255_123_456_789
TICK_E8 = 1_000_000


class Quote(NamedTuple):
    ts_ns: int
    symbol: int
    bid_e8: int
    bid_qty: float
    ask_e8: int
    ask_qty: float


class Book(NamedTuple):
    ts_ns: int
    symbol: int
    bids: tuple[tuple[int, float], ...]  # best first
    asks: tuple[tuple[int, float], ...]


class Trade(NamedTuple):
    ts_ns: int
    symbol: int
    price_e8: int
    qty: float
    side: int


class Reset(NamedTuple):
    ts_ns: int
    symbol: int


Event = Quote | Book | Trade | Reset
Tape = tuple[Event, ...]


class Mood(NamedTuple):
    """How a tape behaves: events per second, chance of buying, drift in ticks per quote."""

    quotes: float
    books: float
    trades: float
    buying: float = 0.5
    drift: float = 0.0
    volatility: float = 0.7
    spread: int = 2
    levels: int = N_BOOK_LEVELS
    size: float = 3.0


QUIET = Mood(quotes=4.0, books=3.0, trades=2.0)
BURST = Mood(quotes=15.0, books=5.0, trades=25.0, buying=0.85, drift=0.4, volatility=1.5, spread=4, size=8.0)
SPARSE = Mood(quotes=0.5, books=0.4, trades=0.15, volatility=3.0, spread=9)
SHALLOW = Mood(quotes=1.0, books=1.0, trades=0.3, volatility=2.0, spread=5, levels=4)


class Maker:
    """Writes one symbol's events, second by second, from a seed."""

    def __init__(self, seed: int, symbol: int, mid_tick: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.symbol = symbol
        self.mid_tick = float(mid_tick)
        self.events: list[Event] = []

    def play(self, start_ns: int, seconds: int, mood: Mood) -> None:
        for second in range(seconds):
            begin = start_ns + second * NS_PER_S
            kinds = [self._quote] * self.rng.poisson(mood.quotes)
            kinds += [self._book] * self.rng.poisson(mood.books)
            kinds += [self._trades] * self.rng.poisson(mood.trades)
            order = self.rng.permutation(len(kinds))
            times = np.sort(self.rng.integers(0, NS_PER_S, len(kinds)))
            for at, index in zip(times, order, strict=True):
                kinds[index](begin + int(at), mood)

    def reset(self, ts_ns: int) -> None:
        self.events.append(Reset(ts_ns, self.symbol))

    def _touch(self, mood: Mood) -> tuple[int, int]:
        self.mid_tick = max(self.mid_tick + mood.drift + self.rng.normal(0.0, mood.volatility), 100.0)
        bid = int(self.mid_tick)
        return bid * TICK_E8, (bid + int(self.rng.integers(1, mood.spread + 1))) * TICK_E8

    def _qty(self, mood: Mood) -> float:
        return float(np.round(self.rng.lognormal(0.0, 0.8) * mood.size, 3)) + 0.001

    def _quote(self, ts_ns: int, mood: Mood) -> None:
        bid, ask = self._touch(mood)
        self.events.append(Quote(ts_ns, self.symbol, bid, self._qty(mood), ask, self._qty(mood)))

    def _book(self, ts_ns: int, mood: Mood) -> None:
        bid, ask = self._touch(mood)
        depths = self.rng.integers(mood.levels - 2, mood.levels + 1, 2) if mood.levels < N_BOOK_LEVELS else (10, 10)
        bids = tuple((bid - level * TICK_E8, self._qty(mood)) for level in range(depths[0]))
        asks = tuple((ask + level * 2 * TICK_E8, self._qty(mood)) for level in range(depths[1]))
        self.events.append(Book(ts_ns, self.symbol, bids, asks))

    def _trades(self, ts_ns: int, mood: Mood) -> None:
        side = 1 if self.rng.random() < mood.buying else -1
        price = int(self.mid_tick) * TICK_E8
        fills = 1 if self.rng.random() < 0.8 else int(self.rng.integers(2, 6))
        for fill in range(fills):
            huge = 30.0 if self.rng.random() < 0.03 else 1.0
            self.events.append(
                Trade(ts_ns + fill * 300_000, self.symbol, price + side * fill * TICK_E8, huge * self._qty(mood), side)
            )


def in_time_order(*parts: list[Event]) -> Tape:
    return tuple(sorted((event for part in parts for event in part), key=lambda event: event.ts_ns))


def calm(seed: int, symbol: int = 0, seconds: int = 400) -> Tape:
    """Quiet trading, with one rebuilt book on the way."""
    maker = Maker(seed, symbol, 50_000)
    maker.play(START_NS, seconds // 2, QUIET)
    maker.reset(START_NS + seconds // 2 * NS_PER_S)
    maker.play(START_NS + seconds // 2 * NS_PER_S, seconds - seconds // 2, QUIET)
    return in_time_order(maker.events)


def surge(seed: int, symbol: int = 0) -> Tape:
    """Five quiet minutes, then 40 seconds of heavy buying, then quiet again."""
    maker = Maker(seed, symbol, 20_000)
    maker.play(START_NS, 300, QUIET)
    maker.play(START_NS + 300 * NS_PER_S, 40, BURST)
    maker.play(START_NS + 340 * NS_PER_S, 40, QUIET)
    return in_time_order(maker.events)


def thin(seed: int, symbol: int = 0) -> Tape:
    """A sparse market: missing levels, long silences, a reset, and an outage of two minutes."""
    maker = Maker(seed, symbol, 3_000)
    maker.play(START_NS, 250, SPARSE)
    maker.reset(START_NS + 251 * NS_PER_S)
    maker.play(START_NS + 252 * NS_PER_S, 60, SHALLOW)
    maker.play(START_NS + 312 * NS_PER_S, 100, SPARSE._replace(quotes=2.0, books=2.0))
    maker.reset(START_NS + 413 * NS_PER_S)
    maker.play(START_NS + 533 * NS_PER_S, 120, QUIET._replace(trades=0.5))
    return in_time_order(maker.events)


CALM = calm(seed=11)
SURGE = surge(seed=12)
THIN = thin(seed=13)
TAPES: dict[str, Tape] = {"calm": CALM, "surge": SURGE, "thin": THIN}
