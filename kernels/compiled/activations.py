"""Activations: the same function of every number, y = value(x), dx = gradient(dy, x, y); and softmax, of rows.

Both are written for tiles; `elementwise` makes parts of them. A new activation is two functions and a line.
"""

import math

from ..table import Operation
from . import mathematics
from ._jit import inlined
from .simd import (
    add,
    at,
    constant,
    copy_sign,
    divide,
    fma,
    keep_columns,
    largest,
    load,
    load_columns,
    multiply,
    negative,
    number_like,
    positive_part,
    scaled,
    sixteen,
    splat,
    store,
    store_columns,
    subtract,
    sum_by_halves,
    where_less,
    where_positive,
    widen,
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
def _leaky_relu(x, slope):
    """x where it is positive, else slope·x"""
    return where_less(splat(x, 0.0), x, x, multiply(splat(x, slope), x))


@inlined
def _leaky_relu_gradient(dy, x, y, slope):
    """dy where y is positive, else slope·dy"""
    return where_less(splat(y, 0.0), y, dy, multiply(splat(y, slope), dy))


leaky_relu = elementwise(_leaky_relu, _leaky_relu_gradient)


@inlined
def _elu(x, alpha):
    """x where it is positive, else alpha·(eˣ − 1)"""
    y = where_less(splat(x, 0.0), x, x, multiply(splat(x, alpha), mathematics.expm1(x)))
    return copy_sign(y, x)  # −0 for −0


@inlined
def _elu_gradient(dy, x, y, alpha):
    """dy where y is positive, else dy·(y + alpha)"""
    return where_less(splat(y, 0.0), y, dy, multiply(dy, add(y, splat(y, alpha))))


elu = elementwise(_elu, _elu_gradient)


@inlined
def _tanh(x, setting):
    return mathematics.tanh(x)


@inlined
def _tanh_gradient(dy, x, y, setting):
    """dy·(1 − y²)"""
    return multiply(dy, fma(negative(y), y, splat(y, 1.0)))


tanh = elementwise(_tanh, _tanh_gradient)


@inlined
def _sigmoid(x, setting):
    return mathematics.sigmoid(x)


@inlined
def _sigmoid_gradient(dy, x, y, setting):
    """dy·y·(1 − y)"""
    return multiply(dy, multiply(y, subtract(splat(y, 1.0), y)))


sigmoid = elementwise(_sigmoid, _sigmoid_gradient)


@inlined
def _silu(x, setting):
    """x·sigmoid(x)"""
    return mathematics.gated(x, x, constant(x, 109.0, 752.0))  # beyond, x·eˣ is less than half of the smallest number


@inlined
def _silu_gradient(dy, x, y, setting):
    return multiply(dy, mathematics.gated_slope(x, x, splat(x, 1.0)))


silu = elementwise(_silu, _silu_gradient)


@inlined
def _gelu(x, setting):
    """x·Φ(x), Φ the normal distribution function, as max(x, 0) − |x|·Φ(−|x|)"""
    size, tail, _, n = mathematics.normal_tail(x)
    return mathematics.positive_less(x, scaled(multiply(size, tail), n))


@inlined
def _gelu_gradient(dy, x, y, setting):
    """dy·(Φ(x) + x·φ(x)), φ the normal density"""
    size, tail, bell, n = mathematics.normal_tail(x)
    left = scaled(fma(multiply(size, splat(x, -0.3989422804014327)), bell, tail), n)  # the slope at −|x|; 1/√(2π)
    return multiply(dy, where_less(x, splat(x, 0.0), left, subtract(splat(x, 1.0), left)))


gelu = elementwise(_gelu, _gelu_gradient)


@inlined
def _gelu_tanh(x, setting):
    """½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))): x·sigmoid of twice that"""
    z = multiply(x, fma(multiply(x, x), splat(x, 0.0713548162726002488), splat(x, 1.59576912160573071)))
    return mathematics.gated(x, z, constant(x, mathematics.FAR, mathematics.FARTHER))


@inlined
def _gelu_tanh_gradient(dy, x, y, setting):
    x = mathematics.within(x)
    square = multiply(x, x)
    z = multiply(x, fma(square, splat(x, 0.0713548162726002488), splat(x, 1.59576912160573071)))
    dz = fma(square, splat(x, 0.214064448817800746), splat(x, 1.59576912160573071))
    return multiply(dy, mathematics.gated_slope(x, z, dz))


gelu_tanh = elementwise(_gelu_tanh, _gelu_tanh_gradient)


@inlined
def _softplus(x, setting):
    return mathematics.softplus(x)


@inlined
def _softplus_gradient(dy, x, y, setting):
    """dy·sigmoid(x)"""
    return multiply(dy, mathematics.sigmoid(x))


softplus = elementwise(_softplus, _softplus_gradient)


def _softmax_forward(op, x, work, params, batch):
    """y = e^(x − max) / Σ e^(x − max), over a row; y may stand in the place of x"""
    y, ld, n = at(work, op.y), op.ld_out, op.n_out
    vector = sixteen(y)
    step = width(vector)
    for i in range(batch):
        row, out = at(x, i * ld), at(y, i * ld)
        top = splat(vector, -math.inf)
        for j in range(0, n, step):
            z = load_columns(vector, at(row, j), n - j, -math.inf)
            top = where_less(top, z, z, top)
        shift, sums = splat(vector, largest(top)), widen(vector)
        for j in range(0, n, step):
            e = mathematics.exp(subtract(load_columns(vector, at(row, j), n - j, -math.inf), shift))
            store_columns(e, at(out, j), n - j)
            sums = add(sums, widen(e))
        whole = splat(vector, number_like(y, sum_by_halves(sums)))
        for j in range(0, n, step):
            store_columns(divide(load_columns(vector, at(out, j), n - j, 0.0), whole), at(out, j), n - j)


def _softmax_input_gradient(op, x, work, params, batch):
    """dx = y·(dy − Σ dy·y); dx may stand in the place of dy"""
    dx, dy, y, ld, n = at(work, op.dx), at(work, op.dy), at(work, op.y), op.ld_out, op.n_out
    vector = sixteen(dx)
    step = width(vector)
    for i in range(batch):
        sums = widen(vector)
        for j in range(0, n, step):
            k = i * ld + j
            given = load_columns(vector, at(dy, k), n - j, 0.0)
            sums = fma(widen(given), widen(load_columns(vector, at(y, k), n - j, 0.0)), sums)
        mean = splat(vector, number_like(dx, sum_by_halves(sums)))
        for j in range(0, ld, step):
            k = i * ld + j
            given = load_columns(vector, at(dy, k), n - j, 0.0)
            result = multiply(load_columns(vector, at(y, k), n - j, 0.0), subtract(given, mean))
            store_columns(keep_columns(result, n - j), at(dx, k), ld - j)


softmax = Operation(_softmax_forward, _softmax_input_gradient)  # sums are made in double, in sixteen places, by halves
