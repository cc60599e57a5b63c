"""What layers make of what they are given, in higher precision, and how far from that they may be."""

from typing import Any

import numpy as np

from ..layers.activation import Activation
from ..layers.dropout import Dropout
from ..layers.linear import Linear
from ..layers.normalization import LayerNorm
from .exact import gradient_bound, product, sum_bound, unit, value_bound, wide
from .masks import factors
from .normalized import Normalized

Judged = tuple[np.ndarray, Any]  # the exact numbers, and the bound of each


def made_of(layer: Any, given: np.ndarray, dtype: Any) -> Judged:
    """What a layer makes of numbers that are seen, computing in a dtype."""
    if isinstance(layer, Linear):
        a, w, b = wide(given), wide(layer.weights.data), wide(layer.bias.data)
        return product(a, w) + b, sum_bound(len(w) + 1, dtype, product(abs(a), abs(w)) + abs(b))
    if isinstance(layer, LayerNorm):
        return _normalized(layer, given).output(wide(layer.weights.data), wide(layer.bias.data))
    given = given.astype(dtype)
    if isinstance(layer, Dropout):
        return _kept(layer, given), 0.0
    exact = layer._exact_value(wide(given))
    return exact, value_bound(layer, abs(exact), dtype)


def passed(layer: Any, exact: np.ndarray, bound: Any, dtype: Any) -> Judged:
    """What an activation or dropout makes of numbers that are not seen, and off by `bound` at most."""
    if isinstance(layer, Activation):
        exact = layer._exact_value(exact)
        return exact, layer._passed_on(bound) + value_bound(layer, abs(exact), dtype)
    factor = wide(factors(layer._drawing(), exact.shape, dtype))
    exact = np.where(factor == 0, 0, exact * factor)
    return exact, np.where(factor == 0, 0, factor * bound + unit(dtype) * abs(exact) + float(np.finfo(dtype).tiny))


def passed_back(layer: Any, gradient: np.ndarray) -> Judged:
    """What an activation or dropout makes of the gradient behind it, rounded to the dtype that it computes in."""
    if isinstance(layer, Dropout):
        return _kept(layer, gradient), 0.0
    y, dy = wide(layer.activated), wide(gradient)
    x = wide(layer._last_input()).reshape(y.shape) if layer._kernel_kind.needs_input else None
    return layer._exact_gradient(dy, x, y), gradient_bound(layer, dy, x, y, gradient.dtype)


def gradients(layer: Any, gradient: np.ndarray) -> tuple[Judged, Judged, Judged]:
    """The gradients of input, weights and bias that a layer makes of the one behind it."""
    x, dtype = layer._last_input(), layer.weights.dtype
    dy, w = wide(gradient).reshape(-1, gradient.shape[-1]), wide(layer.weights.data)
    bias = dy.sum(0, keepdims=True), sum_bound(len(dy), dtype, abs(dy).sum(0, keepdims=True))
    if isinstance(layer, LayerNorm):
        exact = _normalized(layer, x)
        return exact.input_gradient(dy, w), exact.weights_gradient(dy), bias
    of_input = product(dy, w.T), sum_bound(w.shape[1], dtype, product(abs(dy), abs(w.T)))
    a = wide(x)
    return of_input, (product(a.T, dy), sum_bound(len(a), dtype, product(abs(a.T), abs(dy)))), bias


def _normalized(layer: LayerNorm, given: np.ndarray) -> Normalized:
    return Normalized(given.astype(layer.weights.dtype), layer.epsilon)


def _kept(layer: Dropout, given: np.ndarray) -> np.ndarray:
    """The bits that dropout makes of numbers: one product, rounded once, and 0 where it leaves them out."""
    factor = factors(layer._drawing(), given.shape, given.dtype)
    return wide(np.where(factor == 0, given.dtype.type(0), given * factor))
