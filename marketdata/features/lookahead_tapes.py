"""What prefix invariance is tested on: capture lines and plain columns that can be cut off and spoiled at a moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from marketdata.events import NS_PER_S, Market
from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.lookahead import PrefixReport, Rows, joined_reports, prefix_invariance, random_cuts
from marketdata.features.loop import context_dtype
from marketdata.features.replay import FeatureRows, feature_rows
from marketdata.frames import capture_line
from marketdata.simulator.history import capture_lines
from marketdata.simulator.market import SimulatedMarket
from marketdata.simulator.surges import SurgePlan

CONTEXT_COLUMNS = (*(context_dtype.names or ()), "buy_slippage", "sell_slippage")
COLUMN_NAMES = (*FEATURE_NAMES, *(f"context.{name}" for name in CONTEXT_COLUMNS))
"""All that a decision reads of a row: the features, and the book around them."""

SEEDED_START_NS = 1_700_000_000 * NS_PER_S
SEEDED_SECONDS = 90.0
SEEDED_SYMBOLS = 3
_BUSY = SurgePlan(surge_every_s=40.0, decoy_every_s=60.0, first_after_s=22.0)


@dataclass(frozen=True)
class CaptureTape:
    """Capture lines of one market, in receive order."""

    market: Market
    lines: Sequence[bytes]

    @cached_property
    def times_ns(self) -> np.ndarray:
        return np.maximum.accumulate(np.array([int(line[: line.index(b" ")]) for line in self.lines], np.int64))

    @cached_property
    def _garbled(self) -> list[bytes]:
        return [garbled_line(line) for line in self.lines]

    def until(self, t_ns: int) -> "CaptureTape":
        return CaptureTape(self.market, self.lines[: self._known(t_ns)])

    def spoiled_after(self, t_ns: int, rng: np.random.Generator) -> list["CaptureTape"]:
        """Return the tape with a garbled future (a thousandfold, sides flipped), and with that future shuffled."""
        known = self._known(t_ns)
        past, future = list(self.lines[:known]), self._garbled[known:]
        bodies = [line.partition(b" ")[2] for line in future]
        order = rng.permutation(len(future))
        shuffled = [b"%d %b" % (self.times_ns[known + k], bodies[source]) for k, source in enumerate(order)]
        return [CaptureTape(self.market, past + future), CaptureTape(self.market, past + shuffled)]

    def _known(self, t_ns: int) -> int:
        return int(np.searchsorted(self.times_ns, t_ns, side="right"))


@dataclass(frozen=True)
class ColumnTape:
    """Trades or bars as columns of equal length, in time order."""

    times_ns: np.ndarray
    columns: tuple[np.ndarray, ...]

    def until(self, t_ns: int) -> "ColumnTape":
        known = self._known(t_ns)
        return ColumnTape(self.times_ns[:known], tuple(column[:known] for column in self.columns))

    def spoiled_after(self, t_ns: int, rng: np.random.Generator) -> list["ColumnTape"]:
        known = self._known(t_ns)
        order = known + rng.permutation(len(self.times_ns) - known)
        spoiled = tuple(np.concatenate([column[:known], garbled(column[order])]) for column in self.columns)
        return [ColumnTape(self.times_ns, spoiled)]

    def _known(self, t_ns: int) -> int:
        return int(np.searchsorted(self.times_ns, t_ns, side="right"))


def garbled(column: np.ndarray) -> np.ndarray:
    """Return flags flipped, signs turned, other numbers a thousandfold."""
    if column.dtype == bool:
        return ~column
    if np.issubdtype(column.dtype, np.signedinteger) and np.isin(column, (-1, 0, 1)).all():
        return -column
    return np.asarray(column * 1000)


def garbled_line(line: bytes) -> bytes:
    """Return a line with prices and sizes a thousandfold and sides flipped; lines without prices stay as they are."""
    stamp, _, frame = line.partition(b" ")
    message = orjson.loads(frame)
    if message["stream"].startswith("!") or not isinstance(message["data"], dict):
        return line
    message["data"] = _garbled_body(message["data"])
    return capture_line(int(stamp), orjson.dumps(message))


def _garbled_body(body: dict[str, Any]) -> dict[str, Any]:
    spoiled = dict(body)
    for bids, asks in (("b", "a"), ("bids", "asks")):
        if isinstance(body.get(bids), list):
            spoiled[bids], spoiled[asks] = (_thousandfold_levels(body[side]) for side in (asks, bids))
    for name in ("p", "q", "B", "A"):
        if isinstance(body.get(name), str):
            spoiled[name] = thousandfold(body[name])
    if isinstance(body.get("b"), str):  # a book ticker: the ask stays above the bid
        spoiled["b"], spoiled["a"] = thousandfold(body["b"]), thousandfold(body["a"])
        spoiled["B"], spoiled["A"] = spoiled["A"], spoiled["B"]
    if isinstance(body.get("m"), bool):
        spoiled["m"] = not body["m"]
    return spoiled


def _thousandfold_levels(levels: list[list[str]]) -> list[list[str]]:
    return [[thousandfold(price), thousandfold(qty)] for price, qty, *_ in levels]


def thousandfold(number: str) -> str:
    """Return a decimal string with its point moved three places.

    Examples
    --------
    >>> thousandfold("61.83763"), thousandfold("7")
    ('61837.63', '7000')
    """
    whole, _, part = number.partition(".")
    digits = (whole + part[:3].ljust(3, "0")).lstrip("0") or "0"
    return f"{digits}.{part[3:]}" if part[3:] else digits


def capture_rows(tape: CaptureTape) -> Rows:
    """Run the very loop of live and replay over a tape."""
    rows, _ = feature_rows(tape.lines, tape.market)
    return Rows(rows.tick_ns, rows.symbol, np.column_stack([rows.X, context_columns(rows)]))


def context_columns(rows: FeatureRows) -> np.ndarray:
    """Return the context and the slippages (summed over sizes) as float64 columns; whole numbers stay exact."""
    columns = [rows.context[name].astype(np.float64) for name in context_dtype.names or ()]
    return np.column_stack([*columns, rows.buy_slippage_bps.sum(axis=1), rows.sell_slippage_bps.sum(axis=1)])


def tape_report(tape: CaptureTape, cuts: int, seed: int) -> PrefixReport:
    """Return prefix invariance of every feature over one tape at random cut points."""
    rows = capture_rows(tape)
    if len(rows.time_ns) < 2 or rows.time_ns[0] == rows.time_ns[-1]:
        raise ValueError(f"It gives no two feature rows to cut between. Name a longer capture of {tape.market}.")
    rng = np.random.default_rng(seed)
    return prefix_invariance(capture_rows, tape, random_cuts(tape, rows, cuts, rng), COLUMN_NAMES, rng)


def seeded_report(cuts: int, seed: int) -> PrefixReport:
    """Return prefix invariance over a seeded tape of each market: what a training certificate says of the features."""
    return joined_reports([tape_report(seeded_tape(market, seed), cuts, seed) for market in Market])


def seeded_tape(market: Market, seed: int) -> CaptureTape:
    """Return a minute and a half of a simulated market with episodes, a lost diff, a disconnect and idle ticks."""
    simulated = SimulatedMarket(seed, market, SEEDED_SYMBOLS, SEEDED_START_NS, _BUSY)
    lines = list(capture_lines(simulated, SEEDED_SECONDS, seed=seed))
    rng = np.random.default_rng([seed, market is Market.SPOT])
    gap = int(rng.integers(int(0.5 * len(lines)), int(0.7 * len(lines))))
    lost = next(k for k in range(gap, len(lines)) if b"@depth@" in lines[k][:80])
    del lines[lost]
    stamps = [int(line[: line.index(b" ")]) for line in lines]
    cut = int(rng.integers(int(0.75 * len(lines)), int(0.9 * len(lines))))
    stream = f"{simulated.symbols[-1].lower()}@depth@100ms"
    goes = orjson.dumps({"stream": "!disconnect", "generated": True, "data": {"streams": [stream]}})
    idle = orjson.dumps({"stream": "!tick", "generated": True, "data": {}})
    lines[cut:cut] = [capture_line(stamps[cut], goes), capture_line(stamps[cut], idle)]
    return CaptureTape(market, lines)


def market_of(lines: Sequence[bytes]) -> Market:
    """Tell the market of a capture by its depth diffs: only those of USD-M name their predecessor (`pu`)."""
    return Market.USDM if any(b'"pu":' in line for line in lines if b'"depthUpdate"' in line) else Market.SPOT
