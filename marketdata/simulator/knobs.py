"""The knobs of the simulated exchange: one function each, called by tests, `/sim/<knob>?...` and schedules alike.

`FAULTS` says for each of the 39 faults of the reliability standard which knob makes it, or who makes it instead.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from marketdata.simulator.faults import Faults
from marketdata.simulator.rest_desk import RestDesk
from marketdata.simulator.rest_faults import RestFault
from marketdata.simulator.subscriptions import ACK_FAULTS
from marketdata.simulator.venue import LivingVenue, Venue


class Sockets(Protocol):
    """What can be done to the connections of all clients."""

    def cut(self, code: int, symbol: str) -> int: ...

    def reset(self, symbol: str) -> int: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def announce_shutdown(self, after_s: float, shape: str) -> int: ...

    def inject(self, kind: str, count: int, size: int, stream: str) -> int: ...

    def trickle(self, bytes_per_s: int) -> None: ...

    def ping(self, count: int) -> int: ...

    def live_for(self, seconds: float) -> None: ...

    def go_down(self, for_s: float) -> None: ...

    def fault_acks(self, kind: str, count: int) -> None: ...

    def heal(self) -> None: ...


class Exchange(Protocol):
    venue: Venue
    faults: Faults
    rest_desk: RestDesk

    @property
    def sockets(self) -> Sockets: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def pause_for(self, seconds: float) -> None: ...


class Knob(NamedTuple):
    """A knob: what it is called, what it does, and its parameters with their defaults."""

    name: str
    text: str
    parameters: dict[str, inspect.Parameter]
    turn: Callable[..., object]


KNOBS: dict[str, Knob] = {}


def knob(function: Callable[..., object]) -> Callable[..., object]:
    """Enter a function whose first argument is the exchange."""
    parameters = dict(list(inspect.signature(function).parameters.items())[1:])
    name = function.__name__
    KNOBS[name] = Knob(name, inspect.getdoc(function) or "", parameters, function)
    return function


def turn(exchange: Exchange, name: str, words: dict[str, Any]) -> object:
    """Turn the knob `name`; `words` may be text, as they come from an address. `KeyError` for an unknown knob."""
    entry = KNOBS[name]
    strange = sorted(words.keys() - entry.parameters.keys())
    if strange:
        raise ValueError(f"{name} knows no {', '.join(strange)}; it takes {', '.join(entry.parameters) or 'nothing'}")
    return entry.turn(exchange, **{key: _typed(entry.parameters[key], value) for key, value in words.items()})


def _typed(parameter: inspect.Parameter, value: Any) -> Any:
    kind = parameter.annotation
    if kind is bool:
        return str(value).lower() in ("1", "true", "yes", "on")
    return kind(value)


# Connections


@knob
def cut(exchange: Exchange, code: int = 1006, symbol: str = "") -> object:
    """Hang up with this close code, on all or on who listens to `symbol`; 1006 ends TCP without a close frame."""
    return {"cut": exchange.sockets.cut(code, symbol)}


@knob
def rst(exchange: Exchange, symbol: str = "") -> object:
    """Reset the TCP connections."""
    return {"cut": exchange.sockets.reset(symbol)}


@knob
def freeze(exchange: Exchange) -> None:
    """Half-open: sockets stay open, nothing is read, written or answered, new ones get no handshake. See thaw."""
    exchange.sockets.freeze()


@knob
def thaw(exchange: Exchange) -> None:
    """End a freeze; what was to be sent meanwhile arrives now."""
    exchange.sockets.thaw()


@knob
def shutdown_notice(exchange: Exchange, after_s: float = 0.0, shape: str = "own") -> object:
    """Send the serverShutdown event and hang up after `after_s`; shape is own (as the socket speaks), raw, combined."""
    return {"told": exchange.sockets.announce_shutdown(after_s, shape)}


@knob
def day(exchange: Exchange, seconds: float = 24.0) -> None:
    """From now on every connection, the open ones too, lives for so many seconds."""
    exchange.sockets.live_for(seconds)


@knob
def down(exchange: Exchange, for_s: float = 5.0) -> None:
    """The exchange is gone for so long: connections end and new ones are refused by TCP; time goes on inside."""
    exchange.sockets.go_down(for_s)


@knob
def trickle(exchange: Exchange, bytes_per_s: int = 2000) -> None:
    """Frames leave at so many bytes a second for each connection; 0 is full speed."""
    exchange.sockets.trickle(bytes_per_s)


@knob
def pings(exchange: Exchange, count: int = 20) -> object:
    """Send so many pings to every client at once."""
    return {"clients": exchange.sockets.ping(count)}


@knob
def acks(exchange: Exchange, kind: str = "drop", count: int = 1) -> None:
    """Spoil the answers to the next requests: drop, mute, lost, partial or error."""
    if kind not in ACK_FAULTS:
        raise ValueError(f"no fault {kind!r} of acknowledgements; there are {', '.join(ACK_FAULTS)}")
    exchange.sockets.fault_acks(kind, count)


@knob
def inject(exchange: Exchange, kind: str = "binary", count: int = 1, size: int = 2 << 20, stream: str = "*") -> object:
    """Send frames of no stream to every client: binary, empty, text, number, fragmented, not_utf8 or big."""
    return {"clients": exchange.sockets.inject(kind, count, size, stream)}


# Messages


@knob
def drop(exchange: Exchange, stream: str, count: int = 1) -> None:
    """Lose the next messages of a stream."""
    exchange.faults.drop(stream, count)


@knob
def drop_chance(exchange: Exchange, chance: float, stream: str = "*") -> None:
    """Lose each message with this chance."""
    exchange.faults.drop_chance[stream] = chance


@knob
def stall(exchange: Exchange, stream: str = "*") -> None:
    """Silence a stream; the connection lives and answers pings."""
    exchange.faults.stall(stream)


@knob
def repeat(exchange: Exchange, stream: str = "*") -> None:
    """Say the last message again and again."""
    exchange.faults.repeating.add(stream)


@knob
def retire(exchange: Exchange, stream: str) -> None:
    """Silence a stream for ever: it is acknowledged and says nothing."""
    exchange.faults.retired.add(stream)


@knob
def double(exchange: Exchange, stream: str = "*", count: int = 1) -> None:
    """Send the next messages twice."""
    exchange.faults.doubles[stream] = exchange.faults.doubles.get(stream, 0) + count


@knob
def shuffle(exchange: Exchange, stream: str, window: int = 4) -> None:
    """Send the next `window` messages of a stream in another order."""
    exchange.faults.shuffles[stream] = max(2, window)


@knob
def delay(exchange: Exchange, stream: str = "*", by_s: float = 5.0) -> None:
    """Send everything so much later; with stream=*@depth snapshots run ahead of the diffs."""
    exchange.faults.delays[stream] = by_s


@knob
def spoil(exchange: Exchange, stream: str, kind: str, text: str = "", count: int = 1) -> None:
    """Damage the next messages of a stream: cross, price (text = the price), truncated, wrong_type, enum, ..."""
    exchange.faults.spoil(stream, kind, text, count)


@knob
def skip_ids(exchange: Exchange, symbol: str, ids: int = 1000) -> None:
    """Let a symbol's update ids jump, forwards or (below 0) back as after a restart of the matching engine."""
    _living(exchange).skip_ids(symbol, ids)


