from hypothesis import given
from hypothesis import strategies as st

from marketdata.simulator.ledger import Ledger, Spans, ids_of

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda one: (one[0], one[0] + one[1])))


def filled(spans: list[tuple[int, int]]) -> Spans:
    book = Spans()
    for first, last in spans:
        book.add(first, last)
    return book


def ids(spans: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


@given(SPANS)
def test_spans_hold_exactly_the_ids_that_were_added(spans: list[tuple[int, int]]) -> None:
    book = filled(spans)
    assert ids(list(book)) == ids(spans)
    assert all(book.holds(number) == (number in ids(spans)) for number in range(70))


@given(SPANS)
def test_spans_are_in_order_and_never_touch(spans: list[tuple[int, int]]) -> None:
    kept = list(filled(spans))
    assert all(left[1] + 1 < right[0] for left, right in zip(kept, kept[1:], strict=False))


@given(SPANS, SPANS)
def test_what_is_missing_is_the_difference(spans: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    missing = filled(spans).without(filled(others))
    assert ids(missing) == ids(spans) - ids(others)


def test_ids_are_read_from_diffs_and_trades_only() -> None:
    assert ids_of("btcusdt@depth@100ms", b'{"e":"depthUpdate","U":5,"u":9,"pu":4}') == (5, 9)
    assert ids_of("btcusdt@aggTrade", b'{"e":"aggTrade","a":77,"p":"1"}') == (77, 77)
    assert ids_of("btcusdt@bookTicker", b'{"u":5,"a":"1.0"}') is None
    assert ids_of("btcusdt@depth@100ms", b"garbage") is None


def test_the_ledger_tells_what_was_made_and_never_sent() -> None:
    ledger = Ledger()
    stream = "btcusdt@depth@100ms"
    for first, is_sent in ((1, True), (4, False), (7, True)):
        data = b'{"U":%d,"u":%d}' % (first, first + 2)
        ledger.note_made(stream, data)
        if is_sent:
            ledger.note_sent(stream, data)
    assert ledger.unsent(stream) == [(4, 6)]
    assert ledger.row(stream) == {
        "stream": stream,
        "messages": 2,
        "made": [(1, 9)],
        "sent": [(1, 3), (7, 9)],
        "unsent": [(4, 6)],
    }
