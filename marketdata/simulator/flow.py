"""Who trades on the simulated exchange: makers who quote around a fair value, takers who cross the spread.

The fair value is noise that returns, a share of the common market move, the takers' own impact and whatever episode is
planted. The book follows it only through orders, so prices, trades and depth always agree with each other.
"""

import math

import numpy as np
from numba import njit

from marketdata.simulator.draws import exponential, lognormal, normal, uniform
from marketdata.simulator.order_book import is_full, set_level
from marketdata.simulator.reports import (
    close_trade,
    has_room,
    note_trade,
    report_depth,
    report_mark_price,
    report_touch,
)
from marketdata.simulator.state import STEP_NS, Books, Outbox, State, Traits
from marketdata.simulator.surges import SELLOFF, flow_effect, price_effect_bps

STEP_S = STEP_NS / 1e9
STEPS_PER_S = 10
FAST_RETURN_S = 60.0
SLOW_RETURN_S = 900.0
SLOW_VOLATILITY = 0.25  # of the fast one
ACTIVITY_RETURN_S = 30.0
ACTIVITY_SPREAD = 0.4
LEAN_RETURN_S = 8.0
LEAN_SPREAD = 0.35
IMPACT_BPS = 0.10  # moved by a taker who eats one typical level
CHASE_PER_BP_S = 0.8  # takers drawn by each basis point between touch and fair value
MAX_CHASE_PER_S = 25.0
MAX_SWEEP_LEVELS = 40
STALE_CANCEL = 0.7
RETIRE, RETIRE_FAR = 0.42, 0.2
"""Chance that a maker who visits his own level takes it away; beyond 15 bps he rarely does."""


@njit(cache=True)
def run_symbol(
    traits: Traits,
    state: State,
    books: Books,
    box: Outbox,
    row: int,
    episodes: np.ndarray,
    market_bps: np.ndarray,
    first_step: int,
    until_ns: int,
) -> bool:
    """Live on until `until_ns` (included). Returns False when the outbox is full and must be emptied first."""
    while True:
        step_ns = traits.start_ns + state.step * STEP_NS
        turn_ns = min(step_ns, state.next_ns)
        if turn_ns > until_ns:
            state.now_ns = until_ns
            return True
        if not has_room(box):
            return False
        state.now_ns = turn_ns
        is_step = step_ns <= state.next_ns
        if not is_step:
            _agent_turn(traits, state, books, box, row, turn_ns)
        if state.agg_side != 0 and (is_step or not traits.futures):
            close_trade(traits, state, box, row, turn_ns)
        if is_step:
            _step(traits, state, books, box, row, episodes[row], market_bps[state.step - first_step], turn_ns)
        else:
            report_touch(traits, state, books, box, row, turn_ns)
        state.next_ns = turn_ns + 1 + int(exponential(state) / _total_rate(traits, state) * 1e9)


@njit(cache=True)
def run_market(
    traits: np.ndarray,
    states: np.ndarray,
    books: Books,
    box: Outbox,
    episodes: np.ndarray,
    market_bps: np.ndarray,
    first_step: int,
    until_ns: int,
    first_row: int,
) -> int:
    """All symbols from `first_row` on; returns the row that stopped for want of room, or the number of rows."""
    for row in range(first_row, len(states)):
        if not run_symbol(traits[row], states[row], books, box, row, episodes, market_bps, first_step, until_ns):
            return row
    return len(states)


@njit(cache=True)
def _step(
    traits: Traits,
    state: State,
    books: Books,
    box: Outbox,
    row: int,
    episodes: np.ndarray,
    market_bps: float,
    now_ns: int,
) -> None:
    """The tenth of a second is over: tell the world, then let values and moods move."""
    report_depth(traits, state, books, box, row, now_ns)
    if traits.futures and state.step % STEPS_PER_S == 0:
        report_mark_price(traits, state, box, row, now_ns)
    _move_moods(traits, state)
    _follow_episodes(traits, state, episodes, market_bps, now_ns)
    state.step += 1


