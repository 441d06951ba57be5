"""What every template may ask for: numbers as text, gate and feature names in the reader's language, the frame."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from marketdata.features.feature_set import FEATURES
from signals import formats
from signals.models import Strategy

register = template.Library()

THEMES = ("dark", "light")
THEME_COOKIE = "surge_theme"

GATE_NAMES = {
    "probability": pgettext_lazy("gate", "Probability"),
    "utility": pgettext_lazy("gate", "Utility after costs (bps)"),
    "synced": pgettext_lazy("gate", "Order book in sync"),
    "warm": pgettext_lazy("gate", "Features warmed up"),
    "fresh": pgettext_lazy("gate", "Data fresh (share of the allowed age)"),
    "spread": pgettext_lazy("gate", "Spread (bps)"),
    "depth": pgettext_lazy("gate", "Depth within 10 bps / position"),
    "cost_known": pgettext_lazy("gate", "Costs known"),
    "released": pgettext_lazy("gate", "Fell below the release level before"),
    "cooldown": pgettext_lazy("gate", "Not cooling down"),
}
YES_OR_NO = {"synced", "warm", "cost_known", "released", "cooldown"}
RESULT_NAMES = {"tp": _("target reached"), "sl": _("stopped"), "timeout": _("timed out"), "unseen": _("not observed")}
STATE_NAMES = {"live": _("live"), "stale": _("stale"), "warming": _("warming up")}
MARKET_NAMES = {"spot": _("Spot"), "usdm": _("USD-M futures")}

FEATURES_BY_NAME = {feature.name: feature for feature in FEATURES}

register.filter("price", formats.price_text)
register.filter("percent", formats.percent_text)
register.filter("bps", formats.bps_text)
register.filter("signed_bps", formats.signed_bps_text)
register.filter("age", formats.age_text)


class Frame(NamedTuple):
    """What the frame round each page shows."""

    mode: str
    market: Any
    theme: str
    strategies: list[Strategy]


@register.simple_tag(takes_context=True)
def surge_frame(context: dict[str, Any]) -> Frame:
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    strategies = list(Strategy.objects.all()) if user is not None and user.is_authenticated else []
    market = MARKET_NAMES.get(settings.SURGE_MARKET, settings.SURGE_MARKET)
    return Frame(settings.SURGE_MODE, market, theme_get(request), strategies)


def theme_get(request: HttpRequest | None) -> str:
    chosen = request.COOKIES.get(THEME_COOKIE) if request else None
    return chosen if chosen in THEMES else THEMES[0]


@register.filter
def gate_name(name: str) -> Any:
    return GATE_NAMES.get(name, name)


@register.filter
def reason_text(names: str | None) -> str:
    """Return what holds a signal back: the names of the failed gates as words."""
    return ", ".join(str(gate_name(name)) for name in (names or "").split(", ") if name)


@register.filter
def is_yes_or_no(gate: str) -> bool:
    return gate in YES_OR_NO


@register.filter
def result_name(result: str) -> Any:
    return RESULT_NAMES.get(result, result)


@register.filter
def state_name(state: str) -> Any:
    return STATE_NAMES.get(state, state)


@register.filter
def feature_text(name: str) -> str:
    """Return what a feature says, in the reader's language; an unknown name stays a name."""
    feature = FEATURES_BY_NAME.get(name)
    if feature is None:
        return name
    return feature.text_zh if (get_language() or "").startswith("zh") else feature.text_en


@register.filter
def figure(value: Any) -> str:
    """Return a number of unknown size: four meaningful digits, no exponent for everyday sizes."""
    if not formats.is_number(value):
        return formats.DASH
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        return f"{value:.2e}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


@register.filter
def share_of(part: float, whole: float) -> str:
    """Return a part as a percentage of the whole for an SVG length, within 0 to 100."""
    share = part / whole if whole else 0.0
    return f"{100 * min(1.0, max(0.0, share)):.1f}%"


@register.filter
def as_share(p: Any) -> str:
    return share_of(p if formats.is_number(p) else 0.0, 1.0)


@register.filter
def as_data(value: Any) -> str:
    """Return a number for a data attribute, the same in every language; empty when there is none."""
    return repr(float(value)) if formats.is_number(value) else ""


@register.filter
def direction(bps: Any, kind: str = "") -> str:
    """Return the colour class of a change; of a gain, only what is above nothing is coloured."""
    text = formats.signed_bps_text(bps)
    if text.startswith("+"):
        return "up"
    return "down" if text.startswith("-") and kind != "gain" else ""


@register.filter
def when(iso: str) -> datetime:
    return datetime.fromisoformat(iso).astimezone(UTC)


@register.filter
def base_asset(symbol: str) -> str:
    return symbol.removesuffix("USDT") or symbol


@register.filter
def quote_asset(symbol: str) -> str:
    return "USDT" if symbol.endswith("USDT") and symbol != "USDT" else ""


@register.filter
def as_number(text: str) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


class CostBar(NamedTuple):
    """One part of the costs as a stretch of the bar."""

    key: str
    name: Any
    bps: float
    start: str
    width: str


COST_NAMES = {"fees_bps": _("fees"), "spread_bps": _("spread"), "slippage_bps": _("slippage")}


@register.simple_tag
def cost_bars(signal: dict[str, Any]) -> list[CostBar]:
    parts = {key: value for key in COST_NAMES if formats.is_number(value := signal["cost_parts"].get(key))}
    whole, start, bars = sum(parts.values()), 0.0, []
    for key, bps in parts.items():
        width = share_of(bps, whole)
        bars.append(CostBar(key.removesuffix("_bps"), COST_NAMES[key], bps, share_of(start, whole), width))
        start += bps
    return bars
