import gzip
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.binance.messages import MessageParser
from marketdata.binance.strict import Rejected, price_e8, quantity
from marketdata.capture import read_blocks, read_lines
from marketdata.events import EventKind, Market
from tests.marketdata.lines import START_NS, agg_trade, diff, line, snapshot, ticker

GOOD_LINES = (
    diff(START_NS, 5, 9, [("100.00000000", "1.50000000")], [("100.10", "0.00000000"), ("101", "2")]),
    agg_trade(START_NS, 7, "100.05", "0.5", sell=True),
    ticker(START_NS, "100.00", "100.01"),
)


def rows(block: bytes, market: Market = Market.SPOT) -> tuple[list, list, Counter]:
    parser = MessageParser(market)
    batch = parser.feed(block).batch()
    return batch.events.tolist(), batch.levels.tolist(), parser.counts.rejected


def strict_rows(block: bytes, market: Market = Market.SPOT) -> tuple[list, list, Counter]:
    """The same through the strict parser only: the judge."""
    parser = MessageParser(market)
    n_events = n_levels = 0
    for one in block.removesuffix(b"\n").split(b"\n"):
        n_events, n_levels = parser._strict(one, n_events, n_levels)
    levels = list(zip(parser._prices[:n_levels].tolist(), parser._qtys[:n_levels].tolist(), strict=True))
    return parser._events[:n_events].tolist(), levels, parser.counts.rejected


def test_a_depth_diff_becomes_an_event_with_its_levels():
    batch = MessageParser(Market.SPOT).feed(GOOD_LINES[0] * 2).batch()
    event = batch.events[1]
    assert (event["kind"], event["first_id"], event["last_id"], event["prev_id"]) == (EventKind.DEPTH_DIFF, 5, 9, -1)
    assert (event["first_level"], event["n_bids"], event["n_asks"]) == (3, 1, 2)
    assert batch.levels[3:].tolist() == [(100_00000000, 1.5), (100_10000000, 0.0), (101_00000000, 2.0)]


def test_the_maker_flag_tells_the_side_of_the_taker():
    sides = MessageParser(Market.SPOT).feed(agg_trade(START_NS, 1, "1", "1") + GOOD_LINES[1]).events["side"]
    assert sides.tolist() == [1, -1]


def test_raw_messages_read_like_combined_ones():
    combined = GOOD_LINES[1].partition(b'"data":')[2].rstrip(b"}\n") + b"}"
    raw = b"%d %b\n" % (START_NS, combined)
    assert rows(raw)[0] == rows(GOOD_LINES[1])[0]


def test_times_are_ns_whether_sent_in_ms_or_us():
    in_us = GOOD_LINES[1].replace(b":1700000000000,", b":1700000000000123,")
    assert [row[5] for row in rows(GOOD_LINES[1] * 2 + in_us * 2)[0]] == [START_NS] * 2 + [START_NS + 123_000] * 2


def test_a_mark_price_without_funding_is_read():
    body = {"e": "markPriceUpdate", "E": 1_700_000_000_000, "s": "BTCUSDT", "p": "100.5", "i": "100.4", "r": "", "T": 0}
    events, _, rejected = rows(line(START_NS, "btcusdt@markPrice@1s", body), Market.USDM)
    assert (events[0][0], events[0][12], events[0][13]) == (EventKind.MARK_PRICE, 100_50000000, 0.0) and not rejected


def test_rows_of_other_products_in_all_market_arrays_are_passed_over():
    good = {"e": "markPriceUpdate", "E": 1_700_000_000_000, "s": "BTCUSDT", "p": "100.5", "r": "-0.0001", "st": 1}
    other = good | {"s": "BTCUSD_PERP", "st": 2}
    events, _, rejected = rows(line(START_NS, "!markPrice@arr@1s", [good, other]), Market.USDM)
    assert len(events) == 1 and events[0][13] == -0.0001 and not rejected


@pytest.mark.parametrize(
    "stream", ["btcusdt@kline_1m", "btcusdt@depth20@100ms", "!miniTicker@arr", "btcusdt@forceOrder"]
)
def test_known_streams_that_nobody_reads_are_accepted(stream):
    events, _, rejected = rows(line(START_NS, stream, {"e": "x"}))
    assert [event[0] for event in events] == [EventKind.IGNORED] and not rejected