@njit(cache=True)
def _move_moods(traits: Traits, state: State) -> None:
    root = math.sqrt(STEP_S)
    state.fast_bps += -state.fast_bps * STEP_S / FAST_RETURN_S + traits.volatility * root * normal(state)
    state.slow_bps += -state.slow_bps * STEP_S / SLOW_RETURN_S + SLOW_VOLATILITY * traits.volatility * root * normal(
        state
    )
    state.activity += -state.activity * STEP_S / ACTIVITY_RETURN_S
    state.activity += ACTIVITY_SPREAD * math.sqrt(2.0 * STEP_S / ACTIVITY_RETURN_S) * normal(state)
    state.lean += -state.lean * STEP_S / LEAN_RETURN_S
    state.lean += LEAN_SPREAD * math.sqrt(2.0 * STEP_S / LEAN_RETURN_S) * normal(state)


@njit(cache=True)
def _follow_episodes(traits: Traits, state: State, episodes: np.ndarray, market_bps: float, now_ns: int) -> None:
    episode = episodes[state.episode]
    if now_ns >= episode.end_ns:
        state.slow_bps += episode.gain_bps * episode.kept
        state.episode += 1
        episode = episodes[state.episode]
    total_bps = state.fast_bps + state.slow_bps + traits.beta * market_bps + price_effect_bps(episode, now_ns)
    total_bps = max(-1200.0, min(1200.0, total_bps))
    # the window's position 0 lies at base_tick, so the anchor's distance from price zero is anchor + base_tick
    state.fair = traits.anchor + (traits.base_tick + traits.anchor) * total_bps * 1e-4
    along, against, behind, before, quoting = flow_effect(episode, now_ns)
    busy = math.exp(state.activity)
    takers = 0.5 * traits.taker_rate * busy
    lean = max(-0.9, min(0.9, state.lean))
    rising = episode.kind != SELLOFF  # a spoof shows buyers and means none
    state.quote_rate = traits.quote_rate * math.sqrt(busy) * quoting
    state.buy_rate = takers * (1.0 + lean) * (along if rising else against)
    state.sell_rate = takers * (1.0 - lean) * (against if rising else along)
    state.bid_depth = behind if rising else before
    state.ask_depth = before if rising else behind


@njit(cache=True)
def _chase_up(traits: Traits, state: State) -> float:
    gap_bps = (state.fair - state.best_ask) * traits.tick_bps
    return float(min(MAX_CHASE_PER_S, max(0.0, gap_bps * CHASE_PER_BP_S)))


@njit(cache=True)
def _chase_down(traits: Traits, state: State) -> float:
    gap_bps = (state.best_bid - state.fair) * traits.tick_bps
    return float(min(MAX_CHASE_PER_S, max(0.0, gap_bps * CHASE_PER_BP_S)))


@njit(cache=True)
def _total_rate(traits: Traits, state: State) -> float:
    return float(
        state.quote_rate + state.buy_rate + state.sell_rate + _chase_up(traits, state) + _chase_down(traits, state)
    )


@njit(cache=True)
def _agent_turn(traits: Traits, state: State, books: Books, box: Outbox, row: int, now_ns: int) -> None:
    draw = uniform(state) * _total_rate(traits, state) - state.quote_rate
    if draw < 0.0:
        if not is_full(state):
            _maker_turn(traits, state, books, row, now_ns)
        return
    if draw < state.buy_rate + state.sell_rate:
        side, chasing = 1 if draw < state.buy_rate else -1, False
    else:
        side, chasing = 1 if _chase_up(traits, state) > 0.0 else -1, True
    _take(traits, state, books, box, row, side, chasing, now_ns)


@njit(cache=True)
def _take(
    traits: Traits, state: State, books: Books, box: Outbox, row: int, side: int, chasing: bool, now_ns: int
) -> None:
    """A market order. A chaser knows the fair value and takes what is cheaper; others give up 15 bps beyond the touch.

    What the others take moves the fair value for a while.
    """
    if chasing:
        lots = 1 + int(traits.level_lots * (0.5 + 2.0 * uniform(state)))
        limit = int(math.floor(state.fair) if side > 0 else math.ceil(state.fair))
    else:
        lots = 1 + int(0.35 * traits.level_lots * lognormal(state, 1.1))
        limit = (state.best_ask if side > 0 else state.best_bid) + side * int(15.0 / traits.tick_bps)
    eaten = _sweep(traits, state, books, box, row, side, lots, limit, now_ns)
    if not chasing:
        state.fast_bps += side * IMPACT_BPS * min(4.0, eaten / traits.level_lots)


