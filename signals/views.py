"""The pages: the Surge Board with its live parts, the reader's preferences, the door."""

import time
from datetime import timedelta
from typing import Any, NamedTuple

import redis
from django.conf import settings
from django.contrib.auth.views import LoginView
from django.db.models import Avg, Count, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from modeling.selectors import champion_get
from signals.board import STALE_AFTER_MS, Board, board_now
from signals.models import SignalOutcome
from signals.selectors import board_rows, signal_list, signal_row, strategy_list_active
from signals.templatetags.surge import GATE_NAMES, STATE_NAMES, THEME_COOKIE, THEMES

FEED_LENGTH = 40
RANGES_MIN = (15, 60, 360)
BLANK_ROW = {"symbol": "", "state": "live", "reason": None} | dict.fromkeys(
    ("p", "utility_bps", "price", "spread_bps", "change_60s_bps", "age_ms")
)
YEAR_S = 365 * 24 * 3600


class Tally(NamedTuple):
    """What the signals of the last 24 hours came to."""

    signals: int
    settled: int
    reached: int
    net_bps: float | None


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    shown, problem = board_read()
    symbol = request.GET.get("symbol") or (shown.rows[0]["symbol"] if shown.rows else "")
    active = strategy_list_active()
    context = {
        "board": shown,
        "problem": problem,
        "signals": feed_rows(),
        "symbol": symbol,
        "chosen": next((row for row in shown.rows if row["symbol"] == symbol), None),
        "minutes": minutes_read(request),
        "ranges": RANGES_MIN,
        "p_min": min((strategy.p_min for strategy in active), default=None),
        "tally": tally_day(),
        "model_version": champion_get(settings.SURGE_MODE),
        "page": page_settings(request),
        "blank_row": BLANK_ROW,
    }
    return render(request, "signals/board.html", context)


@require_safe
def feed(request: HttpRequest) -> HttpResponse:
    return render(request, "signals/_feed.html", {"signals": feed_rows()})


@require_safe
def tally(request: HttpRequest) -> HttpResponse:
    return render(request, "signals/_tally.html", {"tally": tally_day()})


@require_safe
def signal_card(request: HttpRequest, public_id: str) -> HttpResponse:
    signal = get_object_or_404(signal_list(mode=settings.SURGE_MODE), public_id=public_id)
    return render(request, "signals/_signal.html", {"signal": signal_row(signal)})


def board_read() -> tuple[Board, str]:
    """Return the board and, when it cannot be read, why; a page with a reason beats an error page."""
    try:
        return board_now(board_rows(settings.SURGE_MODE), time.time_ns()), ""
    except redis.RedisError as error:
        return board_now([], time.time_ns()), type(error).__name__


def feed_rows() -> list[dict[str, Any]]:
    return [signal_row(signal) for signal in signal_list(mode=settings.SURGE_MODE)[:FEED_LENGTH]]


def tally_day() -> Tally:
    since = timezone.now() - timedelta(days=1)
    counts = signal_list(mode=settings.SURGE_MODE, since=since).aggregate(
        signals=Count("id"),
        settled=Count("outcome", filter=~Q(outcome__result=SignalOutcome.Result.UNSEEN)),
        reached=Count("outcome", filter=Q(outcome__result=SignalOutcome.Result.TAKE_PROFIT)),
        net_bps=Avg("outcome__net_bps"),
    )
    return Tally(**counts)


def minutes_read(request: HttpRequest) -> int:
    told = request.GET.get("minutes", "")
    return int(told) if told in {str(minutes) for minutes in RANGES_MIN} else RANGES_MIN[0]


def page_settings(request: HttpRequest) -> dict[str, Any]:
    """Return what the page's scripts need: addresses, limits and every word they may say."""
    return {
        "events": reverse("events"),
        "symbols": reverse("api:symbols"),
        "feed": reverse("feed"),
        "tally": reverse("tally"),
        "card": reverse("signal_card", args=["00000000-0000-0000-0000-000000000000"]),
        "chart": reverse("api:symbol_chart", args=["SYMBOL"]),
        "login": f"{reverse(settings.LOGIN_URL)}?next=",
        "now_ms": time.time_ns() // 1_000_000,
        "stale_after_ms": STALE_AFTER_MS,
        "locale": request.LANGUAGE_CODE if hasattr(request, "LANGUAGE_CODE") else settings.LANGUAGE_CODE,
        "words": page_words(),
    }


def page_words() -> dict[str, str]:
    states = {f"state_{state}": str(name) for state, name in STATE_NAMES.items()}
    gates = {f"gate_{gate}": str(name) for gate, name in GATE_NAMES.items()}
    return (
        states
        | gates
        | {
            "live": _("Live"),
            "data_stale": _("Data stale"),
            "reconnecting": _("Reconnecting"),
            "connecting": _("Connecting"),
            "refused": _("Too many live pages open"),
            "signed_out": _("Signed out"),
            "offline": _("You are offline"),
            "dismiss": _("Dismiss"),
            "toast": _("probability {p}, utility {utility} bps"),
            "price": _("Price"),
            "probability": _("Probability"),
            "chart_loading": _("Loading the chart"),
            "chart_empty": _(
                "No scores stored for this coin yet. The chart fills by itself as the live worker scores it."
            ),
            "chart_error": _("The chart could not be loaded. It is tried again in a few seconds."),
            "no_match": _("No coin matches. Press Escape to clear the search."),
            "order_paused": _("Order paused while you point at the table"),
        }
    )


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    response = preferences_apply(request)
    if response is None:
        raise Http404
    return response


def preferences_apply(request: HttpRequest) -> HttpResponse | None:
    """Return the answer to a choice of theme or language, or None when the form holds neither."""
    theme, language = request.POST.get("theme"), request.POST.get("language")
    is_script = request.headers.get("Accept") == "application/json"
    response = HttpResponse(status=204) if is_script else HttpResponseRedirect(next_address(request))
    if theme in THEMES:
        _remember(request, response, THEME_COOKIE, str(theme))
    elif language in dict(settings.LANGUAGES):
        _remember(request, response, settings.LANGUAGE_COOKIE_NAME, str(language))
    else:
        return None
    return response


def next_address(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else reverse("board")


def _remember(request: HttpRequest, response: HttpResponse, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=YEAR_S, samesite="Lax", httponly=True, secure=request.is_secure())


class Door(LoginView):
    """The login page; it takes theme and language too, because nothing else is open before the login."""

    template_name = "registration/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return preferences_apply(request) or super().post(request, *args, **kwargs)
