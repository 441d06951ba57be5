"""DOOR: a websocket handshake read as an HTTP request, and its refusal written as the answer."""

import email.utils
import http
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

from marketdata.simulator.target import Answer, Target


def read_target(path: str) -> Target:
    parts = urlsplit(path)
    return Target(unquote(parts.path), {name: values[0] for name, values in parse_qs(parts.query).items()})


def written(answer: Answer) -> Response:
    headers = Headers(
        [
            ("Date", email.utils.formatdate(usegmt=True)),
            ("Connection", "close"),
            ("Content-Length", str(len(answer.body))),
            ("Content-Type", "application/json;charset=UTF-8"),
            *answer.headers,
        ]
    )
    return Response(answer.status, http.HTTPStatus(answer.status).phrase, headers, answer.body)
