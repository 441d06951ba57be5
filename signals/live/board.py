"""The board: the latest row of each symbol, kept in Redis for whoever opens the page, and pushed when it changed."""

from typing import Any

import numpy as np
import orjson
import redis

from marketdata.events import PRICE_SCALE
from marketdata.features.feature_set import FEATURE_NAMES
from signals.decision import reasons
from signals.pipeline import PipelineOutput
from signals.selectors import board_key

RETURN_60S = FEATURE_NAMES.index("return_60s")
KEEP_S = 24 * 3600


class Board:
    """Collect rows as ticks complete; `take_changed` hands over the newest row of each changed symbol."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols
        self._changed: dict[str, dict[str, Any]] = {}

    def update(self, output: PipelineOutput) -> None:
        for n in range(len(output.rows)):
            row = self._row(output, n)
            self._changed[row["symbol"]] = row

    def take_changed(self) -> list[dict[str, Any]]:
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def _row(self, output: PipelineOutput, n: int) -> dict[str, Any]:
        context = output.rows.context[n]
        bid, ask = int(context["bid_e8"]), int(context["ask_e8"])
        first = output.decisions[0].table[n] if output.decisions else None
        ages = [int(context["book_age_ns"]), int(context["quote_age_ns"])]
        return {
            "symbol": self._symbols[int(output.rows.symbol[n])],
            "p": _number(output.probabilities[n, 0]),
            "p_sl": _number(output.probabilities[n, 1]),
            "utility_bps": _number(first["utility_bps"]) if first is not None else None,
            "cost_bps": _number(first["cost_bps"]) if first is not None else None,
            "price": (bid + ask) / 2 / PRICE_SCALE if bid and ask else None,
            "bid": bid / PRICE_SCALE or None,
            "ask": ask / PRICE_SCALE or None,
            "spread_bps": _number(context["spread_bps"]),
            "change_60s_bps": _number(output.rows.X[n, RETURN_60S]),
            "age_ms": max(ages) // 1_000_000 if min(ages) >= 0 else None,
            "tick_ns": str(output.rows.tick_ns[n]),
            "state": "stale" if not context["synced"] else "live" if context["warm"] else "warming",
            "reason": ", ".join(reasons(int(first["failed"]))) if first is not None else "",
        }


def board_reset(client: redis.Redis, mode: str) -> None:
    """Forget the rows of an earlier session: they would be shown as if they were live."""
    client.delete(board_key(mode), f"{board_key(mode)}:updated_ns")


def board_store(client: redis.Redis, mode: str, rows: list[dict[str, Any]], now_ns: int) -> None:
    """Keep the rows, and when they were written."""
    key = board_key(mode)
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(key, mapping={row["symbol"]: orjson.dumps(row) for row in rows})
        pipe.set(f"{key}:updated_ns", now_ns, ex=KEEP_S)
        pipe.expire(key, KEEP_S)
        pipe.execute()


def _number(value: np.floating) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
