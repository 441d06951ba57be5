"""The interface for programs: each view checks the question, asks a selector, and answers with rows."""

import time
from typing import Any

import redis
from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import APIException
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketdata.archive import ArchiveError
from marketdata.features.replay import GRID_NS
from signals.board import Board, board_now
from signals.charts import ChartLabels, SignalMark, symbol_figure
from signals.formats import percent_text, signed_bps_text
from signals.models import Signal
from signals.selectors import ScoreSeries, board_rows, score_series, signal_list, strategy_list_active
from signals.serializers import (
    BoardSerializer,
    ChartRangeSerializer,
    ChartSerializer,
    SignalFilterSerializer,
    SignalSerializer,
)
from signals.sse import without_nan
from signals.templatetags.surge import RESULT_NAMES

NS_PER_MINUTE = 60 * 1_000_000_000
MOST_MARKS = 300


class StoreUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "store_unavailable"


class NewestFirst(CursorPagination):
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    ordering = ("-decided_ns", "-id")


@extend_schema(parameters=[SignalFilterSerializer])
class SignalList(generics.ListAPIView):
    """Signals, newest first."""

    serializer_class = SignalSerializer
    pagination_class = NewestFirst
    queryset = Signal.objects.none()

    def get_queryset(self) -> QuerySet[Signal]:
        question = SignalFilterSerializer(data=self.request.query_params)
        question.is_valid(raise_exception=True)
        return signal_list(mode=settings.SURGE_MODE, **question.validated_data)


class SignalDetail(generics.RetrieveAPIView):
    """One signal with the numbers behind it."""

    serializer_class = SignalSerializer
    lookup_field = "public_id"
    queryset = Signal.objects.none()

    def get_queryset(self) -> QuerySet[Signal]:
        return signal_list(mode=settings.SURGE_MODE)


class SymbolList(APIView):
    """The board as it stands now, most probable first."""

    @extend_schema(responses=BoardSerializer)
    def get(self, request: Request) -> Response:
        board = board_read()
        counts = {"live": board.live, "warming": board.warming, "stale": board.stale}
        told = {"state": board.state, "age_ms": board.age_ms, "now_ms": time.time_ns() // 1_000_000, **counts}
        return Response(without_nan({**told, "rows": board.rows}))


class SymbolChart(APIView):
    """Price, probability and signals of one coin as a Plotly figure."""

    @extend_schema(
        parameters=[ChartRangeSerializer, OpenApiParameter("symbol", OpenApiTypes.STR, OpenApiParameter.PATH)],
        responses=ChartSerializer,
    )
    def get(self, request: Request, symbol: str) -> Response:
        question = ChartRangeSerializer(data=request.query_params)
        question.is_valid(raise_exception=True)
        minutes = question.validated_data["minutes"]
        until_ns = time.time_ns()
        series = series_read(symbol, until_ns - minutes * NS_PER_MINUTE, until_ns)
        marks = signal_marks(symbol, until_ns - minutes * NS_PER_MINUTE)
        if not len(series.tick_ns) and not marks and not is_on_board(symbol):
            raise Http404
        figure = symbol_figure(symbol, series.tick_ns, series.mid, series.p, marks, p_min_lowest(), chart_labels())
        return Response({"symbol": symbol, "minutes": minutes, "points": len(series.tick_ns), "figure": figure})


def board_read() -> Board:
    try:
        return board_now(board_rows(settings.SURGE_MODE), time.time_ns())
    except redis.RedisError as error:
        raise StoreUnavailable(_("Redis does not answer, so there is no board. Is ./surge up running?")) from error


def series_read(symbol: str, since_ns: int, until_ns: int) -> ScoreSeries:
    try:
        return score_series(symbol, since_ns, until_ns, limit=(until_ns - since_ns) // GRID_NS + 1)
    except ArchiveError as error:
        detail = _("ClickHouse does not answer, so there is no chart. Is ./surge up running?")
        raise StoreUnavailable(detail) from error


def is_on_board(symbol: str) -> bool:
    return any(row["symbol"] == symbol for row in board_read().rows)


def p_min_lowest() -> float | None:
    return min((strategy.p_min for strategy in strategy_list_active()), default=None)


def signal_marks(symbol: str, since_ns: int) -> list[SignalMark]:
    signals = signal_list(mode=settings.SURGE_MODE, symbol=symbol).filter(decided_ns__gte=since_ns)[:MOST_MARKS]
    return [signal_mark(signal) for signal in reversed(signals)]


def signal_mark(signal: Signal) -> SignalMark:
    outcome: Any = getattr(signal, "outcome", None)
    parts = [f"{signal.strategy.tier} {percent_text(signal.p_tp)}", f"{signed_bps_text(signal.utility_bps)} bps"]
    if outcome:
        parts.append(f"{RESULT_NAMES[outcome.result]} {signed_bps_text(outcome.net_bps)} bps")
    return SignalMark(
        signal.decided_ns // 1_000_000, float(signal.price), " · ".join(parts), outcome.result if outcome else None
    )


def chart_labels() -> ChartLabels:
    return ChartLabels(_("Price"), _("Probability"), _("Signals"), _("threshold"))
