import numpy as np
import pytest

from marketdata.events import NS_PER_S, Market
from marketdata.features.replay import GRID_NS, FeatureReplay, feature_rows
from tests.marketdata.lines import MS, START_NS, agg_trade, diff, line, snapshot, ticker

BIDS = [("100.00", "5"), ("99.90", "4"), ("99.80", "9")]
ASKS = [("100.10", "3"), ("100.20", "6"), ("100.30", "8")]


def spot_start(at_ns: int = START_NS) -> list[bytes]:
    """A book that stands at update id 11."""
    return [diff(at_ns, 5, 9), diff(at_ns + MS, 10, 11), snapshot(at_ns + 2 * MS, 10, BIDS, ASKS)]


def replay_of(*lines: bytes, market: Market = Market.SPOT) -> FeatureReplay:
    replay = FeatureReplay(market)
    replay.feed(b"".join(lines))
    return replay


def test_a_book_is_synced_by_its_snapshot():
    replay = replay_of(*spot_start())
    report = replay.report()["BTCUSDT"]
    assert (report.synced, report.gaps, report.best_bid, report.best_ask) == (True, 0, 100.0, 100.1)


def test_no_book_is_synced_without_a_snapshot():
    replay = replay_of(*spot_start()[:2])
    assert not replay.report()["BTCUSDT"].synced
    assert replay.take_requests() == ["BTCUSDT"]


def test_a_missing_diff_makes_the_book_stale_until_the_next_snapshot():
    replay = replay_of(*spot_start(), diff(START_NS + 10 * MS, 14, 15))
    report = replay.report()["BTCUSDT"]
    assert (report.synced, report.gaps, report.best_bid) == (False, 1, None)
    replay.feed(snapshot(START_NS + 20 * MS, 14, BIDS, ASKS))
    report = replay.report()["BTCUSDT"]
    assert (report.synced, report.gaps, report.resyncs) == (True, 1, 1)


def test_a_repeated_diff_changes_nothing():
    once = replay_of(*spot_start(), diff(START_NS + 9 * MS, 12, 12, [("100.00", "7")]))
    twice = replay_of(*spot_start(), *[diff(START_NS + 9 * MS, 12, 12, [("100.00", "7")])] * 2)
    assert twice.book("BTCUSDT").levels("bid").tolist() == once.book("BTCUSDT").levels("bid").tolist()
    assert twice.report()["BTCUSDT"].gaps == 0


def test_a_crossed_book_is_never_called_synced():
    replay = replay_of(*spot_start(), diff(START_NS + 9 * MS, 12, 12, [("100.15", "7")]))
    assert not replay.report()["BTCUSDT"].synced


def test_a_disconnect_makes_only_its_own_symbols_stale():
    other = [
        diff(START_NS + MS, 5, 9, symbol="ETHUSDT"),
        snapshot(START_NS + 3 * MS, 9, BIDS, ASKS, symbol="ETHUSDT"),
    ]
    cut = line(START_NS + 5 * MS, "!disconnect", {"streams": ["ethusdt@depth@100ms"]}, generated=True)
    report = replay_of(*spot_start(), *other, cut).report()
    assert report["BTCUSDT"].synced and not report["ETHUSDT"].synced


def test_a_disconnect_without_streams_makes_all_stale():
    cut = line(START_NS + 5 * MS, "!disconnect", {"streams": []}, generated=True)
    assert not replay_of(*spot_start(), cut).report()["BTCUSDT"].synced


def test_a_later_snapshot_does_not_disturb_a_synced_book():
    replay = replay_of(*spot_start(), snapshot(START_NS + 9 * MS, 500, [("1", "1")], [("2", "1")]))
    assert replay.report()["BTCUSDT"].best_bid == 100.0


def test_usdm_books_follow_pu():
    start = [diff(START_NS, 5, 12, prev_id=4), snapshot(START_NS + MS, 10, BIDS, ASKS)]
    good = diff(START_NS + 2 * MS, 20, 21, prev_id=12)
    assert replay_of(*start, good, market=Market.USDM).report()["BTCUSDT"].synced
    bad = diff(START_NS + 2 * MS, 20, 21, prev_id=13)
    assert replay_of(*start, bad, market=Market.USDM).report()["BTCUSDT"].gaps == 1


