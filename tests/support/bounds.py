"""How far from the exact result a kernel may be: bounds that follow from the arithmetic.

u is the unit roundoff, m the number of terms summed, G = |A||B| (+ |start|), R the result computed in the
next higher precision from the same inputs.

hard bound   |C − R| ≤ γ_m·G + m·tiny, γ_m = m·u / (1 − m·u): any order of summation, fused or not
             (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1)
sentinel     min(m, 6√m)·u·G + m·tiny: what a healthy kernel meets in practice
"""

from typing import Any, NamedTuple

import numpy as np
from products import matrix_product

HIGHER = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}

# The worst error seen for each bound, as a fraction of it.
WORST: dict[str, float] = {}


class Exact(NamedTuple):
    """A sum of products in higher precision."""

    value: np.ndarray  # R
    magnitude: np.ndarray  # G
    terms: int  # m
    dtype: np.dtype  # of the kernel


def unit_roundoff(dtype: Any) -> float:
    return float(np.finfo(dtype).eps) / 2


def product(a: np.ndarray, b: np.ndarray, start: np.ndarray | None = None) -> Exact:
    """a·b (+ start, broadcast)."""
    high = HIGHER[a.dtype]
    value = matrix_product(a.astype(high), b.astype(high))
    magnitude = matrix_product(np.abs(a).astype(high), np.abs(b).astype(high))
    if start is not None:
        value = value + start.astype(high)
        magnitude = magnitude + np.abs(start).astype(high)
    return Exact(value, magnitude, a.shape[1] + (start is not None), a.dtype)


def positive_part(exact: Exact) -> Exact:
    """Behind a ReLU; the bounds hold as they are, for it brings no two numbers further apart."""
    return exact._replace(value=np.maximum(exact.value, 0))


def _floor(exact: Exact) -> float:
    return max(exact.terms, 1) * float(np.finfo(exact.dtype).tiny)


def hard_bound(exact: Exact) -> np.ndarray:
    mu = exact.terms * unit_roundoff(exact.dtype)
    if np.finfo(HIGHER[exact.dtype]).eps >= np.finfo(exact.dtype).eps:  # no long double here: R errs as C may
        mu *= 2
    return mu / (1 - mu) * exact.magnitude + _floor(exact)


def sentinel(exact: Exact) -> np.ndarray:
    m = exact.terms
    return min(m, 6 * m**0.5) * unit_roundoff(exact.dtype) * exact.magnitude + _floor(exact)


def fraction(name: str, error: np.ndarray, bound: np.ndarray) -> float:
    """The largest |error| / bound; NaN where one is NaN."""
    worst = float(np.max(np.abs(error) / bound, initial=0))
    WORST[name] = max(WORST.get(name, 0), worst)
    return worst


def check(kernel: str, result: np.ndarray, exact: Exact) -> None:
    """AssertionError where `result` breaks the hard bound or the sentinel."""
    error = result - exact.value
    assert fraction(f"{kernel} hard", error, hard_bound(exact)) <= 1
    assert fraction(f"{kernel} sentinel", error, sentinel(exact)) <= 1


def exact_value(layer: Any, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """What an activation makes of x, in higher precision, and how many ulp a kernel may be off."""
    with np.errstate(all="ignore"):
        value = layer._exact_value(x.astype(HIGHER[x.dtype]))
        return value, layer._ulps * _ulps_of(np.full_like(value, layer._floor), value, x.dtype)


def exact_gradient(layer: Any, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, Any]:
    """What an activation makes of the gradient dy, where it made y of x; and how many ulp of it a kernel may be off.

    The slope may be off by so many ulp of 1 where it is smaller, and the product is rounded.
    """
    given = [array.astype(HIGHER[y.dtype]) for array in (dy, x, y)]
    with np.errstate(all="ignore"):
        value = layer._exact_gradient(*given)
        ulps = layer._slope_ulps * _ulps_of(layer._gradient_size(*given), value, y.dtype)
        return value, ulps + (0.5 if layer._slope_ulps else 0)


def _ulps_of(size: np.ndarray, value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """How many ulp of a value eps·size is, but at least one."""
    ulp = np.spacing(np.abs(value).astype(dtype)).astype(value.dtype)
    return np.maximum(1, np.where(np.isfinite(size / ulp), size * np.finfo(dtype).eps / ulp, 1))


def check_ulps(kernel: str, result: np.ndarray, exact: np.ndarray, ulps: Any) -> None:
    """AssertionError where a result is more than so many ulp from the exact one, or another infinity or NaN."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(result.dtype)
        finite = np.isfinite(rounded)
        assert same_bits(np.where(finite, 0, result), np.where(finite, 0, rounded))
        size = np.spacing(np.abs(np.where(finite, rounded, 1))).astype(exact.dtype)
        error = np.where(finite, result - exact, 0)
        # An exact result is what the exact value is rounded to.
        bound = np.where(np.asarray(ulps) > 0, ulps * size, np.abs(np.where(finite, rounded - exact, 0)))
        assert fraction(f"{kernel} ulps", error, np.maximum(bound, np.finfo(exact.dtype).tiny)) <= 1


def check_twins(kernel: str, result: np.ndarray, twin: np.ndarray, exact: Exact) -> None:
    """AssertionError where two results are further apart than twice the hard bound."""
    difference = result.astype(exact.value.dtype) - twin
    assert fraction(f"{kernel} twins", difference, 2 * hard_bound(exact)) <= 1


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits, all NaNs counted as one."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    bits = f"u{a.dtype.itemsize}"
    equal = np.ascontiguousarray(a).view(bits) == np.ascontiguousarray(b).view(bits)
    return bool(np.all(equal | (np.isnan(a) & np.isnan(b))))
