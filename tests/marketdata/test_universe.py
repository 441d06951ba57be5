import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marketdata.binance.instruments import parse_exchange_info
from marketdata.events import Market
from marketdata.simulator.market import SimulatedMarket
from marketdata.universe import InstrumentInfo, UniverseRule, universe_select

GOOD = InstrumentInfo("ABCUSDT", "ABC", "USDT", "TRADING", "PERPETUAL", "COIN", "0.01", "1", "5")


def exchange_info(shared_data: Path, day: str) -> dict[str, Any]:
    with gzip.open(shared_data / "protocol" / f"exchangeInfo_usdm_{day}.json.gz") as file:
        return json.load(file)


@pytest.mark.realdata
@pytest.mark.parametrize("day", ["2025-03-06", "2026-03-31"])
def test_real_exchange_infos_give_a_universe_and_a_reason_for_everyone_else(shared_data: Path, day: str) -> None:
    body = exchange_info(shared_data, day)
    universe = universe_select(parse_exchange_info(body), Market.USDM)
    fitting = [
        row["symbol"]
        for row in body["symbols"]
        if (row["contractType"], row["underlyingType"], row["quoteAsset"], row["status"])
        == ("PERPETUAL", "COIN", "USDT", "TRADING")
    ]
    assert list(universe.names) == fitting
    assert len(fitting) + len(universe.excluded) == len(body["symbols"])
    assert all(universe.excluded.values())
    assert all(float(one.tick_size) > 0 and float(one.step_size) > 0 for one in universe.symbols)
    assert all(float(one.min_notional) > 0 for one in universe.symbols)


@pytest.mark.realdata
def test_the_reasons_of_2026_name_what_was_new_then(shared_data: Path) -> None:
    universe = universe_select(parse_exchange_info(exchange_info(shared_data, "2026-03-31")), Market.USDM)
    assert len(universe.symbols) == 514
    reasons = universe.reasons()
    assert reasons["contract type TRADIFI_PERPETUAL"] == 20
    assert reasons["underlying is PREMARKET"] == 17
    assert reasons["priced in USDC, not USDT"] == 38
    assert reasons["status SETTLING"] == 52
    assert reasons["contract type CURRENT_QUARTER DELIVERING"] == 8


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"quote": "USDC"}, "priced in USDC, not USDT"),
        ({"contract_type": ""}, "contract type not given"),
        ({"contract_type": "MOON_PERPETUAL"}, "contract type MOON_PERPETUAL"),
        ({"underlying_type": "EQUITY"}, "underlying is EQUITY"),
        ({"status": "CANCEL_ONLY"}, "status CANCEL_ONLY"),
        ({"status": ""}, "status not given"),
        ({"tick_size": ""}, "no price or quantity step"),
    ],
)
def test_each_exclusion_says_why(change: dict[str, str], reason: str) -> None:
    instrument = replace(GOOD, symbol="OTHERUSDT", **change)
    universe = universe_select([GOOD, instrument], Market.USDM)
    assert universe.symbols == (GOOD,)
    assert universe.excluded == {"OTHERUSDT": reason}


def test_spot_asks_for_quote_and_status_only() -> None:
    spot = InstrumentInfo("ABCUSDT", "ABC", "USDT", "TRADING", "", "", "0.01", "1", "5")
    broken = InstrumentInfo("XYZUSDT", "XYZ", "USDT", "BREAK", "", "", "0.01", "1", "5")
    universe = universe_select([spot, broken], Market.SPOT)
    assert universe.names == ("ABCUSDT",)
    assert universe.excluded == {"XYZUSDT": "status BREAK"}


def test_a_name_that_ends_in_usdt_proves_nothing() -> None:
    quarterly = InstrumentInfo("BTCUSDT_260626", "BTC", "USDT", "TRADING", "CURRENT_QUARTER", "COIN", "0.1", "1", "5")
    foreign = InstrumentInfo("NOTUSDT", "N", "OTUSDT", "TRADING", "PERPETUAL", "COIN", "0.1", "1", "5")
    assert universe_select([quarterly, foreign], Market.USDM).symbols == ()


def test_another_rule_can_be_asked_for() -> None:
    rule = UniverseRule(quote="USDC", contract_types=("PERPETUAL",))
    usdc = InstrumentInfo("ABCUSDC", "ABC", "USDC", "TRADING", "PERPETUAL", "INDEX", "0.01", "1", "5")
    assert universe_select([GOOD, usdc], Market.USDM, rule).names == ("ABCUSDC",)


def test_unknown_words_filters_and_broken_rows_do_not_break_parsing() -> None:
    body = {
        "symbols": [
            {
                "symbol": "NEWUSDT",
                "baseAsset": "NEW",
                "quoteAsset": "USDT",
                "status": "HALF_OPEN",
                "contractType": None,
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": "0.00010000"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.00000000"},
                    {"filterType": "GRAVITY", "pull": {"deep": [1, 2]}},
                    "not a filter",
                ],
                "newField": [{}],
            },
            {"status": "TRADING"},
            {"symbol": 7},
            "not a row",
            {"symbol": "BAREUSDT", "filters": None},
        ]
    }
    first, bare = parse_exchange_info(body)
    assert (first.symbol, first.status, first.contract_type) == ("NEWUSDT", "HALF_OPEN", "")
    assert (first.tick_size, first.step_size) == ("0.0001", "")
    assert bare == InstrumentInfo("BAREUSDT", "", "", "", "", "", "", "", "")


@pytest.mark.parametrize("body", [{}, [], {"symbols": {}}, {"code": -1, "msg": "no"}])
def test_an_answer_without_symbols_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="no exchangeInfo"):
        parse_exchange_info(body)


@pytest.mark.parametrize("market", list(Market))
def test_the_simulated_exchange_lists_a_universe_too(market: Market) -> None:
    simulated = SimulatedMarket(1, market, 20, 0)
    universe = universe_select(parse_exchange_info(simulated.exchange_info()), market)
    assert universe.names == simulated.symbols
    assert all(float(one.min_notional) == 5.0 for one in universe.symbols)
    bitcoin = universe.symbols[0]
    assert (bitcoin.tick_size, bitcoin.step_size, bitcoin.base) == ("0.1", "0.00001", "BTC")
