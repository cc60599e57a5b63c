"""Exact results in higher precision, and how far from them the arithmetic may lead."""

from typing import Any

import numpy as np


def wide(array: Any) -> np.ndarray:
    """An array in the next higher precision: double for float32, long double for float64."""
    array = np.asarray(array)
    return array.astype(np.float64 if array.dtype == np.float32 else np.longdouble)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a·b, summed by NumPy itself: what is checked here goes through the BLAS, and so must not its judge."""
    return np.einsum("ik,kj->ij", a, b)


def unit(dtype: Any) -> float:
    """The unit roundoff."""
    return float(np.finfo(dtype).eps) / 2


def sum_bound(terms: int, dtype: Any, size: np.ndarray) -> np.ndarray:
    """The error that a sum of so many terms may have; `size` is the sum of their absolute values."""
    mu = terms * unit(dtype)
    return mu / (1 - mu) * size + terms * float(np.finfo(dtype).tiny)


def value_bound(layer: Any, y: np.ndarray, dtype: Any) -> np.ndarray:
    """The error that an activation's value may have, where it is y."""
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    return layer._ulps * eps * np.maximum(abs(y), layer._floor) + (tiny if layer._ulps else 0)


def gradient_bound(layer: Any, dy: np.ndarray, x: np.ndarray | None, y: np.ndarray, dtype: Any) -> np.ndarray:
    """The error that the gradient behind an activation, which made y of x, may have, for a gradient dy before it."""
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    size: np.ndarray = layer._gradient_size(dy, x, y)
    return layer._slope_ulps * eps * size + (tiny if layer._slope_ulps else 0)
