"""Which socket a stream belongs on: Binance splits futures streams by route, and every socket has room for so many."""

from typing import NamedTuple

from marketdata.binance.pacing import batches
from marketdata.events import Market

_PUBLIC_KINDS = ("depth", "bookTicker", "rpiDepth")


class Shard(NamedTuple):
    """The streams of one connection. `route` is the path before `/stream`: "" on spot."""

    route: str
    streams: tuple[str, ...]


def route_of(market: Market, stream: str) -> str:
    """Futures carry books on /public and everything else on /market; a stream on the wrong one is silent."""
    if market is Market.SPOT:
        return ""
    kind = stream.partition("@")[2] or stream.removeprefix("!")
    return "/public" if kind.startswith(_PUBLIC_KINDS) else "/market"


def shards(market: Market, streams: list[str], cap: int) -> list[Shard]:
    """Deal `streams` to as few connections as routes and `cap` allow, in the order given."""
    if cap < 1:
        raise ValueError(f"a connection carries at least one stream, not {cap}")
    by_route: dict[str, list[str]] = {}
    for stream in dict.fromkeys(streams):
        by_route.setdefault(route_of(market, stream), []).append(stream)
    return [Shard(route, tuple(part)) for route, names in by_route.items() for part in batches(names, cap)]
