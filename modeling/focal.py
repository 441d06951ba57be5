"""Focal loss for boosting: stable gradient and Hessian, the start score, and the exact way back to probability.

Written on the margin m = (2y - 1) z with p = sigmoid(m), q = 1 - p:
    loss     -a q^g log p
    dL/dz    (2y - 1) a q^g (g p log p - q)
    d2L/dz2  a q^g (p q (2g + 1) + g p log p (q - g p))      negative for hard examples, so it is floored
Lin et al. (2017), "Focal Loss for Dense Object Detection"; Charoenphakdee et al. (2021) for the inverse map.
"""

import math

import numpy as np
from numba import njit

HESSIAN_FLOOR = 1e-6


@njit(cache=True)
def _log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


@njit(cache=True)
def _gradient_hessian(z: float, is_positive: bool, gamma: float, alpha: float) -> tuple[float, float]:
    sign = 1.0 if is_positive else -1.0
    log_p, log_q = _log_sigmoid(sign * z), _log_sigmoid(-sign * z)
    p, q = math.exp(log_p), math.exp(log_q)
    scale = alpha * math.exp(gamma * log_q)
    gradient = sign * scale * (gamma * p * log_p - q)
    hessian = scale * (p * q * (2 * gamma + 1) + gamma * p * log_p * (q - gamma * p))
    return gradient, hessian


@njit(cache=True)
def _fill(
    z: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    gamma: float,
    alpha_positive: float,
    alpha_negative: float,
    floor: float,
    gradient: np.ndarray,
    hessian: np.ndarray,
) -> None:
    for i in range(len(z)):
        positive = y[i] > 0.5
        g, h = _gradient_hessian(z[i], positive, gamma, alpha_positive if positive else alpha_negative)
        gradient[i] = weight[i] * g
        hessian[i] = weight[i] * max(h, floor)


def _alphas(alpha: float | None) -> tuple[float, float]:
    return (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)


def focal_loss(z: np.ndarray, y: np.ndarray, gamma: float, alpha: float | None = None) -> np.ndarray:
    positive, negative = _alphas(alpha)
    margin = np.where(y > 0.5, z, -z)
    log_p, log_q = -np.logaddexp(0.0, -margin), -np.logaddexp(0.0, margin)
    return -np.where(y > 0.5, positive, negative) * np.exp(gamma * log_q) * log_p


def focal_gradient_hessian(
    z: np.ndarray,
    y: np.ndarray,
    gamma: float,
    alpha: float | None = None,
    weight: np.ndarray | None = None,
    floor: float = HESSIAN_FLOOR,
) -> tuple[np.ndarray, np.ndarray]:
    """Return first and floored second derivative of the focal loss by the raw score, row by row.

    `gamma` 0 without `alpha` is plain log loss: p - y and p (1 - p). The floor is needed because the true
    Hessian is negative where p of the right class is below about 0.05, and tiny for easy rows. Pass
    `floor=-inf` for the exact second derivative.

    Examples
    --------
    >>> gradient, hessian = focal_gradient_hessian(np.array([0.0]), np.array([1.0]), 2.0)
    >>> gradient.round(12).tolist(), hessian.round(12).tolist()
    ([-0.29828679514], [0.39914339757])
    """
    z = np.ascontiguousarray(z, np.float64)
    y = np.ascontiguousarray(y, np.float64)
    weight = np.ones_like(z) if weight is None else np.ascontiguousarray(weight, np.float64)
    gradient, hessian = np.empty_like(z), np.empty_like(z)
    _fill(z, y, weight, float(gamma), *_alphas(alpha), floor, gradient, hessian)
    return gradient, hessian


@njit(cache=True)
def _start_score(base_rate: float, gamma: float, alpha_positive: float, alpha_negative: float) -> float:
    low, high = -60.0, 60.0
    while True:
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            return middle
        up, _ = _gradient_hessian(middle, True, gamma, alpha_positive)
        down, _ = _gradient_hessian(middle, False, gamma, alpha_negative)
        if base_rate * up + (1.0 - base_rate) * down < 0.0:
            low = middle
        else:
            high = middle


def focal_start_score(base_rate: float, gamma: float, alpha: float | None = None) -> float:
    """Return the constant raw score with the least focal loss: where boosting starts. It is not the logit."""
    if not 0.0 < base_rate < 1.0:
        raise ValueError(f"A share of positives of {base_rate} has no start score: the data need both outcomes.")
    return float(_start_score(base_rate, float(gamma), *_alphas(alpha)))


@njit(cache=True)
def _probability(z: float, gamma: float, alpha_positive: float, alpha_negative: float) -> float:
    small = math.exp(-abs(z))
    low, high = small / (1.0 + small), 1.0 / (1.0 + small)
    log_high = math.log1p(small)  # -log(high); -log(low) is that + |z|
    q, r = (high, low) if z >= 0 else (low, high)
    minus_log_q = log_high if z >= 0 else log_high - z
    minus_log_r = log_high + z if z >= 0 else log_high
    up = alpha_negative * (q ** (gamma + 1.0) + gamma * q**gamma * r * minus_log_r)
    down = alpha_positive * (r ** (gamma + 1.0) + gamma * r**gamma * q * minus_log_q)
    return up / (up + down)


@njit(cache=True)
def _probabilities(z: np.ndarray, gamma: float, alpha_positive: float, alpha_negative: float) -> np.ndarray:
    out = np.empty_like(z)
    for i in range(len(z)):
        out[i] = _probability(z[i], gamma, alpha_positive, alpha_negative)
    return out


def focal_probability(z: np.ndarray, gamma: float, alpha: float | None = None) -> np.ndarray:
    """Return the chance of a positive that a raw focal score stands for: psi(sigmoid(z)), exact, nothing fitted.

    Both sides of psi are multiplied by q (1 - q), so nothing divides by zero however large the score.
    """
    return _probabilities(np.ascontiguousarray(z, np.float64), float(gamma), *_alphas(alpha))


def psi(q: np.ndarray, gamma: float, alpha: float | None = None) -> np.ndarray:
    """Return the probability behind a focal output q = sigmoid(z) in (0, 1)."""
    return focal_probability(np.log(q) - np.log1p(-np.asarray(q)), gamma, alpha)
