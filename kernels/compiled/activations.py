"""The same function of every number: y = value(x), dx = gradient(dy, x, y).

Both are written for tiles; `elementwise` makes parts of them. A new activation is two functions and a line.
"""

from ..table import Operation
from ._jit import inlined
from .mathematics import expm1
from .simd import (
    add,
    at,
    copy_sign,
    divide,
    fma,
    keep_columns,
    load,
    multiply,
    positive_part,
    splat,
    store,
    subtract,
    where_less,
    where_positive,
    width,
    zeros,
)  # fmt: skip


def elementwise(value, gradient):
    """The parts of an activation. y may stand in the place of x, and dx in that of dy."""

    def forward(op, x, work, params, batch):
        y, setting = at(work, op.y), op.setting
        vector = zeros(y, 1, 1)
        for i in range(0, batch * op.ld_out, width(vector)):
            store(value(load(vector, at(x, i), 0), setting), at(y, i), 0)

    def input_gradient(op, x, work, params, batch):
        dx, dy, y, setting, ld, n = at(work, op.dx), at(work, op.dy), at(work, op.y), op.setting, op.ld_out, op.n_out
        vector = zeros(dx, 1, 1)
        for i in range(batch):
            for j in range(0, ld, width(vector)):
                k = i * ld + j
                z, value_of_z = load(vector, at(x, k), 0), load(vector, at(y, k), 0)
                result = gradient(load(vector, at(dy, k), 0), z, value_of_z, setting)
                store(keep_columns(result, n - j), at(dx, k), 0)  # pads of x and y may hold anything

    return Operation(forward, input_gradient)


@inlined
def _relu(x, setting):
    """max(x, 0): +0 for −0, NaN for NaN"""
    return positive_part(x)


@inlined
def _relu_gradient(dy, x, y, setting):
    """dy where y > 0, else 0"""
    return where_positive(y, dy)


relu = elementwise(_relu, _relu_gradient)


@inlined
def _tanh(x, setting):
    """(e²ˣ − 1) / (e²ˣ + 1)"""
    e = expm1(add(x, x))
    return copy_sign(divide(e, add(e, splat(x, 2.0))), x)  # −0 for −0


@inlined
def _tanh_gradient(dy, x, y, setting):
    """dy·(1 − y²)"""
    return multiply(dy, fma(subtract(splat(y, 0.0), y), y, splat(y, 1.0)))


tanh = elementwise(_tanh, _tanh_gradient)


@inlined
def _leaky_relu(x, slope):
    """x where it is positive, else slope·x"""
    return where_less(splat(x, 0.0), x, x, multiply(splat(x, slope), x))


@inlined
def _leaky_relu_gradient(dy, x, y, slope):
    """dy where y is positive, else slope·dy"""
    return where_less(splat(y, 0.0), y, dy, multiply(splat(y, slope), dy))


leaky_relu = elementwise(_leaky_relu, _leaky_relu_gradient)
