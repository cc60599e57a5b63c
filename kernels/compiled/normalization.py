"""Layer normalization: each row is shifted and scaled to mean 0 and variance 1, then weighted column by column.

    x̂ = (x − mean) / √(var + ε), y = x̂·weights + bias

Sums are those of doubles, in 16 lanes whatever the CPU, and then by halves. The mean is taken away in two steps, of
which the second is the mean of what the first left: a row may lie far from 0, and next to nothing is lost. Forward
leaves what backward needs of a row in three numbers: the mean as a sum of two, and 1 / √(var + ε).
(J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", 2016.)
"""

import math

from ..table import Operation
from ._jit import inlined
from .simd import (
    add,
    at,
    fma,
    keep_columns,
    load,
    load_columns,
    multiply,
    number_like,
    read,
    sixteen,
    splat,
    store,
    subtract,
    sum_by_halves,
    widen,
    width,
    write,
    zeros,
)

REMEMBERED = 3  # numbers for each row


@inlined
def _read_row(x, memory, n, epsilon):
    """Write down the mean of n numbers, in two parts, and 1 / √(var + ε)."""
    none = widen(sixteen(x))
    sums, rest, squares = none, none, none
    for j in range(0, n, 16):
        sums = add(sums, widen(load_columns(sixteen(x), at(x, j), n - j, 0.0)))
    mean = sum_by_halves(sums) / n
    near = splat(none, mean)
    for j in range(0, n, 16):
        wide = widen(load_columns(sixteen(x), at(x, j), n - j, 0.0))
        rest = add(rest, keep_columns(subtract(wide, near), n - j))
    left = sum_by_halves(rest) / n
    further = splat(none, left)
    for j in range(0, n, 16):
        wide = widen(load_columns(sixteen(x), at(x, j), n - j, 0.0))
        centred = keep_columns(subtract(subtract(wide, near), further), n - j)
        squares = fma(centred, centred, squares)
    high = number_like(x, mean)
    write(memory, high)
    write(at(memory, 1), number_like(x, (mean - float(high)) + left))
    write(at(memory, 2), number_like(x, 1 / math.sqrt(sum_by_halves(squares) / n + epsilon)))


@inlined
def _normalized(x, memory):
    """(x − mean) / √(var + ε)"""
    centred = subtract(subtract(x, splat(x, read(memory))), splat(x, read(at(memory, 1))))
    return multiply(centred, splat(x, read(at(memory, 2))))


def forward(op, x, work, params, batch):
    """y = x̂·weights + bias"""
    y, w, b, n, ld = at(work, op.y), at(params, op.weights), at(params, op.bias), op.n_out, op.ld_out
    vector = zeros(y, 1, 1)
    for i in range(batch):
        memory, k = at(work, op.memory + REMEMBERED * i), i * ld
        _read_row(at(x, k), memory, n, op.setting)
        for j in range(0, n, width(vector)):
            normalized = _normalized(load(vector, at(x, k + j), 0), memory)
            store(fma(normalized, load(vector, at(w, j), 0), load(vector, at(b, j), 0)), at(y, k + j), 0)


def input_gradient(op, x, work, params, batch):
    """dx = (g − mean(g) − x̂·mean(g·x̂)) / √(var + ε), where g = dy·weights."""
    dx, dy, w, n, ld = at(work, op.dx), at(work, op.dy), at(params, op.weights), op.n_out, op.ld_out
    vector = zeros(dx, 1, 1)
    for i in range(batch):
        memory, k = at(work, op.memory + REMEMBERED * i), i * ld
        sums = widen(sixteen(x))
        products = sums
        for j in range(0, n, 16):
            normalized = _normalized(load_columns(sixteen(x), at(x, k + j), n - j, read(memory)), memory)
            gradient = load_columns(sixteen(x), at(dy, k + j), n - j, 0.0)
            gradient = widen(multiply(gradient, load_columns(sixteen(x), at(w, j), n - j, 0.0)))
            sums, products = add(sums, gradient), fma(gradient, widen(normalized), products)
        mean = splat(vector, number_like(dx, sum_by_halves(sums) / n))
        slope = splat(vector, number_like(dx, -sum_by_halves(products) / n))
        scale = splat(vector, read(at(memory, 2)))
        for j in range(0, n, width(vector)):
            normalized = _normalized(load(vector, at(x, k + j), 0), memory)
            gradient = multiply(load(vector, at(dy, k + j), 0), load(vector, at(w, j), 0))
            result = multiply(fma(normalized, slope, subtract(gradient, mean)), scale)
            store(keep_columns(result, n - j), at(dx, k + j), 0)


def parameters(rule, ahead):
    """The part that makes dweights = Σ dy·x̂ and dbias = Σ dy, and does with each what `rule` says (see `updates`)."""

    def part(op, x, work, params, target, far, numbers, batch):
        dy, n, ld = at(work, op.dy), op.n_out, op.ld_out
        vector = zeros(dy, 1, 1)
        for j in range(0, n, width(vector)):
            dw, db = vector, vector
            for i in range(batch):
                k = i * ld + j
                gradient = load(vector, at(dy, k), 0)
                normalized = _normalized(load(vector, at(x, k), 0), at(work, op.memory + REMEMBERED * i))
                dw, db = fma(gradient, normalized, dw), add(db, gradient)
            for total, at_, of in (dw, op.weights + j, op.weight_numbers), (db, op.bias + j, op.bias_numbers):
                rule(keep_columns(total, n - j), at(params, at_), at(target, at_), far, 0, at(numbers, of))

    return part


layer_norm = Operation(forward, input_gradient, parameters)
