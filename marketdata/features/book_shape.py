"""The shape of ten levels a side: imbalance, deep mid, slope, reach, and depth against its own slow average."""

import math

import numpy as np

from marketdata.features.order_flow import LEVELS_5, LEVELS_10, N_DEPTHS, depth_flow_step
from marketdata.features.registry import Feature
from marketdata.features.touch import PRICE_UNIT
from marketdata.features.windows import (
    N_HALF_LIVES,
    S60,
    S300,
    Factors,
    Record,
    compiled,
    decay_table,
    held_average,
    log_ratio,
    share,
)

N_BOOK_LEVELS = 10

book_dtype = np.dtype(
    [
        ("has_previous", "i8"),
        ("n_bid", "i8"),
        ("n_ask", "i8"),
        ("bids_e8", "i8", (N_BOOK_LEVELS,)),
        ("asks_e8", "i8", (N_BOOK_LEVELS,)),
        ("bid_qtys", "f8", (N_BOOK_LEVELS,)),
        ("ask_qtys", "f8", (N_BOOK_LEVELS,)),
        ("flow", "f8", (N_DEPTHS, N_HALF_LIVES)),  # decayed multi-level order flow, 5 and 10 levels
        ("was_short", "i8", (N_DEPTHS,)),
        ("short_ns", "i8", (N_DEPTHS,)),
        ("size", "f8", (N_DEPTHS,)),  # mean quantity of a level, base units
        ("average_size", "f8", (N_DEPTHS,)),  # time-weighted, 60 s
        ("bid_depth", "f8"),  # quote units in ten levels
        ("ask_depth", "f8"),
        ("average_bid_depth", "f8"),  # time-weighted, 300 s
        ("average_ask_depth", "f8"),
    ],
    align=True,
)

BOOK_FEATURES = (
    Feature(
        "depth_imbalance_5", "-1..1", "now",
        "sum w(bid_qty - ask_qty) / sum w(bid_qty + ask_qty), w = 1/rank, 5 levels",
        "Cao, Hansch & Wang 2009", "Which side holds more size in 5 levels, near levels counting more.",
        "前5档哪一侧挂单更多，越近权重越大。", "book",
    ),
    Feature(
        "depth_imbalance_10", "-1..1", "now",
        "sum w(bid_qty - ask_qty) / sum w(bid_qty + ask_qty), w = 1/rank, 10 levels",
        "Cao, Hansch & Wang 2009", "Which side holds more size in 10 levels, near levels counting more.",
        "前10档哪一侧挂单更多，越近权重越大。", "book",
    ),
    Feature(
        "deep_mid_bps", "bps", "now",
        "1e4 * ((QB*PA + QA*PB) / (QA + QB) - mid) / mid; Q total size, P mean price of 10 levels, mid of the book",
        "Cao, Hansch & Wang 2009", "How far the price weighted over 10 levels leans from the mid.",
        "按前10档加权的价格偏离中间价多少。", "book",
    ),
    Feature(
        "slope_imbalance", "log ratio", "now",
        "ln slope_bid / slope_ask; slope = sum d*c / sum d*d, c cumulated size at distance d from the mid, 10 levels",
        "Naes & Skjeltorp 2006", "Which side's size builds up faster away from the mid.",
        "离开中间价后哪一侧的挂单增长更快。", "book",
    ),
    Feature(
        "ask_reach_bps", "bps", "now", "1e4 * (10th ask - best ask) / mid", "-",
        "How far apart the ten best asks lie: far means a thin way up.",
        "前10档卖单的跨度：越大表示上方越稀薄。", "book",
    ),
    Feature(
        "bid_reach_bps", "bps", "now", "1e4 * (best bid - 10th bid) / mid", "-",
        "How far apart the ten best bids lie: far means a thin way down.",
        "前10档买单的跨度：越大表示下方越稀薄。", "book",
    ),
    Feature(
        "depth_vs_slow", "log ratio", "now vs 300 s",
        "ln quote value of 10 levels, both sides / its time-weighted mean", "-",
        "Is the book deeper or thinner than usual?", "订单簿比平时更厚还是更薄？", "liquidity",
    ),
    Feature(
        "ask_depth_vs_slow", "log ratio", "now vs 300 s", "ln quote value of 10 asks / its time-weighted mean", "-",
        "Are sellers pulling back compared with usual?", "与平时相比，卖方是否在撤单？", "liquidity",
    ),
)  # fmt: skip


@compiled
def side_value(prices_e8: np.ndarray, qtys: np.ndarray, n: int) -> float:
    """Return the quote value of the first `n` levels of one side."""
    value = 0.0
    for level in range(n):
        value += PRICE_UNIT * prices_e8[level] * qtys[level]
    return value


@compiled
def mean_size(bid_qtys: np.ndarray, ask_qtys: np.ndarray, n: int) -> float:
    total = 0.0
    for level in range(n):
        total += 0.5 * (bid_qtys[level] + ask_qtys[level])
    return total / max(n, 1)


@compiled
def hold_averages(book: Record, factors: Factors) -> None:
    for depth in range(N_DEPTHS):
        book.average_size[depth] = held_average(book.average_size[depth], book.size[depth], factors[S60])
    book.average_bid_depth = held_average(book.average_bid_depth, book.bid_depth, factors[S300])
    book.average_ask_depth = held_average(book.average_ask_depth, book.ask_depth, factors[S300])