BAD_LINES = {
    "no time": (b'{"stream":"btcusdt@trade","data":{}}\n', "malformed line"),
    "empty": (b"\n", "malformed line"),
    "binary": (b"\x00\xff\xfe\x01 \x80\n", "malformed line"),
    "time of 1970": (b"5 {}\n", "malformed line"),
    "cut JSON": (GOOD_LINES[0][:80] + b"\n", "malformed JSON"),
    "list": (line(START_NS, "x", 1).replace(b'{"stream":"x","data":1}', b"[1]"), "malformed JSON"),
    "unknown stream": (line(START_NS, "btcusdt@tea", {}), "unknown stream"),
    "unknown event": (b'%d {"e":"tea","s":"BTCUSDT"}\n' % START_NS, "unknown stream"),
    "no stream text": (line(START_NS, "x", {}).replace(b'"x"', b"5"), "unknown stream"),
    "symbol of another": (GOOD_LINES[0].replace(b'"BTCUSDT"', b'"ETHUSDT"'), "symbol differs from stream"),
    "symbol no name": (GOOD_LINES[0].replace(b"btcusdt@", b"../x@"), "unknown symbol"),
    "upper-case stream": (GOOD_LINES[0].replace(b"btcusdt@", b"BTCUSDT@"), "unknown symbol"),
    "NaN price": (GOOD_LINES[0].replace(b'"101"', b'"NaN"'), "bad price"),
    "negative price": (GOOD_LINES[0].replace(b'"101"', b'"-101"'), "bad price"),
    "zero price": (GOOD_LINES[0].replace(b'"101"', b'"0.000"'), "bad price"),
    "huge price": (GOOD_LINES[0].replace(b'"101"', b'"99999999999999999999"'), "bad price"),
    "exponent": (GOOD_LINES[0].replace(b'"101"', b'"1e5"'), "bad price"),
    "too fine": (GOOD_LINES[0].replace(b'"101"', b'"1.000000001"'), "bad price"),
    "number price": (GOOD_LINES[0].replace(b'"101"', b"101"), "bad price"),
    "NaN quantity": (GOOD_LINES[0].replace(b'"2"', b'"nan"'), "bad quantity"),
    "negative quantity": (GOOD_LINES[0].replace(b'"2"', b'"-2"'), "bad quantity"),
    "huge quantity": (GOOD_LINES[0].replace(b'"2"', b'"1%b"' % (b"0" * 30)), "bad quantity"),
    "ids reversed": (GOOD_LINES[0].replace(b'"u":9', b'"u":4'), "bad id"),
    "id too large": (GOOD_LINES[0].replace(b'"u":9', b'"u":99999999999999999999'), "bad id"),
    "id as text": (GOOD_LINES[0].replace(b'"u":9', b'"u":"9"'), "bad id"),
    "no levels": (GOOD_LINES[0].replace(b'"b":', b'"x":'), "malformed levels"),
    "time of no year": (GOOD_LINES[0].replace(b'"E":1700000000000', b'"E":17'), "bad time"),
    "trade of nothing": (GOOD_LINES[1].replace(b'"0.5"', b'"0.0"'), "bad quantity"),
    "side missing": (GOOD_LINES[1].replace(b'"m":true', b'"m":null'), "malformed message"),
    "event of another stream": (GOOD_LINES[1].replace(b'"aggTrade","E"', b'"trade","E"'), "event differs from stream"),
    "crossed ticker": (ticker(START_NS, "100.00", "100.00"), "crossed book"),
    "crossed snapshot": (snapshot(START_NS, 5, [("2", "1")], [("1", "1")]), "crossed book"),
    "universe of nothing": (line(START_NS, "!universe", {"symbols": [1]}, generated=True), "malformed universe"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_input_is_counted_under_its_reason(name):
    bad, reason = BAD_LINES[name]
    block = b"".join(GOOD_LINES) + bad + b"".join(GOOD_LINES)
    events, _, rejected = rows(block)
    assert rejected == {reason: 1} and len(events) == 6


@pytest.mark.parametrize("name", BAD_LINES)
def test_the_judge_refuses_what_the_scanner_refuses(name):
    block = b"".join(GOOD_LINES) * 2 + BAD_LINES[name][0]
    assert rows(block) == strict_rows(block)


def test_usdm_diffs_need_pu():
    assert rows(GOOD_LINES[0], Market.USDM)[2] == {"bad id": 1}


@pytest.mark.parametrize("market", Market)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_lines_are_read_alike_by_scanner_and_judge(market, data):
    block = bytearray(b"".join([*GOOD_LINES, diff(START_NS, 1, 2, [("1", "2")], prev_id=3)]) * 2)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(block) - 1))
        block[at] = data.draw(
            st.sampled_from(b'0123456789.,:{}[]"eE-+nul \\\x00\xc3\xff' + bytes([data.draw(st.integers(0, 255))]))
        )
    ours = rows(bytes(block), market)
    assert ours == strict_rows(bytes(block), market)


