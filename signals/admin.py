"""The admin: strategies may be changed, the ledger of signals and outcomes may only be read."""

import json
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from signals.formats import percent_text, price_text, signed_bps_text
from signals.models import Signal, SignalOutcome, Strategy

COUNT_LIMIT = 10_000


class EstimatedPaginator(Paginator):
    """Pages of a table of any size: counts exactly up to a limit, then believes PostgreSQL's own estimate."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet = self.object_list.order_by()
        counted = rows[:COUNT_LIMIT].count()
        if counted < COUNT_LIMIT or rows.query.where:
            return counted
        return max(counted, self._estimate(rows.model._meta.db_table))

    def _estimate(self, table: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [f'"{table}"'])
            return int(cursor.fetchone()[0])


class ReadOnlyAdmin(admin.ModelAdmin):
    """A ledger: nobody adds, changes or deletes here."""

    paginator = EstimatedPaginator
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Strategy)
class StrategyAdmin(admin.ModelAdmin):
    list_display = [
        "name",
        "tier",
        "is_active",
        "p_min",
        "utility_min_bps",
        "notional_quote",
        "cooldown_s",
        "updated_at",
    ]
    list_filter = ["tier", "is_active"]
    search_fields = ["name"]
    readonly_fields = ["created_at", "updated_at"]
    show_full_result_count = False
    fieldsets = [
        (None, {"fields": ["name", "tier", "is_active"]}),
        (_("When a signal fires"), {"fields": ["p_min", "utility_min_bps", "max_spread_bps", "min_depth_ratio"]}),
        (_("How often"), {"fields": ["cooldown_s", "release_ratio"]}),
        (_("For which position"), {"fields": ["notional_quote"]}),
        (_("History"), {"fields": ["created_at", "updated_at"]}),
    ]


class OutcomeInline(admin.StackedInline):
    model = SignalOutcome
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Signal)
class SignalAdmin(ReadOnlyAdmin):
    list_display = ["decided", "symbol", "strategy", "probability", "utility", "ask", "result", "on_board"]
    list_display_links = ["decided"]
    list_filter = ["strategy__tier", "market"]
    list_select_related = ["strategy", "outcome"]
    search_fields = ["=symbol"]
    search_help_text = _("Write the whole symbol, for example BTCUSDT.")
    exclude = ["gates", "features", "cost_parts", "barriers"]
    readonly_fields = ["gates_text", "features_text", "costs_text", "barriers_text"]
    inlines = [OutcomeInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Signal]:
        signals: QuerySet[Signal] = super().get_queryset(request)
        return signals.filter(mode=settings.SURGE_MODE)

    @admin.display(description=_("decided (UTC)"), ordering="decided_ns")
    def decided(self, signal: Signal) -> str:
        return f"{signal.decided_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("probability"), ordering="p_tp")
    def probability(self, signal: Signal) -> str:
        return percent_text(signal.p_tp)

    @admin.display(description=_("utility (bps)"), ordering="utility_bps")
    def utility(self, signal: Signal) -> str:
        return signed_bps_text(signal.utility_bps)

    @admin.display(description=_("price"), ordering="price")
    def ask(self, signal: Signal) -> str:
        return price_text(float(signal.price))

    @admin.display(description=_("outcome"))
    def result(self, signal: Signal) -> str:
        outcome = getattr(signal, "outcome", None)
        return str(outcome) if outcome else "–"

    @admin.display(description=_("board"))
    def on_board(self, signal: Signal) -> str:
        return format_html('<a href="{}?symbol={}">{}</a>', reverse("board"), signal.symbol, _("chart"))

    @admin.display(description=_("gates"))
    def gates_text(self, signal: Signal) -> str:
        return json_text(signal.gates)

    @admin.display(description=_("features"))
    def features_text(self, signal: Signal) -> str:
        return json_text(signal.features)

    @admin.display(description=_("cost parts"))
    def costs_text(self, signal: Signal) -> str:
        return json_text(signal.cost_parts)

    @admin.display(description=_("barriers"))
    def barriers_text(self, signal: Signal) -> str:
        return json_text(signal.barriers)


@admin.register(SignalOutcome)
class SignalOutcomeAdmin(ReadOnlyAdmin):
    list_display = ["signal", "result", "net_bps", "return_bps", "mfe_bps", "mae_bps", "created_at"]
    list_display_links = ["signal"]
    list_filter = ["result"]
    list_select_related = ["signal"]
    search_fields = ["=signal__symbol"]
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SignalOutcome]:
        outcomes: QuerySet[SignalOutcome] = super().get_queryset(request)
        return outcomes.filter(signal__mode=settings.SURGE_MODE)


def json_text(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=1, ensure_ascii=False))
