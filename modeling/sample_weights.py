"""Sample weights for labels that overlap in time: average uniqueness, and the sequential bootstrap."""

import numpy as np
from numba import njit


@njit(cache=True)
def concurrency(first_bar: np.ndarray, last_bar: np.ndarray, n_bars: int) -> np.ndarray:
    """Return how many labels are alive in each bar; label i lives in the closed range first_bar[i]..last_bar[i]."""
    change = np.zeros(n_bars + 1, np.int64)
    for i in range(len(first_bar)):
        change[first_bar[i]] += 1
        change[last_bar[i] + 1] -= 1
    alive = np.empty(n_bars, np.int64)
    total = 0
    for bar in range(n_bars):
        total += change[bar]
        alive[bar] = total
    return alive


@njit(cache=True)
def _mean_inverse(alive: np.ndarray, first_bar: np.ndarray, last_bar: np.ndarray) -> np.ndarray:
    summed = np.zeros(len(alive) + 1)
    for bar in range(len(alive)):
        summed[bar + 1] = summed[bar] + (1.0 / alive[bar] if alive[bar] > 0 else 0.0)
    mean = np.empty(len(first_bar))
    for i in range(len(first_bar)):
        mean[i] = (summed[last_bar[i] + 1] - summed[first_bar[i]]) / (last_bar[i] + 1 - first_bar[i])
    return mean


def average_uniqueness(t0_ns: np.ndarray, t1_ns: np.ndarray, symbol: np.ndarray, bar_ns: int) -> np.ndarray:
    """Return the mean of 1 / (labels alive) over each label's life, counted within its own symbol.

    Parameters
    ----------
    t0_ns, t1_ns : ndarray of int64, shape (n,)
        Start and end of each label's life, both included.
    symbol : ndarray of int, shape (n,)
        Labels of different symbols do not share a life.
    bar_ns : int
        Width of the time bars in which overlap is counted.

    Returns
    -------
    ndarray of float64, shape (n,), in (0, 1]

    Examples
    --------
    >>> average_uniqueness(np.array([1, 3, 5]), np.array([3, 4, 6]), np.zeros(3, int), 1).round(4).tolist()
    [0.8333, 0.75, 1.0]

    References
    ----------
    Lopez de Prado (2018), "Advances in Financial Machine Learning", chapter 4.
    """
    weight = np.empty(len(t0_ns))
    for each in np.unique(symbol):
        rows = np.flatnonzero(symbol == each)
        first, last, n_bars = life_bars(t0_ns[rows], t1_ns[rows], bar_ns)
        weight[rows] = _mean_inverse(concurrency(first, last, n_bars), first, last)
    return weight


def life_bars(t0_ns: np.ndarray, t1_ns: np.ndarray, bar_ns: int) -> tuple[np.ndarray, np.ndarray, int]:
    if np.any(t1_ns < t0_ns):
        raise ValueError("A label ends before it starts: t1_ns must not be below t0_ns.")
    first, last = t0_ns // bar_ns, t1_ns // bar_ns
    origin = first.min()
    return first - origin, last - origin, int(last.max() - origin) + 1


def sequential_probabilities(first_bar: np.ndarray, last_bar: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the chance of each label to be drawn next: its average uniqueness beside what is drawn already."""
    n_bars = int(last_bar.max()) + 1
    alive = concurrency(first_bar[drawn], last_bar[drawn], n_bars)
    mean = _mean_inverse(alive + 1, first_bar, last_bar)
    return mean / mean.sum()


def sequential_bootstrap(
    first_bar: np.ndarray, last_bar: np.ndarray, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Return label indices drawn one by one, labels that overlap the drawn ones being less likely."""
    drawn = np.empty(n_draws, np.int64)
    for step in range(n_draws):
        chance = sequential_probabilities(first_bar, last_bar, drawn[:step])
        drawn[step] = rng.choice(len(first_bar), p=chance)
    return drawn
