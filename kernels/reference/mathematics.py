"""Elementary functions of arrays, computed in double. What vanishes with eˣ does so without being NaN at ∞."""

import math

import numpy as np

_FAR = 1000.0  # so far from 0 all that vanishes is 0
_ROOT = float(np.float32(math.sqrt(2)))  # √2 is this, whose products with numbers of 24 bits are exact …
_ROOT_REST = 2.420323420895794e-08  # … and this
_DENSITY = 1 / math.sqrt(2 * math.pi)

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def wide(x):
    return x.astype(np.float64, copy=False)


def within(x):
    """x, or the nearest number that is no farther from 0 than `_FAR`."""
    return np.clip(wide(x), -_FAR, _FAR)


def sigmoid(x):
    """1 / (1 + e⁻ˣ), below 0 as eˣ / (eˣ + 1)"""
    e = np.exp(-np.abs(wide(x)))
    return np.where(x < 0, e, 1) / (1 + e)


def positive_or_zero(x):
    """x where it is positive or a zero, else −0, from which taking away +0 leaves −0; NaN for NaN."""
    return np.where(x < 0, -0.0, wide(x))


def gated(x, z):
    """x·sigmoid(z), for z of the sign of x, and |z| ≥ |x|: max(x, 0) − |x|·sigmoid(−|z|)."""
    size = np.abs(wide(z))
    near = np.minimum(size, 700.0)
    e, rest = np.exp(-near), np.exp(near - size)  # their product may be subnormal where the result is not
    return positive_or_zero(x) - np.abs(within(x)) * e / (1 + e) * rest


def gated_slope(x, z, dz):
    """The derivative of x·sigmoid(z), where that of z is dz, which must be finite.

    At −|x| it is s·(1 − |x|·dz·(1 − s)), where s = sigmoid(−|z|); at |x|, 1 less that.
    """
    e = np.exp(-np.abs(wide(z)))
    left = e / (1 + e) * (1 - np.abs(within(x)) * dz / (1 + e))
    return np.where(x < 0, left, 1 - left)


def softplus(x):
    """log(1 + eˣ)"""
    return np.logaddexp(0, wide(x))


def normal_tail(x):
    """a, Φ(−a) and φ(a), where a = |x|, and Φ and φ are the normal distribution function and its density.

    Φ(−a) = ½·erfc(a/√2). Rounded, a/√2 would be off by so much that the result lost digits: here it is cut off behind
    24 bits, to z, and Φ follows from Taylor's theorem around √2·z.
    """
    a = np.minimum(np.abs(wide(x)), 40.0)  # where all of this is 0
    z = (a / math.sqrt(2)).astype(np.float32).astype(np.float64)
    beyond = a - z * _ROOT - z * _ROOT_REST  # √2·z
    density = _DENSITY * np.exp(-z * z)
    tail = 0.5 * _erfc(z) - density * beyond * (1 - a * beyond / 2)
    return a, tail, density * np.exp(-beyond * (a - beyond / 2))


def softmax(x):
    """eˣ / Σ eˣ of each row"""
    e = np.exp(wide(x) - np.max(x, axis=1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=1, keepdims=True)
