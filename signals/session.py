"""What a live session decides with, as one capture line, so that a recording replays with the same numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson

from marketdata.frames import capture_line
from signals.decision import StrategyParameters

STREAM = "!session"


class SessionError(ValueError):
    """A session line that cannot be used; the message says why."""


@dataclass(frozen=True)
class Session:
    """Model, strategies and fee tier of one live session."""

    model_version: str
    strategies: tuple[StrategyParameters, ...]
    fee_tier: str = "VIP0"

    def line(self, recv_ns: int) -> bytes:
        data = {
            "model_version": self.model_version,
            "fee_tier": self.fee_tier,
            "strategies": [asdict(strategy) for strategy in self.strategies],
        }
        return capture_line(recv_ns, orjson.dumps({"stream": STREAM, "generated": True, "data": data}))

    @classmethod
    def from_lines(cls, lines: Sequence[bytes]) -> Self | None:
        """Return the session named in the first lines of a recording, or None when there is none."""
        for line in lines:
            if b'"' + STREAM.encode() + b'"' in line[:64]:
                return cls._from_frame(line.partition(b" ")[2])
        return None

    @classmethod
    def _from_frame(cls, frame: bytes) -> Self:
        try:
            data: dict[str, Any] = orjson.loads(frame)["data"]
            strategies = tuple(StrategyParameters(**row) for row in data["strategies"])
            return cls(data["model_version"], strategies, data["fee_tier"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise SessionError(
                f"the recording's session line cannot be read ({error}); give --model-version"
            ) from error
