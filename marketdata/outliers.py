"""Which values are unlike the others, judged by median and MAD so that an outlier cannot hide behind itself."""

import numpy as np

MAD_TO_SIGMA = 1.4826
"""The MAD of normal values times this is their standard deviation."""


def robust_z(values: np.ndarray) -> np.ndarray:
    """Return (x - median) / (1.4826 MAD) of each value.

    Where more than half of the values are equal the MAD is 0: those read 0, and any other value is infinitely far.

    Examples
    --------
    >>> robust_z(np.array([1.0, 2.0, 2.0, 3.0, 2.0, 1.0, 2.0, 50.0])).round(2)[-1].item()
    64.75
    """
    distance = values - np.nanmedian(values)
    scale = MAD_TO_SIGMA * np.nanmedian(np.abs(distance))
    if scale > 0.0:
        return np.asarray(distance / scale)
    return np.where(distance == 0.0, 0.0, np.copysign(np.inf, distance))
