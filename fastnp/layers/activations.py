"""Activations whose values follow an exponential: tanh, sigmoid, softplus, softmax."""

from typing import Any

import numpy as np

from ..program.op import Kind
from .activation import Activation
from .formulas import sigmoid

__all__ = ["Sigmoid", "Softmax", "Softplus", "Tanh"]


class Tanh(Activation):
    """y = tanh x, the hyperbolic tangent, for x of any shape: −0 for −0, NaN for NaN.

    The gradient is multiplied by 1 − y², where y is `activated`, a copy of the last output. Values are within 3 ulp of
    the exact ones. Computes in float64 where x is float64 or the layers around it in a `Sequential` are, else in
    float32. Raises ValueError for backward before forward or with another shape than the last output's.
    """

    _kernel_kind = Kind("activations.tanh", in_place=True, keeps_output=True)
    _ulps = 3.0
    _slope_ulps = 2.5

    def __init__(self, name: str = "tanh"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        return np.tanh(x)

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return 1 - y * y


class Sigmoid(Activation):
    """y = 1 / (1 + e⁻ˣ), for x of any shape: 0 for −∞, 1 for ∞, NaN for NaN.

    The gradient is multiplied by y·(1 − y), where y is `activated`, a copy of the last output. Values are within 3 ulp
    of the exact ones. Computes in float64 where x is float64 or the layers around it in a `Sequential` are, else in
    float32. Raises ValueError for backward before forward or with another shape than the last output's.
    """

    _kernel_kind = Kind("activations.sigmoid", in_place=True, keeps_output=True)
    _ulps = 3.0
    _slope_ulps = 0.75
    _keeps_zeros = False

    def __init__(self, name: str = "sigmoid"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        return sigmoid(x)

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return y * (1 - y)


class Softplus(Activation):
    """y = log(1 + eˣ), for x of any shape: 0 for −∞, ∞ for ∞, NaN for NaN.

    The gradient is multiplied by 1 / (1 + e⁻ˣ); `activated` is a copy of the last output. Values are within 3.5 ulp of
    the exact ones. Computes in float64 where x is float64 or the layers around it in a `Sequential` are, else in
    float32. Raises ValueError for backward before forward or with another shape than the last output's. Source:
    C. Dugas, Y. Bengio, F. Bélisle, C. Nadeau, R. Garcia, "Incorporating second-order functional knowledge for better
    option pricing" (2001).
    """

    _kernel_kind = Kind("activations.softplus", in_place=True, needs_input=True, keeps_output=True)
    _ulps = 3.5
    _slope_ulps = 1.0
    _keeps_zeros = False

    def __init__(self, name: str = "softplus"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))

    def _exact_slope(self, x: Any, y: Any) -> Any:
        return sigmoid(x)


class Softmax(Activation):
    """yᵢ = e^(xᵢ − max x) / Σⱼ e^(xⱼ − max x) over the last axis, for x of any shape.

    A row with NaN or ∞ in it, or of −∞ alone, becomes NaN. The gradient dx is y·(dy − Σⱼ dyⱼ·yⱼ), where y is
    `activated`, a copy of the last output. A value y is within 5 + (max x − x) ulp of the exact one, for rounding that
    difference is an error of e to its power, and within 2 eps; where rows have more than a thousand columns, in float64
    their sum adds to that. Computes in float64 where x is float64 or the layers around it in a `Sequential` are, else
    in float32. Raises ValueError for backward before forward or with another shape than the last output's. Source:
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network outputs" (1990).
    """

    _kernel_kind = Kind("activations.softmax", in_place=True, keeps_output=True)
    _ulps = 2.0
    _floor = 1.0
    _slope_ulps = 3.0
    _keeps_zeros = False

    def __init__(self, name: str = "softmax"):
        super().__init__(name)

    def _exact_value(self, x: Any) -> Any:
        axis = -1 if np.ndim(x) else None
        e = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
        return e / np.sum(e, axis=axis, keepdims=True)

    def _exact_gradient(self, dy: Any, x: Any, y: Any) -> Any:
        return y * (dy - np.sum(dy * y, axis=-1 if np.ndim(y) else None, keepdims=True))

    def _gradient_size(self, dy: Any, x: Any, y: Any) -> Any:
        return y * (abs(dy) + np.sum(abs(dy * y), axis=-1 if np.ndim(y) else None, keepdims=True))

    def _passed_on(self, bound: Any) -> Any:
        return np.max(bound, axis=-1, keepdims=True, initial=0)