@compiled
def mark_short(book: Record, depth: int, ts_ns: int) -> None:
    book.was_short[depth] = 1
    book.short_ns[depth] = ts_ns


@compiled
def book_step(
    book: Record,
    ts_ns: int,
    bids_e8: np.ndarray,
    bid_qtys: np.ndarray,
    asks_e8: np.ndarray,
    ask_qtys: np.ndarray,
    n_bid: int,
    n_ask: int,
    factors: Factors,
) -> None:
    """Take one book in (best first, up to ten levels a side); `factors` decay from the book before it."""
    decay_table(book.flow, factors)
    hold_averages(book, factors)
    n_levels = min(n_bid, n_ask, N_BOOK_LEVELS)
    if book.has_previous:
        depth_flow_step(book, bids_e8, bid_qtys, asks_e8, ask_qtys, min(n_levels, book.n_bid, book.n_ask))
    if n_levels < 5:
        mark_short(book, LEVELS_5, ts_ns)
    if n_levels < 10:
        mark_short(book, LEVELS_10, ts_ns)
    keep_levels(book, bids_e8, bid_qtys, asks_e8, ask_qtys, n_bid, n_ask)
    book.size[LEVELS_5] = mean_size(bid_qtys, ask_qtys, min(n_levels, 5))
    book.size[LEVELS_10] = mean_size(bid_qtys, ask_qtys, n_levels)
    book.bid_depth = side_value(bids_e8, bid_qtys, book.n_bid)
    book.ask_depth = side_value(asks_e8, ask_qtys, book.n_ask)


@compiled
def keep_levels(
    book: Record,
    bids_e8: np.ndarray,
    bid_qtys: np.ndarray,
    asks_e8: np.ndarray,
    ask_qtys: np.ndarray,
    n_bid: int,
    n_ask: int,
) -> None:
    book.has_previous = 1
    book.n_bid = min(n_bid, N_BOOK_LEVELS)
    book.n_ask = min(n_ask, N_BOOK_LEVELS)
    for level in range(book.n_bid):
        book.bids_e8[level] = bids_e8[level]
        book.bid_qtys[level] = bid_qtys[level]
    for level in range(book.n_ask):
        book.asks_e8[level] = asks_e8[level]
        book.ask_qtys[level] = ask_qtys[level]


@compiled
def depth_imbalance(bid_qtys: np.ndarray, ask_qtys: np.ndarray, n: int) -> float:
    """Return the rank-weighted imbalance of the first `n` levels, -1..1."""
    difference = 0.0
    total = 0.0
    for level in range(n):
        weight = 1.0 / (level + 1.0)
        difference += weight * (bid_qtys[level] - ask_qtys[level])
        total += weight * (bid_qtys[level] + ask_qtys[level])
    return share(difference, total)


@compiled
def side_slope(prices_e8: np.ndarray, qtys: np.ndarray, n: int, mid: float) -> float:
    """Return the slope through the origin of cumulated size on distance from the mid."""
    cumulated = 0.0
    moment = 0.0
    square = 0.0
    for level in range(n):
        cumulated += qtys[level]
        distance = abs(PRICE_UNIT * prices_e8[level] - mid) / mid
        moment += distance * cumulated
        square += distance * distance
    return share(moment, square)


@compiled
def deep_mid(book: Record, n: int) -> float:
    """Return the mid of ten levels: each side's mean price weighted by the other side's size."""
    bid_size = 0.0
    ask_size = 0.0
    for level in range(n):
        bid_size += book.bid_qtys[level]
        ask_size += book.ask_qtys[level]
    bid_price = share(side_value(book.bids_e8, book.bid_qtys, n), bid_size)
    ask_price = share(side_value(book.asks_e8, book.ask_qtys, n), ask_size)
    return share(bid_size * ask_price + ask_size * bid_price, bid_size + ask_size)


@compiled
def write_book_shape(book: Record, factors: Factors, seen_factors: Factors, out: np.ndarray, at: int) -> None:
    n = min(book.n_bid, book.n_ask)
    if n >= 5:
        out[at] = depth_imbalance(book.bid_qtys, book.ask_qtys, 5)
    if n < 10:
        return
    last = N_BOOK_LEVELS - 1
    mid = 0.5 * PRICE_UNIT * (book.bids_e8[0] + book.asks_e8[0])
    bid_slope = side_slope(book.bids_e8, book.bid_qtys, n, mid)
    ask_slope = side_slope(book.asks_e8, book.ask_qtys, n, mid)
    out[at + 1] = depth_imbalance(book.bid_qtys, book.ask_qtys, 10)
    out[at + 2] = 1e4 * (deep_mid(book, n) - mid) / mid
    out[at + 3] = math.log(bid_slope / ask_slope) if bid_slope > 0.0 and ask_slope > 0.0 else 0.0
    out[at + 4] = 1e4 * PRICE_UNIT * (book.asks_e8[last] - book.asks_e8[0]) / mid
    out[at + 5] = 1e4 * PRICE_UNIT * (book.bids_e8[0] - book.bids_e8[last]) / mid
    average_bid = held_average(book.average_bid_depth, book.bid_depth, factors[S300]) / (1.0 - seen_factors[S300])
    average_ask = held_average(book.average_ask_depth, book.ask_depth, factors[S300]) / (1.0 - seen_factors[S300])
    out[at + 6] = log_ratio(book.bid_depth + book.ask_depth, average_bid + average_ask)
    out[at + 7] = log_ratio(book.ask_depth, average_ask)
