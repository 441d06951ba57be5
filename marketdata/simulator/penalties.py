"""How the exchange punishes an address that asks too much: 429 until the minute is over, then bans that grow."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from marketdata.events import NS_PER_S

MINUTE_NS = 60 * NS_PER_S
TOLERATED = 5
"""Calls during a 429 that are forgiven; the next one is a ban."""

SHORTEST_BAN_NS = 2 * MINUTE_NS
LONGEST_BAN_NS = 3 * 86_400 * NS_PER_S
CONNECTS_PER_5_MIN = 300


class Verdict(NamedTuple):
    """An HTTP status that is not 200, and how long it lasts."""

    status: int
    wait_ns: int


@dataclass
class Penalties:
    """One address's account. Times are ns of the exchange's clock, so that a state file survives a restart.

    `early` counts the calls that came although a 429 or a ban forbade them: a good client has none, but for those
    that were under way. `refusals` counts the times the weight was used up.
    """

    minute: int = -1
    used_weight: int = 0
    refused_until_ns: int = 0
    banned_until_ns: int = 0
    bans: int = 0
    ignored: int = 0
    early: int = 0
    refusals: int = 0
    connects: tuple[int, ...] = ()

    def charge(self, weight: int, limit: int, now_ns: int) -> Verdict | None:
        """Count a call of `weight`; return how it is refused, None when it is welcome."""
        if now_ns // MINUTE_NS != self.minute:
            self.minute, self.used_weight = now_ns // MINUTE_NS, 0
        if now_ns < self.banned_until_ns:
            self.early += 1
            return Verdict(418, self.banned_until_ns - now_ns)
        self.used_weight += weight
        if now_ns < self.refused_until_ns:
            return self._ignore(now_ns)
        self.ignored = 0
        if self.used_weight > limit:
            self.refusals += 1
            self.refuse(MINUTE_NS - now_ns % MINUTE_NS, now_ns)
            return Verdict(429, self.refused_until_ns - now_ns)
        return None

    def refuse(self, wait_ns: int, now_ns: int) -> None:
        """Answer 429 for so long."""
        self.refused_until_ns = now_ns + wait_ns

    def ban(self, wait_ns: int, now_ns: int) -> None:
        self.bans += 1
        self.banned_until_ns = now_ns + wait_ns

    def _ignore(self, now_ns: int) -> Verdict:
        self.early += 1
        self.ignored += 1
        if self.ignored <= TOLERATED:
            return Verdict(429, self.refused_until_ns - now_ns)
        self.ignored = 0
        self.ban(min(LONGEST_BAN_NS, SHORTEST_BAN_NS << min(self.bans, 20)), now_ns)
        return Verdict(418, self.banned_until_ns - now_ns)

    def may_connect(self, now_ns: int) -> bool:
        """Count a websocket connect: at most 300 in 5 minutes."""
        recent = [at for at in self.connects if at > now_ns - 5 * MINUTE_NS]
        self.connects = (*recent, now_ns)
        return len(self.connects) <= CONNECTS_PER_5_MIN

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Penalties":
        return cls(**kept | {"connects": tuple(kept.get("connects", ()))})
