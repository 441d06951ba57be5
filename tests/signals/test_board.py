"""What the board says at a given moment."""

from typing import Any

from signals.board import STALE_AFTER_MS, board_now

NOW_NS = 1_800_000_000_000_000_000


def row(symbol: str, p: float | None = 0.5, state: str = "live", seconds_ago: float = 0.2) -> dict[str, Any]:
    tick_ns = str(NOW_NS - round(seconds_ago * 1e9))
    return {"symbol": symbol, "p": p, "state": state, "tick_ns": tick_ns, "age_ms": 100}


def test_the_most_probable_coin_comes_first_and_unknown_comes_last() -> None:
    rows = [row("A", None), row("B", 0.1), row("C", 0.9), row("D", 0.9)]
    assert [shown["symbol"] for shown in board_now(rows, NOW_NS).rows] == ["C", "D", "B", "A"]


def test_age_is_the_age_at_the_tick_and_the_time_since() -> None:
    assert board_now([row("A", seconds_ago=2.0)], NOW_NS).rows[0]["age_ms"] == 2_100.0


def test_an_unknown_age_at_the_tick_counts_from_the_tick() -> None:
    assert board_now([row("A", seconds_ago=2.0) | {"age_ms": None}], NOW_NS).rows[0]["age_ms"] == 2_000.0


def test_a_row_nobody_renewed_is_stale_whatever_it_says() -> None:
    board = board_now([row("A", seconds_ago=STALE_AFTER_MS / 1000 + 0.1), row("B")], NOW_NS)
    assert {shown["symbol"]: shown["state"] for shown in board.rows} == {"A": "stale", "B": "live"}
    assert (board.live, board.stale, board.state) == (1, 1, "live")


def test_a_board_of_old_rows_is_stale_as_a_whole() -> None:
    board = board_now([row("A", seconds_ago=90.0), row("B", seconds_ago=60.0)], NOW_NS)
    assert board.state == "stale"
    assert board.age_ms == 60_000.0
    assert board.top is None


def test_before_the_first_probability_the_board_warms_up() -> None:
    assert board_now([row("A", None, "warming"), row("B", None, "stale")], NOW_NS).state == "warming"


def test_no_rows_make_an_empty_board() -> None:
    board = board_now([], NOW_NS)
    assert (board.state, board.age_ms, board.top) == ("empty", None, None)


def test_the_top_coin_is_the_most_probable_live_one() -> None:
    board = board_now([row("OLD", 0.99, seconds_ago=60.0), row("A", 0.3), row("B", 0.4)], NOW_NS)
    assert board.top is not None
    assert board.top["symbol"] == "B"


def test_rows_given_are_not_changed() -> None:
    given = row("A", seconds_ago=60.0)
    board_now([given], NOW_NS)
    assert given["state"] == "live"
