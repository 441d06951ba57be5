"""What a request costs and whether it may be sent now: Binance's minute window and its refusals, as a machine.

The window is the UTC clock minute. A refusal (429, 418, 403) shuts the address for as long as it says; a ban that lasts
must outlive the process, so `shut_until_s` is wall-clock time.
"""

from dataclasses import dataclass
from typing import NamedTuple

from marketdata.events import Market

MINUTE_S = 60.0
USED_SHARE = 0.8
"""Of what the exchange allows: other programs of the address, and what we count wrong, have the rest."""

LIMITS = {Market.SPOT: 6000, Market.USDM: 2400}
_DEPTH_WEIGHTS = {
    Market.SPOT: ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    Market.USDM: ((50, 2), (100, 5), (500, 10), (1000, 20)),
}
_WEIGHTS = {
    Market.SPOT: {"ping": 1, "time": 1, "exchangeInfo": 20, "aggTrades": 4, "klines": 2},
    Market.USDM: {"ping": 1, "time": 1, "exchangeInfo": 1, "aggTrades": 20, "klines": 10, "premiumIndex": 10},
}
_UNKNOWN_WEIGHT = 10


def request_weight(market: Market, name: str, limit: int | None = None) -> int:
    """What `name` costs; depth costs by its limit (reference: the exchange's documents, 2026-10)."""
    if name != "depth":
        return _WEIGHTS[market].get(name, _UNKNOWN_WEIGHT)
    steps = _DEPTH_WEIGHTS[market]
    return next((weight for most, weight in steps if (limit or 500) <= most), steps[-1][1])


class Grant(NamedTuple):
    """wait_s is 0 when the request may be sent now; is_shut tells a refusal of the exchange from our own thrift."""

    wait_s: float
    is_shut: bool = False


@dataclass
class WeightBudget:
    """The budget of one address, kept by one process. All times are UTC seconds.

    Parameters
    ----------
    limit : int
        Weight that the exchange allows in a minute.
    """

    limit: int
    used_share: float = USED_SHARE
    minute: int = -1
    used: int = 0
    shut_until_s: float = 0.0

    @property
    def allowance(self) -> int:
        return int(self.limit * self.used_share)

    def take(self, weight: int, now_s: float) -> Grant:
        """Ask to send a request; when it may be sent it is counted."""
        if now_s < self.shut_until_s:
            return Grant(self.shut_until_s - now_s, True)
        self._turn(now_s)
        if self.used + weight > self.allowance and self.used > 0:
            return Grant((self.minute + 1) * MINUTE_S - now_s)
        self.used += weight
        return Grant(0.0)

    def note_used(self, used: int, now_s: float) -> None:
        """What the exchange counted for the address in this minute, by its answer's header: it knows better."""
        self._turn(now_s)
        self.used = max(self.used, used)

    def shut(self, wait_s: float, now_s: float) -> None:
        """The exchange refused: nothing is sent for `wait_s`."""
        self.shut_until_s = max(self.shut_until_s, now_s + wait_s)

    def _turn(self, now_s: float) -> None:
        minute = int(now_s // MINUTE_S)
        if minute > self.minute:
            self.minute, self.used = minute, 0
