"""Prometheus reads its figures here, with a bearer token or as staff; nobody else does."""

import secrets

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django_prometheus.exports import ExportToDjangoView


@login_not_required  # a scraper has a token, not a session
def metrics(request: HttpRequest) -> HttpResponse:
    if not (_has_token(request) or (request.user.is_active and request.user.is_staff)):
        return HttpResponse("Send the token of SURGE_METRICS_TOKEN as a bearer token.\n", status=403)
    return ExportToDjangoView(request)


def _has_token(request: HttpRequest) -> bool:
    token = settings.SURGE_METRICS_TOKEN
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    return bool(token) and secrets.compare_digest(sent, token.encode())
