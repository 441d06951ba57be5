"""Slow twins: every feature straight from its formula, over the whole list of past events, at the asked time.

Nothing here is incremental: no decay on the way, no ring, no running sum. Only what the formula says.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from tests.marketdata.features.tapes import NS_PER_S, Book, Event, Quote, Reset, Trade

WARMUP_NS = 20 * NS_PER_S
STALE_NS = 5 * NS_PER_S
NAN = math.nan
E8 = 1e-8


def since_last_outage(events: Sequence[Event]) -> list[Event]:
    """Drop all before a reset that was followed by more than 5 s of silence."""
    kept: list[Event] = []
    last_ns = None
    for event in events:
        if not isinstance(event, Reset):
            if kept and isinstance(kept[-1], Reset) and last_ns is not None and event.ts_ns - last_ns > STALE_NS:
                kept = []
            last_ns = event.ts_ns
        kept.append(event)
    return kept


def weight(age_ns: float, half_life_s: float) -> float:
    return math.pow(2.0, -age_ns / (half_life_s * NS_PER_S))


def cks(before: Sequence[tuple[int, float]], after: Sequence[tuple[int, float]]) -> float:
    """CKS increment; each argument is ((bid price, size), (ask price, size))."""
    (b0, qb0), (a0, qa0) = before
    (b1, qb1), (a1, qa1) = after
    bid = qb1 * (b1 >= b0) - qb0 * (b1 <= b0)
    ask = qa1 * (a1 <= a0) - qa0 * (a1 >= a0)
    return bid - ask


class View:
    """What is known of one symbol at `ts_ns`."""

    def __init__(self, events: Iterable[Event], symbol: int, ts_ns: int) -> None:
        past = [event for event in events if event.symbol == symbol and event.ts_ns <= ts_ns]
        self.now = ts_ns
        self.events = since_last_outage(past)
        self.quotes = [event for event in self.events if isinstance(event, Quote)]
        self.trades = [event for event in self.events if isinstance(event, Trade)]
        resets = [at for at, event in enumerate(self.events) if isinstance(event, Reset)]
        tail = self.events[resets[-1] + 1 :] if resets else self.events
        self.books = [event for event in tail if isinstance(event, Book)]

    @property
    def start_ns(self) -> int:
        return next(event.ts_ns for event in self.events if not isinstance(event, Reset))

    @property
    def quote_ready(self) -> bool:
        return self._ready(self.quotes)

    @property
    def book_ready(self) -> bool:
        return self._ready(self.books)

    @property
    def trade_ready(self) -> bool:
        return bool(self.trades) and self.now - self.start_ns >= WARMUP_NS

    def _ready(self, events: Sequence[Event]) -> bool:
        warm = bool(events) and self.now - events[0].ts_ns >= WARMUP_NS
        return warm and self.now - events[-1].ts_ns <= STALE_NS

    def held_mean(self, times: Sequence[int], values: Sequence[float], half_life_s: float) -> float:
        """Mean of a step function from its first step to now, each moment weighing 2^(-age/h)."""
        ends = [*times[1:], self.now]
        weights = [
            weight(self.now - end, half_life_s) - weight(self.now - begin, half_life_s)
            for begin, end in zip(times, ends, strict=True)
        ]
        return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)

    # -- best quotes ---------------------------------------------------------------------------------------------

    @property
    def quote(self) -> Quote:
        return self.quotes[-1]

    @cached_property
    def mids(self) -> list[float]:
        return [(quote.bid_e8 + quote.ask_e8) / 2 * E8 for quote in self.quotes]

    @property
    def mid(self) -> float:
        return self.mids[-1]

    @cached_property
    def spreads(self) -> list[float]:
        return [1e4 * (q.ask_e8 - q.bid_e8) * E8 / mid for q, mid in zip(self.quotes, self.mids, strict=True)]

    def spread_vs_slow(self) -> float:
        mean = self.held_mean([quote.ts_ns for quote in self.quotes], self.spreads, 300)
        return softened_log_ratio(self.spreads[-1], mean)

    def queue_imbalance(self) -> float:
        return (self.quote.bid_qty - self.quote.ask_qty) / (self.quote.bid_qty + self.quote.ask_qty)

    def microprice_bps(self) -> float:
        share = self.quote.bid_qty / (self.quote.bid_qty + self.quote.ask_qty)
        price = (share * self.quote.ask_e8 + (1 - share) * self.quote.bid_e8) * E8
        return 1e4 * (price - self.mid) / self.mid

    @cached_property
    def touch_increments(self) -> list[tuple[int, float]]:
        found = []
        before: Quote | None = None
        for event in self.events:
            if isinstance(event, Reset):
                before = None
            elif isinstance(event, Quote):
                if before is not None:
                    found.append((event.ts_ns, cks(_touch(before), _touch(event))))
                before = event
        return found

    def ofi(self, half_life_s: float) -> float:
        depth = self.held_mean([q.ts_ns for q in self.quotes], [(q.bid_qty + q.ask_qty) / 2 for q in self.quotes], 60)
        return math.fsum(e * weight(self.now - t, half_life_s) for t, e in self.touch_increments) / depth

    # -- prices --------------------------------------------------------------------------------------------------

    def mid_before(self, ts_ns: int) -> float:
        """The last mid strictly before a moment, or the first of all."""
        known = [mid for quote, mid in zip(self.quotes, self.mids, strict=True) if quote.ts_ns < ts_ns]
        return known[-1] if known else self.mids[0]

    def log_return(self, seconds: int) -> float:
        quarter = NS_PER_S // 4
        mark = (self.now - seconds * NS_PER_S) // quarter * quarter
        return 1e4 * math.log(self.mid / self.mid_before(mark))

    def bucket_returns(self, n: int, step_s: int) -> list[float]:
        """The last n returns between clock marks, oldest first; the last one runs to now."""
        step = step_s * NS_PER_S
        open_mark = self.now // step * step
        closes = [self.mid_before(open_mark - k * step) for k in range(n - 1, -1, -1)] + [self.mid]
        return [math.log(b / a) for a, b in zip(closes, closes[1:], strict=False)]

    def buckets_seen(self, n: int, step_s: int) -> int:
        step = step_s * NS_PER_S
        return min(n, self.now // step - self.quotes[0].ts_ns // step + 1)

    def volatility(self, seconds: int, step_s: int) -> float:
        n = seconds // step_s
        squares = math.fsum(r * r for r in self.bucket_returns(n, step_s))
        return math.log(0.01 + 1e4 * math.sqrt(squares / (self.buckets_seen(n, step_s) * step_s)))

    def jump_share(self) -> float:
        returns = self.bucket_returns(60, 1)
        realised = math.fsum(r * r for r in returns)
        n = self.buckets_seen(60, 1)
        if realised == 0.0:
            return 0.0
        pairs = math.fsum(abs(a) * abs(b) for a, b in zip(returns, returns[1:], strict=False))
        return max(0.0, 1.0 - math.pi / 2 * n / (n - 1) * pairs / realised)

    def up_variance_share(self) -> float:
        returns = self.bucket_returns(60, 1)
        realised = math.fsum(r * r for r in returns)
        return math.fsum(r * r for r in returns if r > 0) / realised if realised > 0.0 else 0.5

    def window_mids(self, step_s: int) -> list[float]:
        """All mids of the last 60 clock buckets, the one carried into the first of them included."""
        step = step_s * NS_PER_S
        begin = (self.now // step - 59) * step
        inside = [mid for quote, mid in zip(self.quotes, self.mids, strict=True) if quote.ts_ns >= begin]
        return [self.mid_before(begin), *inside]

    def range_position(self, step_s: int) -> float:
        mids = self.window_mids(step_s)
        return (self.mid - min(mids)) / (max(mids) - min(mids)) if max(mids) > min(mids) else 0.5

    # -- ten levels ----------------------------------------------------------------------------------------------

    @property
    def book(self) -> Book:
        return self.books[-1]

    def has_levels(self, n: int) -> bool:
        return min(len(self.book.bids), len(self.book.asks)) >= n

    def depth_imbalance(self, n: int) -> float:
        if not self.has_levels(n):
            return NAN
        bids = math.fsum(qty / rank for rank, (_, qty) in enumerate(self.book.bids[:n], 1))
        asks = math.fsum(qty / rank for rank, (_, qty) in enumerate(self.book.asks[:n], 1))
        return (bids - asks) / (bids + asks)

    @property
    def book_mid(self) -> float:
        return (self.book.bids[0][0] + self.book.asks[0][0]) / 2 * E8

    def deep_mid_bps(self) -> float:
        bid_prices, bid_sizes = (np.array(column, float) for column in zip(*self.book.bids, strict=True))
        ask_prices, ask_sizes = (np.array(column, float) for column in zip(*self.book.asks, strict=True))
        bid = np.average(bid_prices, weights=bid_sizes) * E8
        ask = np.average(ask_prices, weights=ask_sizes) * E8
        price = np.average([ask, bid], weights=[bid_sizes.sum(), ask_sizes.sum()])
        return float(1e4 * (price - self.book_mid) / self.book_mid)

    def slope(self, levels: Sequence[tuple[int, float]]) -> float:
        distances = np.array([abs(price * E8 - self.book_mid) / self.book_mid for price, _ in levels])
        cumulated = np.cumsum([qty for _, qty in levels])
        return float(np.linalg.lstsq(distances[:, None], cumulated, rcond=None)[0][0])

    def reach_bps(self, levels: Sequence[tuple[int, float]]) -> float:
        return 1e4 * abs(levels[-1][0] - levels[0][0]) * E8 / self.book_mid

    def depth_vs_slow(self, *sides: str) -> float:
        depths = [math.fsum(p * E8 * q for side in sides for p, q in getattr(book, side)) for book in self.books]
        return softened_log_ratio(depths[-1], self.held_mean([book.ts_ns for book in self.books], depths, 300))

    def mlofi(self, n: int, half_life_s: float) -> float:
        shortest = [min(len(book.bids), len(book.asks)) for book in self.books]
        short_ns = [book.ts_ns for book, levels in zip(self.books, shortest, strict=True) if levels < n]
        if short_ns and self.now - short_ns[-1] < 5 * half_life_s * NS_PER_S:
            return NAN
        total = math.fsum(
            weight(self.now - after.ts_ns, half_life_s)
            * math.fsum(cks((before.bids[m], before.asks[m]), (after.bids[m], after.asks[m])) for m in range(n))
            for k, (before, after) in enumerate(zip(self.books, self.books[1:], strict=False))
            if min(shortest[k], shortest[k + 1]) >= n
        )
        sizes = []
        for book, levels in zip(self.books, shortest, strict=True):
            seen = min(levels, n)
            sizes.append(math.fsum(q for side in (book.bids, book.asks) for _, q in side[:seen]) / (2 * seen))
        return total / n / self.held_mean([book.ts_ns for book in self.books], sizes, 60)

    # -- trades --------------------------------------------------------------------------------------------------

    def decayed(self, items: Iterable[tuple[int, float]], half_life_s: float) -> float:
        return math.fsum(value * weight(self.now - ts_ns, half_life_s) for ts_ns, value in items)

    def per_second(self, items: Iterable[tuple[int, float]], half_life_s: float) -> float:
        return self.decayed(items, half_life_s) / seen_seconds(self.now - self.start_ns, half_life_s)

    @cached_property
    def notionals(self) -> list[tuple[int, float]]:
        return [(trade.ts_ns, notional(trade)) for trade in self.trades]

    @cached_property
    def buys(self) -> list[tuple[int, float]]:
        return [(trade.ts_ns, notional(trade)) for trade in self.trades if trade.side > 0]

    @cached_property
    def ones(self) -> list[tuple[int, float]]:
        return [(trade.ts_ns, 1.0) for trade in self.trades]

    @cached_property
    def mean_trade(self) -> float:
        return self.decayed(self.notionals, 300) / self.decayed(self.ones, 300)

    def part_of_volume(self, items: Iterable[tuple[int, float]], half_life_s: float) -> float:
        return self.decayed(items, half_life_s) / (self.decayed(self.notionals, half_life_s) + 0.1 * self.mean_trade)

    def trade_imbalance(self, half_life_s: float) -> float:
        signed = [(trade.ts_ns, trade.side * notional(trade)) for trade in self.trades]
        return self.part_of_volume(signed, half_life_s)

    def intensity(self, half_life_s: float) -> float:
        return math.log(0.01 + self.per_second(self.ones, half_life_s))

    def surge(self, items: Sequence[tuple[int, float]], fast_s: float, slow_s: float) -> float:
        return softened_log_ratio(self.per_second(items, fast_s), self.per_second(items, slow_s))

    @cached_property
    def large_prints(self) -> list[Trade]:
        times = np.array([trade.ts_ns for trade in self.trades])
        values = np.array([notional(trade) for trade in self.trades])
        found = []
        for k in range(1, len(self.trades)):
            weights = 2.0 ** (-(times[k] - times[:k]) / (300.0 * NS_PER_S))
            if values[k] > 5.0 * (weights @ values[:k]) / weights.sum():
                found.append(self.trades[k])
        return found

    def large_share(self, signed: bool) -> float:
        items = [(trade.ts_ns, notional(trade) * (trade.side if signed else 1)) for trade in self.large_prints]
        return self.part_of_volume(items, 60)

    @cached_property
    def runs(self) -> list[list[Trade]]:
        """Same-side fills in a row, each within 1 ms of the one before."""
        runs: list[list[Trade]] = []
        for trade in self.trades:
            if runs and runs[-1][-1].side == trade.side and trade.ts_ns - runs[-1][-1].ts_ns <= 1_000_000:
                runs[-1].append(trade)
            else:
                runs.append([trade])
        return [run for run in runs if len(run) >= 2]

    def rush_intensity(self) -> float:
        return math.log(0.01 + self.per_second([(run[1].ts_ns, 1.0) for run in self.runs], 15))

    def rush_imbalance(self) -> float:
        """The first fill counts from the second one on: only then was it known to be a rush."""
        items = [(max(fill.ts_ns, run[1].ts_ns), fill.side * notional(fill)) for run in self.runs for fill in run]
        return self.part_of_volume(items, 15)

    def trade_size_surge(self) -> float:
        fast = (self.decayed(self.notionals, 15) + 0.1 * self.mean_trade) / (self.decayed(self.ones, 15) + 0.1)
        return softened_log_ratio(fast, self.mean_trade)

    def vpin(self) -> float:
        times = np.array([trade.ts_ns for trade in self.trades])
        values = np.array([notional(trade) for trade in self.trades])
        full: list[tuple[float, float]] = []
        buy = sell = size = 0.0
        for k, trade in enumerate(self.trades):
            decayed = float(2.0 ** (-(times[k] - times[: k + 1]) / (300.0 * NS_PER_S)) @ values[: k + 1])
            new_size = 5.0 * decayed / seen_seconds(trade.ts_ns - self.start_ns, 300)
            size = size or new_size
            left = float(values[k])
            while left >= size - (buy + sell):
                poured = size - (buy + sell)
                left -= poured
                buy, sell = (buy + poured, sell) if trade.side > 0 else (buy, sell + poured)
                full.append((buy, sell))
                buy, sell, size = 0.0, 0.0, new_size
            buy, sell = (buy + left, sell) if trade.side > 0 else (buy, sell + left)
        recent = [*full[-20:], (buy, sell)]
        return sum(abs(b - s) for b, s in recent) / sum(b + s for b, s in recent)

    def vwap_deviation(self, half_life_s: float) -> float:
        qtys = [(trade.ts_ns, trade.qty) for trade in self.trades]
        vwap = self.decayed(self.notionals, half_life_s) / self.decayed(qtys, half_life_s)
        return 1e4 * (self.mid / vwap - 1.0)

    # -- impact --------------------------------------------------------------------------------------------------

    @cached_property
    def impact_seconds(self) -> list[tuple[int, float, float, float]]:
        """(second, signed notional, notional, mid move in bps) of each closed second with trades."""
        latest = max(event.ts_ns for event in [*self.quotes, *self.trades]) // NS_PER_S
        found = []
        for second in sorted({trade.ts_ns // NS_PER_S for trade in self.trades}):
            begin, end = second * NS_PER_S, (second + 1) * NS_PER_S
            if second == latest or not any(quote.ts_ns < begin for quote in self.quotes):
                continue
            move = 1e4 * math.log(self.mid_before(end) / self.mid_before(begin))
            fills = [trade for trade in self.trades if trade.ts_ns // NS_PER_S == second]
            signed = math.fsum(trade.side * notional(trade) for trade in fills)
            found.append((second, signed, math.fsum(notional(trade) for trade in fills), move))
        return found

    def _impact_arrays(self) -> tuple[np.ndarray, ...]:
        second, signed, size, move = (np.array(column, float) for column in zip(*self.impact_seconds, strict=True))
        return 2.0 ** ((second - second[-1]) / 300.0), signed, size, move

    def kyle_lambda(self) -> float:
        if not self.impact_seconds:
            return 0.0
        w, x, size, y = self._impact_arrays()
        x_mean, y_mean = np.average(x, weights=w), np.average(y, weights=w)
        variance = np.average((x - x_mean) ** 2, weights=w)
        if variance <= 1e-9 * np.average(x * x, weights=w):
            return 0.0
        return float(np.average((x - x_mean) * (y - y_mean), weights=w) / variance * np.average(size, weights=w))

    def amihud(self) -> float:
        if not self.impact_seconds:
            return 0.0
        w, _, size, y = self._impact_arrays()
        return float(np.average(np.abs(y) / size, weights=w) * np.average(size, weights=w))

    def book_value(self, *sides: str) -> float:
        return math.fsum(price * E8 * qty for side in sides for price, qty in getattr(self.book, side))

    def turnover(self) -> float:
        return math.log(1e-6 + 60.0 * self.per_second(self.notionals, 60) / self.book_value("bids", "asks"))

    def ask_pressure(self) -> float:
        return math.log(1e-6 + self.decayed(self.buys, 5) / self.book_value("asks"))


def _touch(quote: Quote) -> tuple[tuple[int, float], tuple[int, float]]:
    return (quote.bid_e8, quote.bid_qty), (quote.ask_e8, quote.ask_qty)


def notional(trade: Trade) -> float:
    return trade.price_e8 * E8 * trade.qty


def softened_log_ratio(fast: float, slow: float) -> float:
    return math.log((fast + 0.01 * slow) / (1.01 * slow)) if slow > 0.0 else 0.0


def seen_seconds(seen_ns: int, half_life_s: float) -> float:
    """The area under 2^(-age/h) over the time seen (at least 5 s)."""
    seen_s = max(seen_ns / NS_PER_S, 5.0)
    return half_life_s / math.log(2.0) * -math.expm1(-math.log(2.0) * seen_s / half_life_s)
