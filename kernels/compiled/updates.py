"""What is done with a tile of gradients: it is kept, or the parameters change at once.

A rule is called with the gradients, where their parameters are, where what is kept of them is, how far apart
there one kind of it is from the next, the distance of rows, and the numbers of the rule.
"""

from typing import Any, NamedTuple

from ._jit import inlined, inner
from .simd import add, at, flush, fma, load, prefetch, read, sign, splat, store, width, zeros


class Rule(NamedTuple):
    """`update` is the rule; `ahead` asks for the cache lines that it will write."""

    update: Any
    ahead: Any


# --- gradients, kept for later: stored, or added to those that are there where numbers[0] is not 0 ---


@inner
def _accumulate(gradient, p, kept, far, ld, numbers):
    if read(numbers) != 0:
        gradient = add(load(gradient, kept, ld), gradient)
    store(gradient, kept, ld)


@inlined
def _nothing_ahead(tile, p, kept, far, ld):
    pass


gradients = Rule(_accumulate, _nothing_ahead)


# --- momentum (B. T. Polyak, 1964); numbers: learning rate, momentum, weight decay, whether it is l1 ---


@inner
def _momentum(gradient, p, velocity, far, ld, numbers):
    """v = momentum·v + g + decay; p = p − learning_rate·v. Velocities below the smallest normal number become 0."""
    parameter = load(gradient, p, ld)
    weight_decay = read(at(numbers, 2))
    if weight_decay != 0:
        decay = splat(gradient, weight_decay)
        gradient = fma(decay, sign(parameter) if read(at(numbers, 3)) != 0 else parameter, gradient)
    new = flush(fma(splat(gradient, read(at(numbers, 1))), load(gradient, velocity, ld), gradient))
    store(new, velocity, ld)
    store(fma(splat(gradient, -read(numbers)), new, parameter), p, ld)


@inlined
def _momentum_ahead(tile, p, velocity, far, ld):
    prefetch(tile, p, ld)
    prefetch(tile, velocity, ld)


momentum = Rule(_momentum, _momentum_ahead)


def flat(rule):
    """The part that applies a rule to `size` numbers, a multiple of the padding, by gradients that were kept."""

    def part(p, kept, far, g, size, numbers):
        vector = zeros(p, 1, 1)
        for i in range(0, size, width(vector)):
            rule(load(vector, at(g, i), 0), at(p, i), at(kept, i), far, 0, numbers)

    return part
