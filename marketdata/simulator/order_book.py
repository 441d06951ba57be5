"""The exchange's own limit order book: aggregate lots at each tick, and the changes since the last diff."""

from numba import njit

from marketdata.simulator.state import MAX_DIRTY, Books, State, Traits

MARK_BID = 1
MARK_ASK = 2


@njit(cache=True)
def set_level(traits: Traits, state: State, books: Books, row: int, position: int, lots: int, now_ns: int) -> None:
    """Make `lots` rest at `position` (> 0 bid, < 0 ask, 0 nothing) and number the change."""
    where = traits.offset + position
    before = books.levels[where]
    if before == lots:
        return
    books.levels[where] = lots
    _mark(state, books, row, position, where, before, lots)
    state.update_id += 1 if traits.id_stride == 1 else 1 + (state.update_id * 7919 + position) % traits.id_stride
    if state.first_id == 0:
        state.first_id = state.update_id
    state.change_ns = now_ns
    _find_best(traits, state, books, position, before, lots)


@njit(cache=True)
def _mark(state: State, books: Books, row: int, position: int, where: int, before: int, lots: int) -> None:
    if books.marks[where] == 0:
        books.dirty[row, state.n_dirty] = position
        state.n_dirty += 1
    books.marks[where] |= MARK_BID if before > 0 or lots > 0 else MARK_ASK


@njit(cache=True)
def _find_best(traits: Traits, state: State, books: Books, position: int, before: int, lots: int) -> None:
    if lots > 0:
        state.best_bid = max(state.best_bid, position)
    elif lots < 0:
        state.best_ask = min(state.best_ask, position)
    elif before > 0 and position == state.best_bid:
        state.best_bid = _next_level(traits, books, position, -1)
    elif before < 0 and position == state.best_ask:
        state.best_ask = _next_level(traits, books, position, 1)


@njit(cache=True)
def _next_level(traits: Traits, books: Books, position: int, step: int) -> int:
    """The far ends of the window are never consumed, so there always is one."""
    position += step
    while books.levels[traits.offset + position] == 0:
        position += step
    return position


@njit(cache=True)
def is_full(state: State) -> bool:
    """True when the running diff could not carry another agent's changes."""
    return bool(state.n_dirty > MAX_DIRTY - 64)
