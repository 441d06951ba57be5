"""Addresses of the interface for programs, version 1."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from signals import api

app_name = "api"

urlpatterns = [
    path("signals/", api.SignalList.as_view(), name="signals"),
    path("signals/<uuid:public_id>/", api.SignalDetail.as_view(), name="signal"),
    path("symbols/", api.SymbolList.as_view(), name="symbols"),
    path("symbols/<str:symbol>/chart/", api.SymbolChart.as_view(), name="symbol_chart"),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api:schema"), name="docs"),
]
