"""The same function of every number: y = value(x), dx = gradient(dy, x, y)."""

import numpy as np

from ..table import Operation


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


def _tanh(x, setting):
    return np.tanh(x)


def _tanh_gradient(dy, x, y, setting):
    """dy·(1 − y²)"""
    return dy * (1 - y * y)


tanh = elementwise(_tanh, _tanh_gradient)


def _leaky_relu(x, slope):
    """x where it is positive, else slope·x"""
    return np.where(x > 0, x, x.dtype.type(slope) * x)


def _leaky_relu_gradient(dy, x, y, slope):
    """dy where y is positive, else slope·dy"""
    return np.where(y > 0, dy, y.dtype.type(slope) * dy)


leaky_relu = elementwise(_leaky_relu, _leaky_relu_gradient)
