"""Capture lines made by hand: the small cast of the book and replay tests."""

from typing import Any

import orjson

from marketdata.events import NS_PER_S
from marketdata.frames import capture_line

START_NS = 1_700_000_000 * NS_PER_S
MS = 1_000_000


def line(recv_ns: int, stream: str, data: Any, *, generated: bool = False) -> bytes:
    message: dict[str, Any] = {"stream": stream}
    if generated:
        message["generated"] = True
    return capture_line(recv_ns, orjson.dumps(message | {"data": data}))


def diff(
    recv_ns: int,
    first_id: int,
    last_id: int,
    bids: list[tuple[str, str]] = [],  # noqa: B006 - never changed
    asks: list[tuple[str, str]] = [],  # noqa: B006
    *,
    symbol: str = "BTCUSDT",
    prev_id: int | None = None,
) -> bytes:
    """A depth diff; with `prev_id` it has the shape of USD-M, without it that of spot."""
    body: dict[str, Any] = {"e": "depthUpdate", "E": recv_ns // MS}
    if prev_id is not None:
        body["T"] = recv_ns // MS
    body |= {"s": symbol, "U": first_id, "u": last_id}
    if prev_id is not None:
        body["pu"] = prev_id
    body |= {"b": bids, "a": asks}
    return line(recv_ns, f"{symbol.lower()}@depth@100ms", body)


def snapshot(
    recv_ns: int, last_id: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]], *, symbol: str = "BTCUSDT"
) -> bytes:
    body = {"lastUpdateId": last_id, "bids": bids, "asks": asks}
    return line(recv_ns, f"{symbol.lower()}@depthSnapshot", body, generated=True)


def agg_trade(
    recv_ns: int, trade_id: int, price: str, qty: str, *, sell: bool = False, symbol: str = "BTCUSDT"
) -> bytes:
    ms = recv_ns // MS
    body = {
        "e": "aggTrade",
        "E": ms,
        "s": symbol,
        "a": trade_id,
        "p": price,
        "q": qty,
        "f": 1,
        "l": 1,
        "T": ms,
        "m": sell,
    }
    return line(recv_ns, f"{symbol.lower()}@aggTrade", body | {"M": True})


def ticker(recv_ns: int, bid: str, ask: str, *, update_id: int = 1, symbol: str = "BTCUSDT") -> bytes:
    body = {"u": update_id, "s": symbol, "b": bid, "B": "1.5", "a": ask, "A": "2.5"}
    return line(recv_ns, f"{symbol.lower()}@bookTicker", body)
