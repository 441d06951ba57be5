"""Any mix of lost, repeated and shuffled diffs, and snapshots old and new: a book that says SYNCED is the true one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.events import NS_PER_S, Market
from marketdata.features.replay import FeatureReplay
from tests.simulation.tape import SHOWN, START_NS, tape

DIFFS = 60

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.integers(1, 8)),
        st.tuples(st.sampled_from(["drop", "repeat", "swap", "back"]), st.integers(1, 4)),
        st.tuples(st.just("snapshot"), st.integers(-12, 3)),
        st.tuples(st.just("disconnect"), st.just(0)),
    ),
    max_size=25,
)


def order_of(steps: list[Step]) -> list[tuple[str, int]]:
    """Which diffs (by number), snapshots (by the number of the diff before) and cuts arrive, in which order."""
    told: list[tuple[str, int]] = []
    at = 0
    for kind, count in steps:
        span = range(at, min(DIFFS, at + count))
        if kind == "tell":
            told += [("diff", number) for number in span]
        elif kind == "repeat":
            told += [("diff", number) for number in span for _ in range(2)]
        elif kind == "swap":
            told += [("diff", number) for number in reversed(span)]
        elif kind == "back":
            told += [("diff", max(0, at - count))]
        elif kind != "drop":
            told.append((kind, min(DIFFS - 1, max(0, at + count))))
        at = span.stop if kind in ("tell", "repeat", "swap", "drop") else at
    return told


@given(market=st.sampled_from(list(Market)), number=st.integers(0, 1), steps=STEPS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_book_that_says_synced_is_the_true_one(market: Market, number: int, steps: list[Step]) -> None:
    truth = tape(market, number)
    symbol = truth.symbols[0]
    name = symbol.lower()
    diffs = [frame for stream, frame, _ in truth.frames if stream == f"{name}@depth@100ms"][:DIFFS]
    times_s = truth.diff_times[symbol]
    replay = FeatureReplay(market, capacity=2)
    for position, (kind, at) in enumerate(order_of(steps)):
        if kind == "diff":
            frame = diffs[at]
        elif kind == "snapshot":
            body = truth.snapshot(symbol, times_s[at])
            frame = b'{"stream":"%b@depthSnapshot","generated":true,"data":%b}' % (name.encode(), body)
        else:
            frame = b'{"stream":"!disconnect","generated":true,"data":{"streams":[]}}'
        replay.feed(b"%d %b\n" % (START_NS + position * NS_PER_S // 10, frame))
        check(replay, symbol, truth.books[symbol])


def check(replay: FeatureReplay, symbol: str, truth: dict[int, object]) -> None:
    if symbol not in replay.symbols or not replay.is_synced(symbol):
        return
    book = replay.book(symbol)
    bids, asks = (
        tuple((int(level["price_e8"]), float(level["qty"])) for level in book.levels(side, SHOWN))
        for side in ("bid", "ask")
    )
    assert bids and asks and bids[0][0] < asks[0][0], "crossed"
    expected = truth.get(replay.last_update_id(symbol))
    assert expected is None or (bids, asks) == expected