@njit(cache=True)
def _sweep(
    traits: Traits, state: State, books: Books, box: Outbox, row: int, side: int, lots: int, limit: int, now_ns: int
) -> int:
    """Match a taker's `lots` against resting levels up to `limit`; returns the lots filled."""
    left = lots
    for _ in range(MAX_SWEEP_LEVELS):
        best = state.best_ask if side > 0 else state.best_bid
        if left <= 0 or is_full(state) or side * (best - limit) > 0:
            break
        resting = abs(books.levels[traits.offset + best])
        filled = min(left, resting)
        left -= filled
        set_level(traits, state, books, row, best, -side * (resting - filled), now_ns)
        fills = 1 + int(3.0 * filled / traits.level_lots)
        note_trade(traits, state, box, row, best, filled, min(fills, 12), side, now_ns)
    return lots - left


@njit(cache=True)
def _maker_turn(traits: Traits, state: State, books: Books, row: int, now_ns: int) -> None:
    """A maker looks after one level of one side: withdraws a stale quote, or visits a level near or far."""
    side = 1 if uniform(state) < 0.5 else -1  # +1: a bid
    best = state.best_bid if side > 0 else state.best_ask
    reservation = state.fair - side * traits.half_ticks
    if side * (best - reservation) > 0.5 * traits.pitch and uniform(state) < STALE_CANCEL:
        set_level(traits, state, books, row, best, 0, now_ns)
        return
    distance = _visit_distance(traits, state)
    position = _on_pitch(traits, reservation - side * distance, side)
    opposite = state.best_ask if side > 0 else state.best_bid
    if side * (opposite - position) <= 0 or position < 8 or position > traits.width - 8:
        return
    lots = _visited_lots(traits, state, books, position, side, distance * traits.tick_bps)
    set_level(traits, state, books, row, position, side * lots, now_ns)


@njit(cache=True)
def _visit_distance(traits: Traits, state: State) -> float:
    """Ticks behind the reservation price: mostly at the touch, sometimes far."""
    draw = uniform(state)
    if draw < 0.55:
        return float(1.6 * traits.pitch * exponential(state))
    scale_bps = 12.0 if draw < 0.85 else 100.0
    return float(min(500.0, scale_bps * exponential(state)) / traits.tick_bps)


@njit(cache=True)
def _on_pitch(traits: Traits, position: float, side: int) -> int:
    steps = position / traits.pitch
    return int(int(math.floor(steps) if side > 0 else math.ceil(steps)) * traits.pitch)


@njit(cache=True)
def _visited_lots(traits: Traits, state: State, books: Books, position: int, side: int, distance_bps: float) -> int:
    resting = side * books.levels[traits.offset + position]
    if resting > 0 and uniform(state) < (RETIRE if distance_bps < 15.0 else RETIRE_FAR):
        return 0
    usual = usual_lots(traits, distance_bps) * (state.bid_depth if side > 0 else state.ask_depth)
    return max(1, int(usual * lognormal(state, 0.7)))


@njit(cache=True)
def usual_lots(traits: Traits, distance_bps: float) -> float:
    return float(traits.level_lots * (1.0 + min(3.0, distance_bps / 12.0)))


@njit(cache=True)
def fill_book(traits: Traits, state: State, books: Books, row: int) -> None:
    """The opening book: every pitch near the price, then ever fewer, out to the ends of the window."""
    state.fair = traits.anchor
    for side in (1, -1):
        distance = traits.half_ticks
        while True:
            position = _on_pitch(traits, traits.anchor - side * distance, side)
            if position < 8 or position > traits.width - 8:
                break
            distance_bps = distance * traits.tick_bps
            lots = max(1, int(usual_lots(traits, distance_bps) * lognormal(state, 0.7)))
            if books.levels[traits.offset + position] == 0:
                _place_silently(traits, state, books, position, side * lots)
            distance += traits.pitch * max(1.0, distance_bps / 60.0) * (0.5 + uniform(state))


@njit(cache=True)
def _place_silently(traits: Traits, state: State, books: Books, position: int, lots: int) -> None:
    books.levels[traits.offset + position] = lots
    books.sent[traits.offset + position] = lots
    if lots > 0:
        state.best_bid = max(state.best_bid, position)
    else:
        state.best_ask = min(state.best_ask, position)
