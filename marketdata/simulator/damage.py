"""How one message is spoilt: the bytes of a data object go in, wrong bytes come out. `DAMAGES` lists the kinds."""

import json
import re
from collections.abc import Callable

_TIMES = re.compile(rb'"(E|T)":(\d{13,})\b')
_IDS = re.compile(rb'"(U|u|pu)":(\d+)')
_AGG_ID = re.compile(rb'"a":(\d+)')
_FIRST_PRICE = re.compile(rb'(\[\["|"(?:b|p)":")(-?[\d.]+)(")')
_FIRST_ID = re.compile(rb'"(?:u|a)":\d+')
_UNIX_MS_DIGITS = 13

BIG_BYTES = 2 << 20


def shift_times(data: bytes, shift_ms: int) -> bytes:
    """Move the exchange's clock: E and T are `shift_ms` later."""
    return _TIMES.sub(lambda found: b'"%b":%d' % (found[1], int(found[2]) + shift_ms), data)


def to_microseconds(data: bytes) -> bytes:
    """Print E and T in microseconds, as Binance does for `timeUnit=MICROSECOND`."""
    return _TIMES.sub(lambda found: b'"%b":%b000' % (found[1], found[2][:_UNIX_MS_DIGITS]), data)


def shift_ids(data: bytes, shift: int) -> bytes:
    """Add `shift` to the update ids of a depth diff or a book ticker."""
    return _IDS.sub(lambda found: b'"%b":%d' % (found[1], int(found[2]) + shift), data)


def renumber_trade(data: bytes, shift: int) -> bytes:
    return _AGG_ID.sub(lambda found: b'"a":%d' % (int(found[1]) + shift), data, count=1)


def with_price(data: bytes, text: str) -> bytes:
    """Put `text` where the first price stands."""
    return _FIRST_PRICE.sub(lambda found: found[1] + text.encode() + found[3], data, count=1)


def crossed(data: bytes, _: str) -> bytes:
    """Add a bid far above every ask; a book ticker gets bid and ask swapped."""
    message = json.loads(data)
    if isinstance(message.get("b"), list):
        asks, bids = message["a"], message["b"]
        price = float((asks or bids or [["1", "1"]])[0][0])
        message["b"] = [[f"{price * 1.5:.8f}", "1.00000000"], *bids]
    elif "B" in message:
        message["b"], message["a"] = f"{float(message['a']) * 1.01:.8f}", message["b"]
    return _compact(message)


def deletes_unknown(data: bytes, _: str) -> bytes:
    """Delete levels that never were: normal on Binance, to be ignored."""
    message = json.loads(data)
    if isinstance(message.get("b"), list):
        message["b"].append(["0.00000001", "0.00000000"])
        message["a"].append(["99999999.00000000", "0.00000000"])
    return _compact(message)


def without_field(data: bytes, name: str) -> bytes:
    message = json.loads(data)
    message.pop(name or ("u" if "u" in message else "p"), None)
    return _compact(message)


def with_field(data: bytes, name: str) -> bytes:
    return _compact(json.loads(data) | {name or "brandNew": {"x": [1, 2]}, "st": 9})


def other_type(data: bytes, name: str) -> bytes:
    """A number becomes a list."""
    message = json.loads(data)
    message[name or ("u" if "u" in message else "p")] = []
    return _compact(message)


def other_event(data: bytes, name: str) -> bytes:
    """An event type that no document knows."""
    return _compact(json.loads(data) | {"e": name or "somethingNew"})


DAMAGES: dict[str, Callable[[bytes, str], bytes]] = {
    "cross": crossed,
    "price": with_price,
    "del_unknown": deletes_unknown,
    "truncated": lambda data, _: data[: len(data) // 2],
    "garbage": lambda _, text: (text or "<html>gateway</html>").encode(),
    "empty_data": lambda _data, _text: b"{}",
    "null": lambda _data, _text: b"null",
    "list": lambda data, _: b"[" + data + b"]",
    "missing": without_field,
    "extra": with_field,
    "wrong_type": other_type,
    "enum": other_event,
    "nested": lambda _data, _text: b"[" * 5000 + b"]" * 5000,
    "huge_id": lambda data, _: _FIRST_ID.sub(lambda found: found[0].split(b":")[0] + b":" + b"9" * 30, data, count=1),
    "padded": lambda data, _: data[:-1] + b',"pad":"' + b"x" * BIG_BYTES + b'"}',
}
"""kind -> (data, its own word) -> what is sent instead."""


def _compact(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()
