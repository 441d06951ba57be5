"""What a large order does to the price: the square-root law, and how large a position may grow on an edge."""

import math

MEAN_TO_PEAK = 2.0 / 3.0
"""An order worked evenly along a square-root path pays two thirds of its final impact on average."""


def peak_impact_bps(quantity: float, volume: float, sigma_bps: float, y: float = 1.0) -> float:
    """Return how far the price stands away when the whole order is done.

    Parameters
    ----------
    quantity, volume : float
        The order and the market's volume, in the same units.
    sigma_bps : float
        Volatility of the price, over the same time as `volume`.
    y : float
        The constant of the law, about 0.5 to 1.

    References
    ----------
    Donier & Bonart (2015), "A Million Metaorder Analysis of Market Impact on the Bitcoin".
    """
    if quantity < 0.0 or volume <= 0.0:
        raise ValueError(f"An order of {quantity} in a volume of {volume} has no impact: both must be positive.")
    return y * sigma_bps * math.sqrt(quantity / volume)


def mean_impact_bps(quantity: float, volume: float, sigma_bps: float, y: float = 1.0) -> float:
    """Return what the order pays on average over its fills."""
    return MEAN_TO_PEAK * peak_impact_bps(quantity, volume, sigma_bps, y)


def capacity(edge_bps: float, volume: float, sigma_bps: float, y: float = 1.0, legs: int = 2) -> float:
    """Return the order size that earns most in total: there, a third of the edge is left per unit.

    Net of impact a unit earns edge - k sqrt(size), so size x net peaks at (2 edge / 3 k)^2.
    """
    k = legs * MEAN_TO_PEAK * y * sigma_bps / math.sqrt(volume)
    return (2.0 * max(edge_bps, 0.0) / (3.0 * k)) ** 2
