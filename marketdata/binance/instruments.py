"""exchangeInfo -> instruments. Unknown filters, words and fields are Binance's good right; a broken row is left out."""

from collections.abc import Iterable
from typing import Any

from marketdata.universe import InstrumentInfo


def parse_exchange_info(body: dict[str, Any]) -> list[InstrumentInfo]:
    """Return the instruments of either market's exchangeInfo body, in its order; `ValueError` if it has no symbols."""
    rows = body.get("symbols") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        raise ValueError("the answer has no list of symbols: this is no exchangeInfo")
    return [_instrument(row) for row in rows if isinstance(row, dict) and _text(row, "symbol")]


def _instrument(row: dict[str, Any]) -> InstrumentInfo:
    filters = {entry.get("filterType"): entry for entry in _dicts(row.get("filters"))}
    notional = filters.get("NOTIONAL", filters.get("MIN_NOTIONAL", {}))
    return InstrumentInfo(
        symbol=_text(row, "symbol"),
        base=_text(row, "baseAsset"),
        quote=_text(row, "quoteAsset"),
        status=_text(row, "status") or _text(row, "contractStatus"),
        contract_type=_text(row, "contractType"),
        underlying_type=_text(row, "underlyingType"),
        tick_size=_step(filters.get("PRICE_FILTER", {}), "tickSize"),
        step_size=_step(filters.get("LOT_SIZE", {}), "stepSize"),
        min_notional=_text(notional, "minNotional") or _text(notional, "notional"),
    )


def _dicts(value: object) -> Iterable[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _step(entry: dict[str, Any], name: str) -> str:
    """A step as a short decimal: 0.01000000 -> 0.01; "" for a missing or zero step, which means "no rule"."""
    text = _text(entry, name)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text.replace(".", "", 1).isdecimal() and float(text) > 0.0 else ""
