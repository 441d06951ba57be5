"""DOOR: the weight budget of an address, shared through Redis by all processes that send from it.

    surge:weight:{venue}:{minute}   weight used in that UTC minute
    surge:weight:{venue}:shut       until when the exchange refuses, UTC seconds: it outlives every process

Each step is one Lua script, so two processes never spend the same weight. While Redis is away each process keeps to
the budget it knows itself, and says so once.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

from marketdata.binance.weight_budget import MINUTE_S, Grant, WeightBudget

log = logging.getLogger(__name__)

_TAKE = """
local shut = tonumber(redis.call('GET', KEYS[2]) or '0')
local now = tonumber(ARGV[1])
if now < shut then return {'shut', tostring(shut)} end
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local weight = tonumber(ARGV[2])
if used > 0 and used + weight > tonumber(ARGV[3]) then return {'full', tostring(used)} end
redis.call('INCRBY', KEYS[1], weight)
redis.call('EXPIRE', KEYS[1], 120)
return {'sent', tostring(used + weight)}
"""

_NOTE_USED = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > used then redis.call('SET', KEYS[1], ARGV[1], 'EX', 120) end
return 1
"""

_SHUT = """
local shut = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > shut then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return 1
"""


class Store(Protocol):
    """What is needed of a Redis client."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


class SharedWeight:
    """Blocking: call it from a thread.

    Parameters
    ----------
    store : Store or None
        A Redis client with short time-outs; None keeps the budget in this process alone.
    venue : str
        What is counted together, such as "spot" or "usdm".
    clock_s : callable
        UTC seconds.
    """

    def __init__(self, store: Store | None, venue: str, budget: WeightBudget, clock_s: Callable[[], float]) -> None:
        self._store = store
        self._venue = venue
        self._budget = budget
        self._clock_s = clock_s
        self._is_away = False

    def take(self, weight: int) -> Grant:
        """Ask to send a request of this weight; a grant without a wait is counted already."""
        now_s = self._clock_s()
        if now_s < self._budget.shut_until_s:
            return self._budget.take(weight, now_s)
        minute_key, shut_key = self._keys(now_s)
        answer = self._run(_TAKE, minute_key, shut_key, args=(now_s, weight, self._budget.allowance))
        if answer is None:
            return self._budget.take(weight, now_s)
        verdict, number = (part.decode() if isinstance(part, bytes) else str(part) for part in answer)
        if verdict == "shut":
            self._budget.shut(float(number) - now_s, now_s)
            return Grant(float(number) - now_s, True)
        self._budget.note_used(int(number), now_s)
        return Grant(0.0) if verdict == "sent" else Grant(MINUTE_S - now_s % MINUTE_S)

    def note_used(self, used: int) -> None:
        """What the exchange says it counted in this minute."""
        now_s = self._clock_s()
        self._budget.note_used(used, now_s)
        self._run(_NOTE_USED, self._keys(now_s)[0], args=(used,))

    def shut(self, wait_s: float) -> None:
        """The exchange refused one of us: nobody sends for `wait_s`."""
        now_s = self._clock_s()
        self._budget.shut(wait_s, now_s)
        self._run(_SHUT, self._keys(now_s)[1], args=(now_s + wait_s, int(wait_s) + 2))

    def _keys(self, now_s: float) -> tuple[str, str]:
        return f"surge:weight:{self._venue}:{int(now_s // MINUTE_S)}", f"surge:weight:{self._venue}:shut"

    def _run(self, script: str, *keys: str, args: tuple[Any, ...]) -> Any:
        """Run a script; None when there is no Redis to run it."""
        if self._store is None:
            return None
        try:
            answer = self._store.eval(script, len(keys), *keys, *args)
        except Exception as error:  # whatever a client raises for a server that is away, loading or full
            if not self._is_away:
                log.warning("the shared weight budget is away (%s): each process keeps to its own", error)
            self._is_away = True
            return None
        if self._is_away:
            log.warning("the shared weight budget is back")
        self._is_away = False
        return answer
