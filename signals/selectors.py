"""All reads of the signals app."""

from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np
import orjson
import redis
from django.conf import settings
from django.db.models import QuerySet

from marketdata.archive import Archive
from signals.models import Signal, SignalOutcome, Strategy


class ScoreSeries(NamedTuple):
    """Scores of one symbol in time order, arrays of shape (n,): tick_ns int64, the others float64."""

    tick_ns: np.ndarray
    mid: np.ndarray
    p: np.ndarray
    utility_bps: np.ndarray
    spread_bps: np.ndarray


def board_key(mode: str) -> str:
    """Return the Redis hash that holds the latest board row of each symbol."""
    return f"surge:{mode}:board"


@cache
def redis_client() -> redis.Redis:
    """Return this process's client of the hot state, with short timeouts; its pool is made for threads and forks."""
    return redis.Redis.from_url(settings.SURGE_REDIS_URL, socket_timeout=3, socket_connect_timeout=3)


def strategy_list_active() -> list[Strategy]:
    return list(Strategy.objects.filter(is_active=True).order_by("tier", "name"))


def signal_list(
    *,
    mode: str,
    symbol: str | None = None,
    strategy: str | None = None,
    tier: str | None = None,
    since: datetime | None = None,
) -> QuerySet[Signal]:
    """Return signals, newest first, with what a row shows already joined."""
    signals = Signal.objects.filter(mode=mode).select_related("strategy", "model_version", "outcome")
    if symbol:
        signals = signals.filter(symbol=symbol)
    if strategy:
        signals = signals.filter(strategy__name=strategy)
    if tier:
        signals = signals.filter(strategy__tier=tier)
    if since:
        signals = signals.filter(decided_at__gte=since)
    return signals


def signal_row(signal: Signal) -> dict[str, Any]:
    """Return a signal as the API, the event stream and the page show it."""
    outcome = getattr(signal, "outcome", None)
    return {
        "public_id": str(signal.public_id),
        "symbol": signal.symbol,
        "market": signal.market,
        "mode": signal.mode,
        "strategy": signal.strategy.name,
        "tier": signal.strategy.tier,
        "model_version": signal.model_version.version,
        "decided_at": signal.decided_at.isoformat().replace("+00:00", "Z"),
        "decided_ns": str(signal.decided_ns),
        "price": format(signal.price.normalize(), "f"),
        "p_tp": signal.p_tp,
        "p_sl": signal.p_sl,
        "utility_bps": signal.utility_bps,
        "cost_bps": signal.cost_bps,
        "cost_parts": signal.cost_parts,
        "gates": signal.gates,
        "features": signal.features,
        "barriers": signal.barriers,
        "outcome": outcome_row(outcome) if outcome else None,
    }


def outcome_row(outcome: SignalOutcome) -> dict[str, Any]:
    return {
        "result": outcome.result,
        "return_bps": outcome.return_bps,
        "net_bps": outcome.net_bps,
        "mfe_bps": outcome.mfe_bps,
        "mae_bps": outcome.mae_bps,
        "settled_ns": str(outcome.settled_ns),
    }


def board_rows(mode: str, client: redis.Redis | None = None) -> list[dict[str, Any]]:
    """Return the latest row of each symbol, highest probability first; empty when nothing was published."""
    stored = cast(list[bytes], (client or redis_client()).hvals(board_key(mode)))
    rows = [orjson.loads(row) for row in stored]
    return sorted(rows, key=lambda row: (-(row["p"] if row["p"] is not None else -1.0), row["symbol"]))


def board_updated_ns(mode: str, client: redis.Redis | None = None) -> int | None:
    """Return when the board was last published (wall clock, ns), or None."""
    value = cast(bytes | None, (client or redis_client()).get(f"{board_key(mode)}:updated_ns"))
    return int(value) if value is not None else None


def score_series(symbol: str, since_ns: int, until_ns: int, limit: int = 20_000) -> ScoreSeries:
    """Return the stored scores of a symbol in time order."""
    with Archive(settings.SURGE_CLICKHOUSE_URL) as archive:
        columns = archive.read_scores(
            symbol, since_ns, until_ns, limit, mode=settings.SURGE_MODE, market=settings.SURGE_MARKET
        )
    return ScoreSeries(*(columns[name] for name in ScoreSeries._fields))
