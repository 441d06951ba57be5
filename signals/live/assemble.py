"""Build a live session from the database and the settings: champion, strategies, universe, sockets, stores."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from django.conf import settings

from marketdata.archive import Archive
from marketdata.binance.rest import RestClient
from marketdata.binance.stream import StreamPool
from marketdata.binance.weight import SharedWeight
from marketdata.binance.weight_budget import LIMITS, WeightBudget
from marketdata.capture import CaptureWriter
from marketdata.costs import CostModel, fee_schedule
from marketdata.events import Market
from marketdata.frames import capture_line
from marketdata.universe import InstrumentInfo, universe_select
from modeling.models import ModelVersion
from modeling.selectors import champion_get
from signals.decision import StrategyParameters
from signals.live.board import board_reset, board_store
from signals.live.conductor import LiveSession, LiveStores, disconnect_frame
from signals.live.inbox import Inbox, ReceiveClock
from signals.live.ledger import Ledger
from signals.live.snapshots import SnapshotDesk
from signals.models import Strategy
from signals.pipeline import SignalPipeline
from signals.scorer import ScoringModel
from signals.selectors import redis_client, strategy_list_active
from signals.services import signal_settle_unseen, strategy_parameters
from signals.session import Session
from signals.sse import publish_board

STREAMS = {
    Market.SPOT: ("depth@100ms", "aggTrade", "bookTicker"),
    Market.USDM: ("depth@100ms", "aggTrade", "bookTicker", "markPrice@1s"),
}
SNAPSHOT_LIMIT = 1000
FEE_TIER = "VIP0"
CAPTURE_OVER = "capture over"
"""With this reason the simulated exchange hangs up at the end of a capture; Binance never says it."""


class NotReady(Exception):
    """Live cannot start yet; the message says what is missing and what to do."""


@dataclass(frozen=True)
class LiveOptions:
    """What the command line chose."""

    market: Market
    record: Path | None
    idle_exit_s: float | None = None
    all_quotes: bool = False  # watch whatever the exchange lists, not only USDT instruments


@dataclass(frozen=True)
class Standing:
    """What the database says a session is to decide with."""

    model: ModelVersion
    strategies: list[Strategy]
    parameters: tuple[StrategyParameters, ...]


def standing_read() -> Standing:
    """Read champion and strategies; raise `NotReady` where there is no model."""
    model = champion_get(settings.SURGE_MODE)
    if model is None:
        raise NotReady("There is no trained model yet. Run: ./surge train --dataset simulated")
    strategies = strategy_list_active()
    return Standing(model, strategies, strategy_parameters(strategies))


def session_build(
    options: LiveOptions, standing: Standing, instruments: list[InstrumentInfo], rest: RestClient
) -> LiveSession:
    """Join the parts of one session. Blocking: reads the model file."""
    model = ScoringModel.trained(Path(settings.SURGE_MODELS_DIR) / standing.model.version, standing.model.sha256)
    pipeline = SignalPipeline(
        options.market,
        model.score,
        standing.parameters,
        model.barriers,
        CostModel.taker(fee_schedule(options.market, FEE_TIER)),
    )
    clock = ReceiveClock()
    inbox = Inbox(clock)
    ledger = Ledger(
        mode=settings.SURGE_MODE,
        market=options.market.value,
        pipeline=pipeline,
        strategies=standing.strategies,
        model_version=standing.model,
        model=model,
    )
    pool = StreamPool(
        settings.SURGE_EXCHANGE_STREAM_URL,
        options.market,
        [f"{one.symbol.lower()}@{stream}" for one in instruments for stream in STREAMS[options.market]],
        on_frame=inbox.on_frame,
        on_disconnect=lambda streams: inbox.add(disconnect_frame(list(streams))),
        clock_ns=clock.now_ns,
        ends_with=CAPTURE_OVER,
    )

    async def fetch_depth(symbol: str) -> bytes:
        return await rest.depth(symbol, SNAPSHOT_LIMIT)

    now_ns = clock.now_ns()
    return LiveSession(
        pipeline=pipeline,
        inbox=inbox,
        desk=SnapshotDesk(
            fetch_depth,
            inbox,
            pipeline.replay.is_synced,
            delivers=lambda symbol: f"{symbol.lower()}@{STREAMS[options.market][0]}" not in pool.pending(),
        ),
        ledger=ledger,
        stores=stores_open(options.market),
        recorder=CaptureWriter(options.record) if options.record else None,
        run_feed=pool.run,
        head=[
            capture_line(now_ns, universe_frame(options.market, instruments)),
            Session(standing.model.version, standing.parameters, FEE_TIER).line(now_ns),
        ],
        idle_exit_s=options.idle_exit_s,
    )


def rest_open(market: Market) -> RestClient:
    """Return the REST client; all processes of this address share one request weight through Redis."""
    venue = f"{settings.SURGE_MODE}:{market.value}"
    weight = SharedWeight(redis_client(), venue, WeightBudget(LIMITS[market]), time.time)
    return RestClient(settings.SURGE_EXCHANGE_REST_URL, market, weight=weight)


async def universe_read(rest: RestClient, options: LiveOptions) -> list[InstrumentInfo]:
    """Ask the exchange which USDT instruments trade; raise `NotReady` where there is none."""
    listed = await rest.exchange_info()
    if options.all_quotes:
        return listed
    chosen = universe_select(listed, options.market)
    if not chosen.symbols:
        raise NotReady(
            f"The exchange at {rest.base_url} lists no tradable USDT symbol: {dict(chosen.reasons())}. "
            "Check the address and the market, or add --all-quotes."
        )
    return list(chosen.symbols)


def universe_frame(market: Market, instruments: list[InstrumentInfo]) -> bytes:
    rows = [
        {
            "symbol": one.symbol,
            "tick_size": one.tick_size,
            "step_size": one.step_size,
            "min_notional": one.min_notional,
        }
        for one in instruments
    ]
    data = {"market": market.value, "symbols": rows}
    return orjson.dumps({"stream": "!universe", "generated": True, "data": data})


def recording_path(market: Market, now: datetime | None = None) -> Path:
    """Return where the next recording of this mode goes."""
    stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H-%M-%SZ")
    return Path(settings.SURGE_CAPTURE_DIR) / f"{settings.SURGE_MODE}_{market.value}_{stamp}.txt.zst"


def stores_open(market: Market) -> LiveStores:
    """Return the stores of a session; each is used by its own thread only."""
    client = redis_client()
    archive = Archive(settings.SURGE_CLICKHOUSE_URL)
    board_reset(client, settings.SURGE_MODE)

    def store_board(rows: list[dict[str, Any]]) -> None:
        board_store(client, settings.SURGE_MODE, rows, time.time_ns())
        publish_board(rows)

    def append_scores(columns: dict[str, np.ndarray]) -> None:
        archive.append_scores(columns, mode=settings.SURGE_MODE, market=market.value)

    def close() -> None:
        client.close()
        archive.close()

    return LiveStores(store_board, append_scores, close)


def unseen_close(market: Market) -> int:
    """Close what an earlier session left open: nobody watched those coins since."""
    now_ns = time.time_ns()
    return signal_settle_unseen(
        mode=settings.SURGE_MODE, market=market.value, decided_before_ns=now_ns, settled_ns=now_ns
    )
