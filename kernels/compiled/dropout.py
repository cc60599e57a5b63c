"""Dropout: numbers are left out at random, and what is kept is multiplied to make up for it.

An element is left out where 32 random bits are below 2³² times the probability p. The bits are a hash of a key and of
the element's place in its batch, row · n_out + column, and the key is a hash of the operation's seed and of how often
it has drawn: nothing but p and this count is remembered, and backward makes the same bits again.
(N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.)
"""

from ..table import COUNT_BASE, Operation
from ._jit import inlined
from .simd import (
    at,
    copy,
    load,
    mix,
    multiply,
    number_like,
    read,
    splat,
    store,
    thin,
    width,
    write,
    zeros,
)


@inlined
def _count_on(memory):
    """One more in the count, whose two halves stand behind p: both are exact in any dtype."""
    low, high = float(read(at(memory, 1))) + 1, float(read(at(memory, 2)))
    if low == COUNT_BASE:
        low, high = 0.0, high + 1
    write(at(memory, 1), number_like(memory, low))
    write(at(memory, 2), number_like(memory, high))


@inlined
def _apply(out, z, p, memory, seed, batch, n, ld):
    """out = z / (1 − p), or 0 with probability p."""
    vector = zeros(out, 1, 1)
    key = mix(mix(seed) + int(read(at(memory, 1))) + COUNT_BASE * int(read(at(memory, 2))))
    limit, scale = int(p * 2.0**32), splat(vector, 1 / (1 - p))
    for i in range(batch):
        for j in range(0, ld, width(vector)):
            scaled = multiply(load(vector, at(z, i * ld + j), 0), scale)  # pads of a gradient are 0 and stay so
            store(thin(scaled, key, i * n + j, limit), at(out, i * ld + j), 0)


def forward(op, x, work, params, batch):
    """y = x / (1 − p), or 0 with probability p; counts on. y = x where p is 0. y may stand in the place of x."""
    y, memory, n, ld = at(work, op.y), at(work, op.memory), op.n_out, op.ld_out
    p = float(read(memory))
    if p > 0:
        _count_on(memory)
        _apply(y, x, p, memory, op.seed, batch, n, ld)
    elif op.y != op.x:
        copy(y, x, batch * ld)


def input_gradient(op, x, work, params, batch):
    """dx = dy / (1 − p), or 0 where forward left the number out. dx may stand in the place of dy."""
    dx, dy, memory, n, ld = at(work, op.dx), at(work, op.dy), at(work, op.memory), op.n_out, op.ld_out
    p = float(read(memory))
    if p > 0:
        _apply(dx, dy, p, memory, op.seed, batch, n, ld)
    elif op.dx != op.dy:
        copy(dx, dy, batch * ld)


dropout = Operation(forward, input_gradient)
