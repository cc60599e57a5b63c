"""The same function of every number: y = value(x), dx = gradient(dy, x, y)."""

import math

import numpy as np

from ..table import Operation
from . import mathematics

_ROOT = math.sqrt(2 / math.pi)


def elementwise(value, gradient):
    """The parts of an activation. y may stand in the place of x, and dx in that of dy."""

    def forward(op):
        np.copyto(op.y, value(op.x, op.setting))

    def input_gradient(op):
        dx, n = op.dx, op.n_out
        dx[:, :n] = gradient(op.dy[:, :n], op.x[:, :n], op.y[:, :n], op.setting)
        dx[:, n:] = 0

    return Operation(forward, input_gradient)


def _relu(x, setting):
    """max(x, 0): +0 for −0, NaN for NaN"""
    return np.where(x <= 0, 0, x)


def _relu_gradient(dy, x, y, setting):
    """dy where y > 0, else 0"""
    return np.where(y > 0, dy, 0)


relu = elementwise(_relu, _relu_gradient)


def _leaky_relu(x, slope):
    """x where it is positive, else slope·x"""
    return np.where(x > 0, x, x.dtype.type(slope) * x)


def _leaky_relu_gradient(dy, x, y, slope):
    """dy where y is positive, else slope·dy"""
    return np.where(y > 0, dy, y.dtype.type(slope) * dy)


leaky_relu = elementwise(_leaky_relu, _leaky_relu_gradient)


def _elu(x, alpha):
    """x where it is positive, else alpha·(eˣ − 1)"""
    return np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(mathematics.wide(np.where(x > 0, 0, x))))


def _elu_gradient(dy, x, y, alpha):
    """dy where y is positive, else dy·(y + alpha)"""
    return np.where(y > 0, dy, dy * (y + y.dtype.type(alpha)))


elu = elementwise(_elu, _elu_gradient)


def _tanh(x, setting):
    return np.tanh(x)


def _tanh_gradient(dy, x, y, setting):
    """dy·(1 − y²)"""
    return dy * (1 - y * y)


tanh = elementwise(_tanh, _tanh_gradient)


def _sigmoid(x, setting):
    return mathematics.sigmoid(x)


def _sigmoid_gradient(dy, x, y, setting):
    """dy·y·(1 − y)"""
    return dy * (y * (1 - y))


sigmoid = elementwise(_sigmoid, _sigmoid_gradient)


def _silu(x, setting):
    """x·sigmoid(x)"""
    return mathematics.gated(x, x)


def _silu_gradient(dy, x, y, setting):
    return dy * mathematics.gated_slope(x, x, 1)


silu = elementwise(_silu, _silu_gradient)


def _gelu(x, setting):
    """x·Φ(x), Φ the normal distribution function, as max(x, 0) − |x|·Φ(−|x|)"""
    size, tail, _ = mathematics.normal_tail(x)
    return mathematics.positive_or_zero(x) - size * tail


def _gelu_gradient(dy, x, y, setting):
    """dy·(Φ(x) + x·φ(x)), φ the normal density"""
    size, tail, density = mathematics.normal_tail(x)
    left = tail - size * density  # the slope at −|x|
    return dy * np.where(x < 0, left, 1 - left)


gelu = elementwise(_gelu, _gelu_gradient)


def _gelu_tanh(x, setting):
    """½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))): x·sigmoid of twice that"""
    z = mathematics.wide(x)
    return mathematics.gated(x, 2 * _ROOT * z * (1 + 0.044715 * z * z))


def _gelu_tanh_gradient(dy, x, y, setting):
    x = mathematics.within(x)
    z, dz = 2 * _ROOT * x * (1 + 0.044715 * x * x), 2 * _ROOT * (1 + 3 * 0.044715 * x * x)
    return dy * mathematics.gated_slope(x, z, dz)


gelu_tanh = elementwise(_gelu_tanh, _gelu_tanh_gradient)


def _softplus(x, setting):
    return mathematics.softplus(x)


def _softplus_gradient(dy, x, y, setting):
    """dy·sigmoid(x)"""
    return dy * mathematics.sigmoid(x)


softplus = elementwise(_softplus, _softplus_gradient)


def _softmax_forward(op):
    """eˣ / Σ eˣ, over a row"""
    op.y[:, : op.n_out] = mathematics.softmax(op.x[:, : op.n_out])


def _softmax_input_gradient(op):
    """y·(dy − Σ dy·y)"""
    dx, n = op.dx, op.n_out
    dy, y = (mathematics.wide(array[:, :n]) for array in (op.dy, op.y))
    dx[:, :n] = y * (dy - (dy * y).sum(axis=1, keepdims=True))
    dx[:, n:] = 0


softmax = Operation(_softmax_forward, _softmax_input_gradient)
