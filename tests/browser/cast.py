"""What stands on the board in the browser tests: coins in Redis, their scores in ClickHouse."""

import time

import numpy as np
import redis
from django.conf import settings

from marketdata.archive import Archive
from signals.sse import publish_board
from tests.signals.factories import board_put, board_row

COINS = {
    "BTCUSDT": (0.42, 67_123.45),
    "ETHUSDT": (0.31, 3_456.7),
    "币安人生USDT": (0.22, 0.2311),
    "SOLUSDT": (0.12, 152.34),
    "PEPEUSDT": (0.05, 0.00001234),
}


def rows_now(**changes: dict) -> list[dict]:
    """Return a live row of each coin; `changes` by symbol replace some of its values."""
    return [board_row(coin, p=p, price=price) | changes.get(coin, {}) for coin, (p, price) in COINS.items()]


def board_fill(hot: redis.Redis, **changes: dict) -> list[dict]:
    rows = rows_now(**changes)
    board_put(hot, *rows)
    return rows


def board_publish(hot: redis.Redis, **changes: dict) -> None:
    """Write and push the board as the live worker does."""
    publish_board(board_fill(hot, **changes))


def scores_fill(seconds: int = 600) -> None:
    """Write the last minutes of scores of every coin, one a second."""
    with Archive(settings.SURGE_CLICKHOUSE_URL) as archive:
        for number, (coin, (p, price)) in enumerate(COINS.items()):
            rng = np.random.default_rng(number)
            walk = rng.normal(0, 1e-4, seconds).cumsum()
            columns = {
                "symbol": np.array([coin] * seconds),
                "tick_ns": time.time_ns() - np.arange(seconds, 0, -1) * 1_000_000_000,
                "mid": price * np.exp(walk - walk[-1]),
                "p": np.clip(p + rng.normal(0, 0.02, seconds), 0, 1),
                "p_sl": np.full(seconds, 0.2),
                "utility_bps": np.full(seconds, 3.0),
                "spread_bps": np.full(seconds, 1.2),
            }
            archive.append_scores(columns, mode="demo", market="spot")
