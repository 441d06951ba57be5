import pytest

from marketdata.events import Market
from marketdata.simulator.plain_book import PlainBook

SNAPSHOT = {"lastUpdateId": 10, "E": 5, "T": 4, "bids": [["99.0", "1"], ["98.0", "2"]], "asks": [["101.0", "3"]]}
BOTH = pytest.mark.parametrize("market", list(Market))


def diff(first: int, last: int, previous: int, bids: list[list[str]], asks: list[list[str]] | None = None) -> dict:
    return {"U": first, "u": last, "pu": previous, "b": bids, "a": asks or [], "E": 9, "T": 8}


def standing(market: Market, *diffs: dict) -> PlainBook:
    book = PlainBook(market)
    book.snapshot(SNAPSHOT)
    for one in diffs:
        book.diff(one)
    return book


@BOTH
def test_quantities_replace_and_zero_removes(market: Market) -> None:
    book = standing(market, diff(9, 12, 8, [["99.0", "0.0"], ["98.0", "7"], ["55.5", "0"]], [["101.5", "4"]]))
    body = book.body(10)
    assert body["bids"] == [["98.0", "7"]]
    assert body["asks"] == [["101.0", "3"], ["101.5", "4"]]
    assert body["lastUpdateId"] == 12
    assert ("E" in body) == (market is Market.USDM)


@BOTH
def test_early_diffs_join_the_snapshot_and_old_ones_are_dropped(market: Market) -> None:
    book = PlainBook(market)
    book.diff(diff(3, 9, 2, [["1.0", "1"]]))
    book.diff(diff(10, 12, 9, [["97.0", "5"]]))
    assert not book.stands
    book.snapshot(SNAPSHOT)
    assert book.body(10)["bids"] == [["99.0", "1"], ["98.0", "2"], ["97.0", "5"]]
    assert (book.stands, book.last_id) == (True, 12)


@BOTH
def test_a_missing_diff_takes_the_book_away_until_the_next_snapshot(market: Market) -> None:
    book = standing(market, diff(9, 12, 8, []), diff(14, 15, 13, [["97.0", "5"]]))
    assert (book.stands, book.breaks) == (False, 1)
    book.snapshot(SNAPSHOT | {"lastUpdateId": 14})
    assert (book.stands, book.last_id) == (True, 15)
    assert ["97.0", "5"] in book.body(10)["bids"]  # type: ignore[operator]


@BOTH
def test_a_snapshot_older_than_the_diffs_does_not_stand(market: Market) -> None:
    book = PlainBook(market)
    book.diff(diff(20, 25, 19, []))
    book.snapshot(SNAPSHOT)
    assert not book.stands


def test_futures_chain_by_the_last_id_before_and_spot_by_the_next_number() -> None:
    jump = diff(100, 120, 12, [])
    assert standing(Market.USDM, diff(9, 12, 8, []), jump).stands
    assert not standing(Market.SPOT, diff(9, 12, 8, []), jump).stands


@BOTH
def test_a_repeated_diff_changes_nothing(market: Market) -> None:
    once = diff(9, 12, 8, [["97.0", "5"]])
    later = diff(13, 14, 12, [["97.0", "6"]])
    book = standing(market, once, later, once)
    assert (book.stands, book.last_id) == (True, 14)
    assert ["97.0", "6"] in book.body(10)["bids"]  # type: ignore[operator]
