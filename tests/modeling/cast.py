"""Made-up markets with a known truth, small enough to train on within a second."""

import numpy as np

from modeling.dataset import UNIQUENESS_BAR_NS, Dataset
from modeling.labels import Outcome
from modeling.sample_weights import average_uniqueness
from modeling.training_config import TrainingConfig

S = 1_000_000_000
FEATURES = ("buy_surge_5s_300s", "return_15s", "ofi_5s", "spread_bps", "noise_a", "noise_b")

SMALL: dict[str, object] = {
    "n_folds": 3,
    "bootstrap_draws": 40,
    "workers": 1,
    "certificate": False,
    "calibration": {"block_rows": 100, "min_effective_rows": 100.0},
    "boosting": {"max_rounds": 40, "patience": 8, "min_data_in_leaf": 20, "learning_rate": 0.15},
}


def small_config(**values: object) -> TrainingConfig:
    return TrainingConfig.from_json({**SMALL, **values})


def made_up_dataset(seed: int, n_symbols: int = 6, seconds: int = 1200, step_s: int = 2) -> Dataset:
    """Surges come in waves per coin; order flow speaks of them loudly, the burst rule hears a part, noise nothing."""
    rng = np.random.default_rng(seed)
    parts = [_coin(rng, symbol, seconds, step_s) for symbol in range(n_symbols)]
    x, outcome, t0, t1, symbol, ret = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((symbol, t0))
    return Dataset(
        X=x[order],
        outcome=outcome[order],
        t0_ns=t0[order],
        t1_ns=t1[order],
        weight=average_uniqueness(t0[order], t1[order], symbol[order], UNIQUENESS_BAR_NS),
        symbol=symbol[order],
        ret_bps=ret[order],
        feature_names=FEATURES,
        symbols=tuple(f"COIN{i}USDT" for i in range(n_symbols)),
    )


def _coin(rng: np.random.Generator, symbol: int, seconds: int, step_s: int) -> tuple[np.ndarray, ...]:
    n = seconds // step_s
    t0 = np.arange(n) * step_s * S + 1_700_000_000 * S
    mood = np.repeat(rng.normal(size=n // 15 + 1), 15)[:n]
    p_up = 1 / (1 + np.exp(-(2.0 * mood - 2.2)))
    p_down = (1 - p_up) * 0.3
    draw = rng.random(n)
    outcome = np.where(
        draw < p_up, Outcome.TAKE_PROFIT, np.where(draw < p_up + p_down, Outcome.STOP_LOSS, Outcome.TIME_OUT)
    )
    life = np.where(outcome == Outcome.TIME_OUT, 20 * S, rng.integers(S, 20 * S, n))
    ret = np.select(
        [outcome == Outcome.TAKE_PROFIT, outcome == Outcome.STOP_LOSS], [60.0, -40.0], rng.normal(-5, 10, n)
    )
    x = np.column_stack(
        [
            mood + 2.0 * rng.normal(size=n),
            25 * (0.3 * mood + rng.normal(size=n)),
            mood + 0.4 * rng.normal(size=n),
            rng.lognormal(size=n),
            rng.normal(size=n),
            rng.normal(size=n),
        ]
    )
    x[rng.random(x.shape) < 0.02] = np.nan
    return x, outcome.astype(np.int8), t0, t0 + life, np.full(n, symbol), ret