def test_a_tick_sees_what_came_before_it_and_nothing_after():
    tick_ns = (START_NS // GRID_NS + 1) * GRID_NS
    replay = FeatureReplay(Market.SPOT)
    assert len(replay.feed(b"".join(spot_start()))) == 0
    rows = replay.feed(ticker(tick_ns, "101.00", "101.10"))
    assert rows.tick_ns.tolist() == [tick_ns]
    assert rows.context["bid_e8"].tolist() == [100_00000000]
    after = replay.feed(agg_trade(tick_ns + GRID_NS, 1, "101.00", "1"))
    assert after.context["bid_e8"].tolist() == [101_00000000]


def test_an_idle_tick_completes_the_pending_one():
    replay = replay_of(*spot_start())
    rows = replay.feed(line(START_NS + NS_PER_S, "!tick", {}, generated=True))
    assert len(rows) == 1 and len(replay.feed(line(START_NS + 2 * NS_PER_S, "!tick", {}, generated=True))) == 0


def test_a_receive_time_that_steps_back_does_not_turn_time_back():
    replay = replay_of(*spot_start(), agg_trade(START_NS + NS_PER_S, 1, "100.00", "1"))
    rows = replay.feed(agg_trade(START_NS, 2, "100.00", "1") + agg_trade(START_NS + 2 * NS_PER_S, 3, "100", "1"))
    assert np.all(np.diff(rows.tick_ns) >= 0) and replay.now_ns == START_NS + 2 * NS_PER_S


def test_a_stale_book_has_no_depth_and_no_slippage():
    rows, _ = feature_rows([*spot_start(), diff(START_NS + 10 * MS, 14, 15)], Market.SPOT)
    row = rows.context[-1]
    assert row["synced"] == 0 and np.isnan(row["depth_ask_10bps"]) and np.isnan(rows.buy_slippage_bps[-1]).all()


def test_a_closed_universe_rejects_other_symbols():
    universe = line(START_NS, "!universe", {"symbols": [{"symbol": "BTCUSDT"}]}, generated=True)
    replay = replay_of(universe, *spot_start(), diff(START_NS + 9 * MS, 1, 2, symbol="DOGEUSDT"))
    assert replay.symbols == ["BTCUSDT"] and replay.parser.counts.rejected == {"unknown symbol": 1}


def many_symbols(n: int) -> list[bytes]:
    lines = []
    for k in range(n):
        name = f"COIN{k}USDT"
        lines += [
            diff(START_NS + k, 5, 9, symbol=name),
            snapshot(START_NS + 1000 + k, 9, BIDS, ASKS, symbol=name),
        ]
    lines.sort(key=lambda one: int(one.split(b" ", 1)[0]))
    return [*lines, line(START_NS + NS_PER_S, "!tick", {}, generated=True)]


def test_books_grow_with_the_number_of_symbols():
    rows, replay = feature_rows(many_symbols(100), Market.SPOT)
    assert len(rows) == 100 and all(report.synced for report in replay.report().values())


@pytest.mark.parametrize("cut", [1, 3, 50])
def test_rows_do_not_depend_on_how_lines_are_cut_into_blocks(cut):
    lines = [*many_symbols(40), *(agg_trade(START_NS + NS_PER_S + k * 10 * MS, k, "100", "1") for k in range(100))]
    whole, _ = feature_rows(lines, Market.SPOT)
    replay = FeatureReplay(Market.SPOT)
    parts = [replay.feed(b"".join(lines[k : k + cut])) for k in range(0, len(lines), cut)] + [replay.finish()]
    for column, name in zip(zip(*parts, strict=True), whole._fields, strict=True):
        assert np.concatenate(column).tobytes() == getattr(whole, name).tobytes(), name


def test_a_symbol_with_both_trade_streams_counts_each_trade_once():
    ms = START_NS // MS
    raw = {"e": "trade", "E": ms, "s": "BTCUSDT", "t": 1, "p": "100", "q": "9", "T": ms, "m": False, "M": True}
    tick = line(START_NS + NS_PER_S, "!tick", {}, generated=True)
    twice = [agg_trade(START_NS, 1, "100", "9"), line(START_NS, "btcusdt@trade", raw), tick]
    both, _ = feature_rows(twice, Market.SPOT)
    once, _ = feature_rows([twice[0], tick], Market.SPOT)
    assert both.X.tobytes() == once.X.tobytes()
