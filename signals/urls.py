"""Addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from signals import sse, views

urlpatterns = [
    path("", views.board, name="board"),
    path("signals/feed/", views.feed, name="feed"),
    path("signals/tally/", views.tally, name="tally"),
    path("signals/<uuid:public_id>/card/", views.signal_card, name="signal_card"),
    path("preferences/", views.preferences, name="preferences"),
    path("events/", sse.events, name="events"),
    path("login/", views.Door.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
