"""Which instruments the system watches, and why not the others. Decided by what an instrument is, never by its name."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from marketdata.events import Market


@dataclass(frozen=True)
class InstrumentInfo:
    """One instrument as the exchange describes it. Steps are decimal strings; "" where the exchange gives none.

    `contract_type` and `underlying_type` are "" on spot. Words the exchange may invent later stay as they are.
    """

    symbol: str
    base: str
    quote: str
    status: str
    contract_type: str
    underlying_type: str
    tick_size: str
    step_size: str
    min_notional: str


class UniverseRule(NamedTuple):
    """What may be watched. Empty contract and underlying types mean: not asked (spot)."""

    quote: str = "USDT"
    status: str = "TRADING"
    contract_types: tuple[str, ...] = ()
    underlying_types: tuple[str, ...] = ()


RULES = {
    Market.SPOT: UniverseRule(),
    Market.USDM: UniverseRule(contract_types=("PERPETUAL",), underlying_types=("COIN",)),
}


class Universe(NamedTuple):
    """`symbols` in the exchange's order; `excluded` gives each other symbol's reason in words."""

    symbols: tuple[InstrumentInfo, ...]
    excluded: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(instrument.symbol for instrument in self.symbols)

    def reasons(self) -> Counter[str]:
        return Counter(self.excluded.values())


def universe_select(
    instruments: Iterable[InstrumentInfo], market: Market, rule: UniverseRule | None = None
) -> Universe:
    """Split instruments into those that fit the market's rule, or `rule`, and those that do not."""
    rule = rule or RULES[market]
    included: list[InstrumentInfo] = []
    excluded: dict[str, str] = {}
    for instrument in instruments:
        reason = exclusion_reason(instrument, rule)
        if reason:
            excluded[instrument.symbol] = reason
        else:
            included.append(instrument)
    return Universe(tuple(included), excluded)


def exclusion_reason(instrument: InstrumentInfo, rule: UniverseRule) -> str:
    """The first reason against an instrument, "" when there is none."""
    if instrument.quote != rule.quote:
        return f"priced in {instrument.quote or 'nothing'}, not {rule.quote}"
    if rule.contract_types and instrument.contract_type not in rule.contract_types:
        return f"contract type {instrument.contract_type or 'not given'}"
    if rule.underlying_types and instrument.underlying_type not in rule.underlying_types:
        return f"underlying is {instrument.underlying_type or 'not given'}"
    if instrument.status != rule.status:
        return f"status {instrument.status or 'not given'}"
    if not instrument.tick_size or not instrument.step_size:
        return "no price or quantity step"
    return ""
