"""Numbers as people read them; static/js/format.js says the same in the browser."""

import math
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeGuard

Number = float | int | None
DASH = "–"
DECIMALS = ((100.0, 2), (1.0, 4), (0.01, 5), (0.0, 8))
"""From which price on how many digits follow the point."""


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def fixed(value: float, digits: int) -> Decimal:
    """Return the value with so many digits, a half rounded away from zero as browsers do.

    >>> fixed(1.25, 1)
    Decimal('1.3')
    """
    return Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def price_decimals(price: float) -> int:
    return next(digits for bound, digits in DECIMALS if abs(price) >= bound)


def price_text(price: Number) -> str:
    """Return a price with as many digits as its size needs, always the same number for the same size.

    >>> price_text(67123.456), price_text(0.00001234)
    ('67,123.46', '0.00001234')
    """
    return f"{fixed(price, price_decimals(price)):,f}" if is_number(price) else DASH


def percent_text(share: Number) -> str:
    """Return a probability as a percentage.

    >>> percent_text(0.6234)
    '62.3%'
    """
    return f"{fixed(100 * share, 1)}%" if is_number(share) else DASH


def bps_text(bps: Number) -> str:
    """Return basis points without a sign of their own, as for a spread or a cost."""
    return str(fixed(bps, 1)) if is_number(bps) else DASH


def signed_bps_text(bps: Number) -> str:
    """Return basis points with their sign, as for a gain or a loss.

    >>> signed_bps_text(12.34), signed_bps_text(-0.04)
    ('+12.3', '0.0')
    """
    if not is_number(bps):
        return DASH
    rounded = fixed(bps, 1)
    return f"{rounded:+f}" if rounded else "0.0"


def age_text(milliseconds: Number) -> str:
    """Return how old something is, coarser the older it is.

    >>> age_text(430), age_text(61_000), age_text(7_300_000)
    ('0.4 s', '1 min', '2 h')
    """
    if not is_number(milliseconds):
        return DASH
    seconds = max(0.0, milliseconds / 1000)
    if seconds < 10:
        return f"{fixed(seconds, 1)} s"
    if seconds < 60:
        return f"{fixed(seconds, 0)} s"
    return f"{fixed(seconds / 60, 0)} min" if seconds < 3600 else f"{fixed(seconds / 3600, 0)} h"
