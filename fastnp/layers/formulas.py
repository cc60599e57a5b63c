"""Functions in NumPy, for arrays of any precision: what kernels are held to."""

from typing import Any

import numpy as np

FAR = 12000.0  # so far from 0, what vanishes with e^−|x| is 0 in any precision


def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)"""
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def gated(x: Any, z: Any) -> Any:
    """x·sigmoid(z), where z is of the sign of x; −0 at −∞."""
    return np.where(x < 0, -0.0, x) - np.minimum(abs(x), FAR) * sigmoid(-abs(z))


def gated_slope(x: Any, z: Any, dz: Any) -> Any:
    """The derivative of x·sigmoid(z), where that of z is dz."""
    s = sigmoid(z)
    return s + np.clip(x, -FAR, FAR) * dz * s * sigmoid(-z)


def normal_tail(x: Any) -> tuple[Any, Any, Any]:
    """a, Φ(−a) and φ(a), where a = |x|, and Φ and φ are the normal distribution function and its density.

    Below 1 by a series, Φ(−a) = ½ − φ(a)·(a + a³/3 + a⁵/15 + …); else by the trapezoidal rule, with the step h, for the
    integral of e^(−t²) / (t² + z²), where z² = a²/2, and what the pole at t = i·z adds to that. (F. Matta, A. Reichel,
    "Uniform computation of the error function and other related functions", 1971.)
    """
    a = np.minimum(abs(x), 40)  # beyond, all of this is 0
    pi, h = _pi(a), np.full_like(a, 2) / 5
    density = np.exp(-a * a / 2) / np.sqrt(2 * pi)
    near = np.minimum(a, 1)
    term = series = near
    for k in range(3, 45, 2):
        term = term * near * near / k
        series = series + term
    square = np.maximum(a, 1) ** 2 / 2
    z = np.sqrt(square)
    total = 1 / (2 * square) + sum(np.exp(-((k * h) ** 2)) / ((k * h) ** 2 + square) for k in range(1, 20))
    pole = np.where(z < pi / h, np.exp(-2 * pi * z / h) / -np.expm1(-2 * pi * z / h), 0)
    return a, np.where(a < 1, 0.5 - density * series, h * z / pi * np.exp(-square) * total - pole), density


def tanh_form(x: Any) -> tuple[Any, Any]:
    """z and its derivative, where x·sigmoid(z) is nearly x·Φ(x): twice √(2/π)·(x + 0.044715·x³)."""
    x = np.clip(x, -FAR, FAR)
    twice, share = 2 * np.sqrt(2 / _pi(x)), np.full_like(x, 44715) / 1_000_000
    return twice * (x + share * x**3), twice * (1 + 3 * share * x**2)


def _pi(like: Any) -> Any:
    """π in the precision of an array."""
    return 4 * np.arctan(np.ones_like(like))