@knob
def burst(exchange: Exchange, factor: int = 20, stream: str = "*") -> None:
    """A flash crowd: so many times the trades (each with its own id) and quotes."""
    exchange.faults.bursts[stream] = factor


@knob
def microseconds(exchange: Exchange) -> None:
    """Print all times in microseconds."""
    exchange.faults.microseconds = True


@knob
def skew(exchange: Exchange, by_s: float = 5.0) -> None:
    """Put the exchange's clock forward or back: E, T and /time."""
    exchange.faults.skew_ms = round(by_s * 1000)


# REST


@knob
def rest(
    exchange: Exchange,
    path: str = "*",
    kind: str = "status",
    count: int = 1,
    status: int = 503,
    retry_after_s: int = 0,
    delay_s: float = 0.0,
    symbol: str = "",
) -> None:
    """Spoil the next REST calls of a path (depth, time, ...): status, truncated, html, empty, slow or hang."""
    exchange.rest_desk.faults.plan(RestFault(path, kind, count, status, retry_after_s, delay_s, symbol))


@knob
def weight(exchange: Exchange, used: int) -> None:
    """Say that so much weight of the running minute is used up."""
    exchange.rest_desk.used_weight = used


@knob
def old_snapshot(exchange: Exchange, count: int = 1) -> None:
    """Answer the next calls of depth with the books of this moment, however late they come."""
    exchange.rest_desk.keep_snapshots(count)


@knob
def depth_cap(exchange: Exchange, levels: int = 20) -> None:
    """Snapshots have at most so many levels, so that the price soon walks out of what is known; 0 is no cap."""
    exchange.rest_desk.faults.depth_cap = levels


@knob
def enums(exchange: Exchange) -> None:
    """Add statuses, filters, contract types and fields to exchangeInfo that no document knows."""
    exchange.rest_desk.faults.enums = True


# The market


@knob
def status(exchange: Exchange, symbol: str, status: str = "HALT") -> None:
    """Change a symbol's status; whatever is not TRADING falls silent."""
    _living(exchange).set_status(symbol, status)


