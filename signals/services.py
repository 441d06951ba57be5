"""All writes of the signals app."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from modeling.models import ModelVersion
from signals.decision import StrategyParameters
from signals.models import Signal, SignalOutcome, Strategy
from signals.outcome import Outcome
from signals.presets import PRESETS

STRATEGY_FIELDS = ("p_min", "utility_min_bps", "notional_quote", "max_spread_bps", "min_depth_ratio", "cooldown_s")


def strategy_presets_install() -> list[Strategy]:
    """Create the shipped strategies that do not exist yet; existing ones keep what their owner changed."""
    installed = []
    for preset in PRESETS:
        values = {name: getattr(preset, name) for name in (*STRATEGY_FIELDS, "release_ratio", "tier")}
        installed.append(Strategy.objects.get_or_create(name=preset.name, defaults=values)[0])
    return installed


def strategy_parameters(strategies: Sequence[Strategy]) -> tuple[StrategyParameters, ...]:
    """Freeze strategy rows into what a pipeline decides with."""
    names = {field.name for field in fields(StrategyParameters)}
    return tuple(
        StrategyParameters(**{key: value for key, value in vars(strategy).items() if key in names})
        for strategy in strategies
    )


def signal_record(
    *,
    mode: str,
    market: str,
    symbol: str,
    strategy: Strategy,
    model_version: ModelVersion,
    decided_ns: int,
    price: Decimal,
    numbers: dict[str, float],
    cost_parts: dict[str, float],
    gates: list[dict[str, Any]],
    features: dict[str, float | None],
    barriers: dict[str, float],
) -> tuple[Signal, bool]:
    """Write a signal down before its outcome exists; recording the same decision twice changes nothing.

    `numbers` holds p_tp, p_sl, utility_bps and cost_bps.
    """
    return Signal.objects.get_or_create(
        mode=mode,
        market=market,
        symbol=symbol,
        strategy=strategy,
        decided_ns=decided_ns,
        defaults={
            "model_version": model_version,
            "decided_at": datetime.fromtimestamp(decided_ns / 1e9, UTC),
            "price": price,
            "cost_parts": cost_parts,
            "gates": gates,
            "features": features,
            "barriers": barriers,
            **numbers,
        },
    )


def signal_mark_published(*, signal: Signal) -> None:
    """Note when the signal went out to the pages; the first time counts."""
    Signal.objects.filter(pk=signal.pk, published_at=None).update(published_at=timezone.now())


@transaction.atomic
def signal_settle(*, outcome: Outcome) -> SignalOutcome:
    """Write what became of a signal; the first outcome stands."""
    row, _ = SignalOutcome.objects.get_or_create(
        signal_id=outcome.key,
        defaults={
            "result": outcome.result,
            "entry_price": Decimal(f"{outcome.entry_price:.8f}"),
            "settled_ns": outcome.settled_ns,
            "return_bps": outcome.return_bps,
            "net_bps": outcome.net_bps,
            "mfe_bps": outcome.mfe_bps,
            "mae_bps": outcome.mae_bps,
        },
    )
    return row


def signal_settle_unseen(*, mode: str, market: str, decided_before_ns: int, settled_ns: int) -> int:
    """Close the signals of an earlier session whose way nobody watched, honestly: without a return."""
    lost = Signal.objects.filter(mode=mode, market=market, outcome=None, decided_ns__lt=decided_before_ns)
    rows = [SignalOutcome(signal=signal, result=SignalOutcome.Result.UNSEEN, settled_ns=settled_ns) for signal in lost]
    return len(SignalOutcome.objects.bulk_create(rows, ignore_conflicts=True))
