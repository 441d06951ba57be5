"""Features of trades alone: hand-made tapes, a slow twin of the window sums, and no look ahead."""

import numpy as np
import pytest

from marketdata.features.trade_bars import BASE_S, TRADE_FEATURES, busy_bar_ends, trade_features

START_MS = 1_600_000_000_000
Tape = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def random_tape(n: int, seed: int) -> Tape:
    rng = np.random.default_rng(seed)
    ts = START_MS + np.cumsum(rng.choice([0, 300, 9000, 40_000], n, p=[0.2, 0.4, 0.3, 0.1]))
    price = np.round(np.exp(np.cumsum(rng.normal(0, 1e-3, n))), 4)
    return ts.astype(np.int64), rng.random(n) < 0.5, price, rng.exponential(1.0, n)


def column(X: np.ndarray, name: str) -> np.ndarray:
    return X[:, TRADE_FEATURES.index(name)]


def test_a_row_never_reads_the_trades_from_its_moment_on() -> None:
    ts, is_buy, price, volume = random_tape(6000, 1)
    at = busy_bar_ends(ts, 5000)
    whole = trade_features(ts, is_buy, price, volume, at)
    assert np.isfinite(whole[-1]).all()
    for cut in at[np.random.default_rng(2).integers(len(at) // 2, len(at), 15)]:
        past = ts < cut
        spoiled = (ts, is_buy, price * np.where(past, 1.0, 7.0), volume * np.where(past, 1.0, 1e3))
        for a, b, c, d in ((ts[past], is_buy[past], price[past], volume[past]), spoiled):
            got = trade_features(a, b, c, d, at[at <= cut])
            assert got.tobytes() == whole[at <= cut].tobytes()


def test_window_sums_equal_a_slow_twin() -> None:
    ts, is_buy, price, volume = random_tape(4000, 3)
    at = busy_bar_ends(ts, 5000)[-200:]
    X = trade_features(ts, is_buy, price, volume, at)
    for row, moment in zip(X, at, strict=True):
        last = (ts < moment) & (ts >= moment - 60_000)
        base = (ts < moment) & (ts >= moment - BASE_S * 1000)
        usual = volume[base].sum() / BASE_S * 60
        assert row[TRADE_FEATURES.index("volume_60s")] == pytest.approx(np.log(volume[last].sum() / usual + 1e-3))
        before = price[ts < moment - 60_000][-1]
        assert row[TRADE_FEATURES.index("return_60s")] == pytest.approx(np.log(price[ts < moment][-1] / before))
        top = max(before, price[last].max(initial=0.0))
        assert row[TRADE_FEATURES.index("new_high_60s")] == pytest.approx(np.log(price[ts < moment][-1] / top))


def test_the_unit_of_price_and_volume_does_not_matter() -> None:
    ts, is_buy, price, volume = random_tape(4000, 4)
    at = busy_bar_ends(ts, 5000)
    X = trade_features(ts, is_buy, price, volume, at)
    np.testing.assert_allclose(trade_features(ts, is_buy, price * 1e-6, volume * 1e5, at), X, rtol=1e-6, atol=1e-6)


def test_decayed_counts_halve_every_half_life() -> None:
    ts = np.r_[START_MS, START_MS + BASE_S * 1000 + np.array([0, 5000])].astype(np.int64)
    at = np.array([ts[-1] + 5000])
    X = trade_features(ts, np.ones(3, bool), np.ones(3), np.ones(3), at)
    assert column(X, "buys_decay_5s")[0] == pytest.approx(np.log1p(0.5 + 0.25))


def test_rows_are_unknown_until_six_hours_of_trades_are() -> None:
    ts, is_buy, price, volume = random_tape(6000, 5)
    at = busy_bar_ends(ts, 5000)
    known = np.isfinite(trade_features(ts, is_buy, price, volume, at)).all(axis=1)
    assert (known == (at - ts[0] >= BASE_S * 1000)).all() and 0 < known.sum() < len(at)


def test_a_tape_without_trades_has_no_values() -> None:
    none = np.zeros(0)
    X = trade_features(none.astype(np.int64), none.astype(bool), none, none, np.array([START_MS]))
    assert X.shape == (1, len(TRADE_FEATURES)) and np.isnan(X).all()


def test_trades_out_of_order_are_refused() -> None:
    ts, is_buy, price, volume = random_tape(10, 6)
    with pytest.raises(ValueError, match="sort them"):
        trade_features(ts[::-1], is_buy, price, volume, ts)
