"""The simulated market: symbols, books, matching and planted surges, all from one seed. `advance` moves its time."""

import json
from random import Random
from typing import NamedTuple

import numpy as np

from marketdata.events import NS_PER_S, Market
from marketdata.simulator import wire
from marketdata.simulator.catalogue import Listing, decimals, exchange_info, listings
from marketdata.simulator.flow import fill_book, run_market
from marketdata.simulator.reports import FUNDING_NS
from marketdata.simulator.state import MAX_NAME, STEP_NS, new_books, new_outbox, state_dtype, traits_dtype
from marketdata.simulator.surges import PlantedSurge, Schedule, SurgePlan, episode_dtype, planted_surge

WINDOW = 0.15
"""Books reach this far from the long-run price; fair values stay within 12 % of it."""

_WINDOW_NS = NS_PER_S
_EPISODES_AHEAD = 64
_MARKET_RETURN_S = 600.0
_MARKET_VOLATILITY_BPS = 0.8

Message = tuple[int, str, bytes]
"""(when it leaves the exchange in ns, stream name, the bytes of its data)"""


class OracleBook(NamedTuple):
    """A symbol's whole book as its diffs have told it so far, best price first, in the exchange's own strings."""

    last_update_id: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class SimulatedMarket:
    """A market of `symbols` instruments that starts at `start_ns` and lives by `advance`.

    The same arguments give the same bytes, however the calls of `advance` are cut.
    """

    def __init__(
        self,
        seed: int,
        market: Market = Market.SPOT,
        symbols: int = 20,
        start_ns: int = 0,
        plan: SurgePlan | None = None,
    ) -> None:
        self.market = Market(market)
        self.listings = listings(symbols)
        self.symbols = tuple(listing.symbol for listing in self.listings)
        self.start_ns = start_ns
        self.now_ns = start_ns
        self._row = {symbol: row for row, symbol in enumerate(self.symbols)}
        self._streams = [[stream_name(symbol, kind) for kind in range(4)] for symbol in self.symbols]
        self._traits = _traits(self.listings, self.market, start_ns, seed)
        self._states = _states(self._traits, self.market, seed)
        self._books = new_books(int(self._traits["width"].sum()), symbols)
        self._box = new_outbox(8192, 4_000_000)
        self._plan = plan or SurgePlan()
        self._schedules = [Schedule(self._plan, f"surges {seed} {symbol}", start_ns) for symbol in self.symbols]
        self._episodes = np.zeros((symbols, 0), episode_dtype)
        self._drift = _MarketDrift(seed)
        for row in range(symbols):
            fill_book(self._traits[row], self._states[row], self._books, row)
        self._reset_shown()

    def _reset_shown(self) -> None:
        for name in ("shown_bid", "shown_ask", "shown_bid_lots", "shown_ask_lots"):
            self._states[name] = -1

    def advance(self, until_ns: int) -> list[Message]:
        """Live until `until_ns` (included) and return the messages of that time in the order they leave."""
        messages: list[Message] = []
        while self.now_ns < until_ns:
            edge_ns = min(until_ns, (self.now_ns // _WINDOW_NS + 1) * _WINDOW_NS)
            messages += self._live_until(edge_ns)
            self.now_ns = edge_ns
        return messages

    def _live_until(self, until_ns: int) -> list[Message]:
        self._plan_ahead(until_ns)
        first_step = int(self._states["step"].min())
        market_bps = self._drift.path(first_step, (until_ns - self.start_ns) // STEP_NS + 2)
        parts: list[Message] = []
        row = 0
        while row < len(self.symbols):
            row = run_market(
                self._traits,
                self._states,
                self._books,
                self._box,
                self._episodes,
                market_bps,
                first_step,
                until_ns,
                row,
            )
            parts += self._take_messages()
        # sorted() is stable, so messages of one instant keep the order of their symbols
        return sorted(parts, key=_leaves_at)

    def _take_messages(self) -> list[Message]:
        box = self._box
        count, size = int(box.used[0]), int(box.used[1])
        text = box.text[:size].tobytes()
        starts = box.start[:count].tolist()
        ends = [*starts[1:], size][:count]
        streams = self._streams
        box.used[:] = 0
        return [
            (ts_ns, streams[row][kind], text[start:end])
            for ts_ns, row, kind, start, end in zip(
                box.ts_ns[:count].tolist(),
                box.symbol[:count].tolist(),
                box.kind[:count].tolist(),
                starts,
                ends,
                strict=True,
            )
        ]

    def _plan_ahead(self, until_ns: int) -> None:
        while self._episodes.shape[1] == 0 or self._episodes["start_ns"][:, -1].min() <= until_ns:
            rows = [np.concatenate([schedule.next() for _ in range(_EPISODES_AHEAD)]) for schedule in self._schedules]
            self._episodes = np.concatenate([self._episodes, np.stack(rows)], axis=1)

    @property
    def surges(self) -> list[PlantedSurge]:
        """Every episode that has begun, decoys included, in order of time: the ground truth."""
        begun = [
            planted_surge(symbol, episode)
            for symbol, episodes in zip(self.symbols, self._episodes, strict=True)
            for episode in episodes[episodes["start_ns"] <= self.now_ns]
        ]
        return sorted(begun, key=lambda surge: (surge.start_ns, surge.symbol))

    def exchange_info(self) -> dict[str, object]:
        return exchange_info(self.market, self.listings, self.now_ns // wire.NS_PER_MS)

    def snapshot(self, symbol: str, limit: int = 1000) -> bytes:
        """The body of REST depth as of now: its id may lie inside a diff that has not left yet, as on Binance."""
        row = self._row[symbol]
        state = self._states[row]
        book = self._book(row, self._books.levels, limit)
        body: dict[str, object] = {"lastUpdateId": int(state["update_id"])}
        if self.market is Market.USDM:
            changed_ms = int(state["change_ns"]) // wire.NS_PER_MS
            body |= {"E": max(changed_ms, self.now_ns // wire.NS_PER_MS), "T": changed_ms}
        return json.dumps(body | {"bids": book[0], "asks": book[1]}, separators=(",", ":")).encode()

    def premium_index(self, symbol: str) -> dict[str, object]:
        """One row of REST premiumIndex."""
        row = self._row[symbol]
        state = self._states[row]
        index = f"{self._fair_price(row):.8f}"
        return {
            "symbol": symbol,
            "markPrice": index,
            "indexPrice": index,
            "estimatedSettlePrice": index,
            "lastFundingRate": f"{float(state['funding']):.8f}",
            "interestRate": "0.00010000",
            "nextFundingTime": (self.now_ns // FUNDING_NS + 1) * FUNDING_NS // wire.NS_PER_MS,
            "time": self.now_ns // wire.NS_PER_MS,
        }

    def _fair_price(self, row: int) -> float:
        traits = self._traits[row]
        ticks = int(traits["base_tick"]) + float(self._states[row]["fair"])
        return float(ticks * int(traits["tick_mantissa"]) / 10 ** int(traits["price_decimals"]))

    def oracle_book(self, symbol: str) -> OracleBook:
        row = self._row[symbol]
        bids, asks = self._book(row, self._books.sent, None)
        return OracleBook(int(self._states[row]["sent_id"]), bids, asks)

    def _book(
        self, row: int, levels: np.ndarray, limit: int | None
    ) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        traits = self._traits[row]
        window = levels[traits["offset"] : traits["offset"] + traits["width"]]
        bids = np.flatnonzero(window > 0)[::-1][:limit].tolist()
        asks = np.flatnonzero(window < 0)[:limit].tolist()
        return _printed(traits, window, bids), _printed(traits, window, asks)


def stream_name(symbol: str, kind: int) -> str:
    return symbol.lower() + wire.STREAM_SUFFIXES[kind]


def _leaves_at(message: Message) -> int:
    return message[0]


def _printed(traits: np.void, window: np.ndarray, positions: list[int]) -> list[tuple[str, str]]:
    base, mantissa = int(traits["base_tick"]), int(traits["tick_mantissa"])
    price_form = (int(traits["price_decimals"]), int(traits["price_digits"]))
    lot_mantissa, lot_form = int(traits["lot_mantissa"]), (int(traits["lot_decimals"]), int(traits["lot_digits"]))
    return [
        (
            _decimal((base + position) * mantissa, *price_form),
            _decimal(abs(int(window[position])) * lot_mantissa, *lot_form),
        )
        for position in positions
    ]


def _decimal(value: int, places: int, digits: int) -> str:
    whole, rest = divmod(value, 10**places)
    fraction = f"{rest:0{places}d}" if places else ""
    return f"{whole}.{fraction:0<{digits}}" if digits else f"{whole}"


def _traits(listed: tuple[Listing, ...], market: Market, start_ns: int, seed: int) -> np.ndarray:
    traits = np.zeros(len(listed), traits_dtype)
    offset = 0
    for row, listing in enumerate(listed):
        _describe(traits[row], listing, market)
        traits[row]["offset"] = offset
        traits[row]["start_ns"] = start_ns + Random(f"phase {seed} {listing.symbol}").randrange(1, STEP_NS)
        offset += int(traits[row]["width"])
    return traits


def _describe(traits: np.void, listing: Listing, market: Market) -> None:
    name = listing.symbol.encode()
    if len(name) > MAX_NAME:
        raise ValueError(f"symbol {listing.symbol} is longer than {MAX_NAME} bytes")
    tick, step = float(listing.tick_size), float(listing.step_size)
    price = float(listing.price)
    price_ticks = round(price / tick)
    reach = round(price_ticks * WINDOW)
    tick_bps = 1e4 / price_ticks
    futures = market is Market.USDM
    traits["futures"] = futures
    traits["width"] = 2 * reach + 1
    traits["base_tick"] = price_ticks - reach
    traits["anchor"] = reach
    traits["tick_mantissa"], traits["price_decimals"] = _mantissa(listing.tick_size)
    traits["lot_mantissa"], traits["lot_decimals"] = _mantissa(listing.step_size)
    traits["price_digits"] = traits["price_decimals"] if futures else 8
    traits["lot_digits"] = traits["lot_decimals"] if futures else 8
    traits["tick_bps"] = tick_bps
    traits["pitch"] = listing.pitch_ticks
    traits["level_lots"] = max(2.0, listing.depth_per_bp * tick_bps * listing.pitch_ticks / (price * step))
    traits["half_ticks"] = listing.half_spread_bps / tick_bps
    traits["quote_rate"], traits["taker_rate"] = listing.quotes_per_s, listing.takers_per_s
    traits["volatility"], traits["beta"] = listing.volatility_bps, listing.beta
    traits["id_stride"] = 400 if futures else 1
    traits["name_length"] = len(name)
    traits["name"][: len(name)] = np.frombuffer(name, np.uint8)


def _mantissa(number: str) -> tuple[int, int]:
    return int(number.replace(".", "")), decimals(number)


def _states(traits: np.ndarray, market: Market, seed: int) -> np.ndarray:
    states = np.zeros(len(traits), state_dtype)
    for row, trait in enumerate(traits):
        name = bytes(trait["name"][: trait["name_length"]]).decode()
        random = Random(f"state {seed} {market} {name}")
        state = states[row]
        state["rng"] = random.getrandbits(64)
        state["step"] = 1
        state["next_ns"] = trait["start_ns"]
        state["now_ns"] = trait["start_ns"]
        state["change_ns"] = trait["start_ns"]
        state["best_bid"], state["best_ask"] = 0, trait["width"] - 1
        state["update_id"] = random.randrange(10**9, 10**10) * (500 if market is Market.USDM else 1)
        state["sent_id"] = state["update_id"]
        state["trade_id"] = random.randrange(10**8, 10**9)
        state["agg_id"] = random.randrange(10**7, 10**8)
        state["funding"] = random.uniform(0.00002, 0.0002)
        state["quote_rate"] = trait["quote_rate"]
        state["buy_rate"] = state["sell_rate"] = 0.5 * trait["taker_rate"]
        state["bid_depth"] = state["ask_depth"] = 1.0
    return states


class _MarketDrift:
    """The move that all symbols share, one value for each step, drawn in order."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"market {seed}")
        self._first = 0
        self._values = [0.0]

    def path(self, first_step: int, last_step: int) -> np.ndarray:
        step_s = STEP_NS / NS_PER_S
        while self._first + len(self._values) <= last_step:
            pull = self._values[-1] * step_s / _MARKET_RETURN_S
            self._values.append(self._values[-1] - pull + self._random.gauss(0.0, _MARKET_VOLATILITY_BPS * step_s**0.5))
        del self._values[: first_step - self._first]
        self._first = first_step
        return np.array(self._values)
