"""The stream of all mark prices as futures send it: two frames a second, foreign rows among them (`binance.md` E4)."""

import json

STREAM = "!markPrice@arr@1s"
SPLIT = 0.77
"""Share of the rows in the first frame: 745 of 962 were seen."""


class MarkArrays:
    """Collect the mark prices of single symbols; each new second gives the two frames of the one before."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []
        self._second = -1

    def add(self, data: bytes) -> tuple[bytes, ...]:
        row = json.loads(data)
        second = int(row["E"]) // 1000
        ready = self._frames() if second != self._second and self._rows else ()
        self._second = second
        self._rows.append(row | {"ap": row["p"], "st": 1})
        return ready

    def _frames(self) -> tuple[bytes, ...]:
        rows, self._rows = self._rows, []
        first = rows[0]
        no_funding = first | {"s": "BTCUSDT_261225", "r": "", "T": 0}
        coin = first | {"s": "BTCUSD_PERP", "st": 2}
        everyone = [*rows, no_funding, coin]
        cut = max(1, round(len(everyone) * SPLIT))
        return tuple(
            json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode()
            for part in (everyone[:cut], everyone[cut:])
        )