def test_a_stream_name_that_is_no_text_is_refused():
    damaged = GOOD_LINES[0].replace(b"@100ms", b"@\xc300ms")
    assert rows(GOOD_LINES[0] + damaged)[2] == {"malformed JSON": 1}


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_no_bytes_can_stop_the_parser(noise):
    parser = MessageParser(Market.SPOT)
    parser.feed(noise)
    assert parser.counts.messages == (noise.count(b"\n") if noise.endswith(b"\n") else noise.count(b"\n") + 1)


@given(st.decimals(min_value="0.00000001", max_value="8999999999", places=8))
def test_prices_are_exact(price):
    text = format(price, "f")
    trade = agg_trade(START_NS, 1, text, "1")
    assert MessageParser(Market.SPOT).feed(trade + trade).events["price_e8"].tolist() == [int(price * 10**8)] * 2
    assert price_e8(text) == int(price * 10**8)


@given(st.from_regex(r"[0-9]{1,14}(\.[0-9]{1,12})?", fullmatch=True).filter(lambda text: 0 < float(text) < 1e15))
def test_quantities_are_rounded_like_float(text):
    trade = agg_trade(START_NS, 1, "1", text)
    assert MessageParser(Market.SPOT).feed(trade + trade).events["qty"].tolist() == [float(text)] * 2
    assert quantity(text, allow_zero=False) == float(text)


def test_symbols_beyond_ascii_are_read():
    coin = "币安人生USDT"
    events = MessageParser(Market.SPOT).feed(diff(START_NS, 1, 2, symbol=coin) * 3).events
    assert len(events) == 3 and events["symbol"].tolist() == [0, 0, 0]


def test_the_registry_refuses_more_symbols_than_it_holds():
    parser = MessageParser(Market.SPOT)
    long_name = "x" * 80
    with pytest.raises(Rejected, match="unknown symbol"):
        parser.symbols.find(long_name)


@pytest.mark.realdata
def test_every_recorded_message_is_read_by_the_scanner_as_by_the_judge(shared_data):
    for path in sorted((shared_data / "captures").glob("*.gz")):
        market = Market(path.name.partition("_")[0])
        parser, judge = MessageParser(market), MessageParser(market)
        for block in read_blocks(path):
            ours = parser.feed(block)
            n_events = n_levels = 0
            for one in block.splitlines():
                n_events, n_levels = judge._strict(one, n_events, n_levels)
            assert ours.events.tolist() == judge._events[:n_events].tolist()
            np.testing.assert_array_equal(ours.prices_e8[:n_levels], judge._prices[:n_levels])
            np.testing.assert_array_equal(ours.qtys[:n_levels], judge._qtys[:n_levels])
        assert not parser.counts.rejected and not judge.counts.rejected
        with gzip.open(path) as lines:
            assert parser.counts.messages == sum(1 for _ in lines)


@pytest.mark.realdata
def test_every_recorded_stream_type_of_ours_parses(shared_data):
    """`protocol/` also holds options and other venues; what is spot or USD-M and in a stream we read must parse."""
    read = Counter()
    for text in (shared_data / "protocol" / "binance_raw_messages.jsonl").read_text().splitlines():
        message = json.loads(text)["msg"]
        stream = message.get("stream", "")
        body = message.get("data")
        kind = stream.partition("@")[2].partition("@")[0]
        if kind not in {"depth", "aggTrade", "trade", "bookTicker", "markPrice"} or not isinstance(body, dict):
            continue
        symbol = body.get("s", "")
        if (
            not symbol.endswith("USDT")
            or symbol.lower() != stream.partition("@")[0]
            or "a" not in body
            and kind == "aggTrade"
        ):
            continue
        market = Market.USDM if "pu" in body or kind in {"markPrice"} else Market.SPOT
        parser = MessageParser(market)
        parser.feed(line(START_NS, stream, body))
        assert not parser.counts.rejected, (message, parser.counts.rejected)
        read[kind] += 1
    assert set(read) == {"depth", "aggTrade", "trade", "bookTicker", "markPrice"}


def test_lines_of_a_plain_file_are_read(tmp_path):
    path = tmp_path / "capture.txt"
    path.write_bytes(b"".join(GOOD_LINES))
    assert list(read_lines(path)) == list(GOOD_LINES)