@knob
def enlist(exchange: Exchange, symbol: str = "") -> object:
    """List a new symbol (start the exchange with --unlisted)."""
    return {"listed": _living(exchange).enlist(symbol)}


@knob
def delist(exchange: Exchange, symbol: str) -> None:
    """Take a symbol away."""
    _living(exchange).delist(symbol)


@knob
def rename(exchange: Exchange, symbol: str, new: str) -> None:
    """Give a symbol a new name."""
    _living(exchange).rename(symbol, new)


@knob
def pause(exchange: Exchange, for_s: float = 0.0) -> None:
    """Maintenance: connected, pings answered, and time stands still; with for_s it ends by itself."""
    exchange.pause_for(for_s) if for_s > 0.0 else exchange.pause()


@knob
def resume(exchange: Exchange) -> None:
    """End a pause."""
    exchange.resume()


@knob
def heal(exchange: Exchange) -> None:
    """Turn every knob back; what was retired, delisted, renamed or renumbered stays so."""
    exchange.faults.heal()
    exchange.rest_desk.faults.heal()
    exchange.sockets.heal()
    exchange.resume()
    if isinstance(exchange.venue, LivingVenue):
        exchange.venue.statuses.clear()


def _living(exchange: Exchange) -> LivingVenue:
    if not isinstance(exchange.venue, LivingVenue):
        raise ValueError("a capture is played as it was recorded: this knob needs a living market")
    return exchange.venue


class Fault(NamedTuple):
    """One row of the fault matrix; `knobs` is empty where the exchange cannot make it, and `instead` says who does."""

    number: int
    text: str
    knobs: tuple[str, ...] = ()
    instead: str = ""


FAULTS = (
    Fault(1, "close frame of any code, torn TCP, RST", ("cut", "rst")),
    Fault(2, "24 h disconnect; the same last data repeated", ("day", "repeat")),
    Fault(3, "serverShutdown event, raw and combined", ("shutdown_notice",)),
    Fault(4, "half-open TCP", ("freeze", "thaw"), "or SIGSTOP to the exchange's process"),
    Fault(5, "silent stall of all streams", ("stall",)),
    Fault(6, "silent stall of one stream", ("stall",)),
    Fault(7, "no pong from us", (), "a blocked consumer; the exchange hangs up on who does not answer its pings"),
    Fault(8, "ping flood, too many messages", ("pings",)),
    Fault(9, "acknowledgement missing, partial, an error", ("acks",)),
    Fault(10, "snapshot older than the first diff", ("old_snapshot",)),
    Fault(11, "snapshot newer than the diffs", ("delay",)),
    Fault(12, "snapshot slow, 5xx, truncated, HTML", ("rest",)),
    Fault(13, "gap in the ids", ("drop", "drop_chance")),
    Fault(14, "duplicates", ("double",)),
    Fault(15, "another order", ("shuffle",)),
    Fault(16, "update ids jump back", ("skip_ids",)),
    Fault(17, "crossed book", ("spoil",)),
    Fault(18, "levels beyond the snapshot's depth", ("depth_cap",)),
    Fault(19, "delete of an unknown level", ("spoil",)),
    Fault(20, "zero, negative, NaN, infinite, empty price", ("spoil",)),
    Fault(21, "delisting, HALT, BREAK, CANCEL_ONLY", ("status", "enlist", "delist")),
    Fault(22, "rename, symbol used again, Unicode", ("rename",)),
    Fault(23, "microsecond timestamps", ("microseconds",)),
    Fault(24, "clock skew and step", ("skew",)),
    Fault(25, "late data", ("delay",)),
    Fault(26, "429 and, ignored, 418", ("rest", "weight")),
    Fault(27, "403 of the firewall, 451 of the region", ("rest",)),
    Fault(28, "DNS failure", ("down",), "the client's resolver; the exchange can only be gone"),
    Fault(29, "TLS that cannot be trusted", (), "ExchangeServer(tls=...) with a certificate of its own"),
    Fault(30, "huge and fragmented messages", ("inject", "spoil")),
    Fault(31, "malformed, truncated, wrong type, extra or missing field, binary, empty", ("inject", "spoil")),
    Fault(32, "a stream retired for ever", ("retire",)),
    Fault(33, "maintenance: connected and silent", ("pause", "resume")),
    Fault(34, "reconnect storm", ("down",)),
    Fault(35, "slow consumer", ("trickle",), "a blocked event loop of the client; trickle is the slow network"),
    Fault(36, "flash volume", ("burst",)),
    Fault(37, "process killed", (), "kill -9 of the live worker"),
    Fault(38, "disk full, spool corrupt", (), "the recorder's disk"),
    Fault(39, "two workers at once", (), "a second live worker"),
)
