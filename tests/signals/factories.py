"""Rows for the tests of pages and interface: a model, a strategy, signals with and without an outcome, board rows."""

import json
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import redis

from modeling.models import ModelVersion
from signals.models import Signal, SignalOutcome, Strategy
from signals.selectors import board_key

GATES = [
    {"name": "probability", "value": 0.71, "threshold": 0.6, "margin": 0.11, "passed": True},
    {"name": "utility", "value": 18.4, "threshold": 10.0, "margin": 8.4, "passed": True},
    {"name": "synced", "value": 1.0, "threshold": 1.0, "margin": 0.0, "passed": True},
]
PROMOTED = datetime(2026, 11, 22, tzinfo=UTC)
MODEL = {"mode": "demo", "status": "champion", "created_at": PROMOTED, "promoted_at": PROMOTED, "card": {"gates": {}}}


def model_version_make(version: str = "m-1") -> ModelVersion:
    return ModelVersion.objects.get_or_create(version=version, defaults=MODEL)[0]


def strategy_make(name: str = "a-tier", tier: str = "A", **values: Any) -> Strategy:
    defaults = {
        "tier": tier,
        "p_min": 0.6,
        "utility_min_bps": 10.0,
        "notional_quote": 1000.0,
        "max_spread_bps": 8.0,
        "min_depth_ratio": 2.0,
        "cooldown_s": 120.0,
    }
    return Strategy.objects.update_or_create(name=name, defaults=defaults | values)[0]


def signal_make(symbol: str = "BTCUSDT", *, seconds_ago: float = 10.0, **values: Any) -> Signal:
    decided_ns = time.time_ns() - round(seconds_ago * 1e9)
    row = {
        "mode": "demo",
        "market": "spot",
        "symbol": symbol,
        "strategy": values.pop("strategy", None) or strategy_make(),
        "model_version": model_version_make(),
        "decided_ns": decided_ns,
        "decided_at": datetime.fromtimestamp(decided_ns / 1e9, UTC),
        "price": Decimal("67123.45"),
        "p_tp": 0.71,
        "p_sl": 0.12,
        "utility_bps": 18.4,
        "cost_bps": 24.3,
        "cost_parts": {"fees_bps": 20.0, "spread_bps": 2.1, "slippage_bps": 2.2},
        "gates": GATES,
        "features": {"spread_bps": 2.1},
        "barriers": {"take_profit_bps": 60.0, "stop_loss_bps": 40.0, "horizon_s": 120.0, "mean_timeout_bps": -3.0},
    }
    return Signal.objects.create(public_id=uuid.uuid4(), **row | values)


def outcome_make(signal: Signal, result: str = "tp", net_bps: float | None = 35.7) -> SignalOutcome:
    gross = None if net_bps is None else net_bps + 24.3
    return SignalOutcome.objects.create(
        signal=signal,
        result=result,
        entry_price=signal.price,
        settled_ns=signal.decided_ns + 60_000_000_000,
        return_bps=gross,
        net_bps=net_bps,
        mfe_bps=None if gross is None else max(gross, 0.0) + 5,
        mae_bps=None if gross is None else min(gross, 0.0) - 8,
    )


def board_row(symbol: str = "BTCUSDT", **values: Any) -> dict[str, Any]:
    """Return a row as the live worker writes it."""
    row = {
        "symbol": symbol,
        "p": 0.42,
        "p_sl": 0.2,
        "utility_bps": 3.5,
        "cost_bps": 24.1,
        "price": 67123.45,
        "bid": 67123.0,
        "ask": 67123.9,
        "spread_bps": 1.2,
        "change_60s_bps": -4.4,
        "age_ms": 120,
        "tick_ns": str(time.time_ns()),
        "state": "live",
        "reason": "probability, utility",
    }
    return row | values


def board_put(client: redis.Redis, *rows: dict[str, Any], mode: str = "demo") -> None:
    client.delete(board_key(mode))
    if rows:
        client.hset(board_key(mode), mapping={row["symbol"]: json.dumps(row) for row in rows})
