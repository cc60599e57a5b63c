"""What an update does by a plan: a rule makes its numbers, and is applied to gradients that were kept.

The columns of a plan are in `table`.
"""

from .. import table
from ..table import FAR, PLAN_COLUMNS, RANGES, RULE_NUMBERS, SETS
from ._jit import inlined
from .simd import at, load, multiply, number_like, read, splat, width, zeros

clipping = inlined(table.clipping)


def begin(rule):
    """The part that makes the numbers of an update for a plan: one set, or two, of so many settings each.

    `memory` is that of the update before, unless this is the `first` of a call.
    """

    def part(plan, numbers, settings, count, rate, before, memory, first):
        for i in range(read(at(plan, SETS))):
            rule(at(numbers, i * RULE_NUMBERS), at(settings, i * count), rate, before, memory, first)

    return part


def flat(rule):
    """The part that applies a rule to the ranges of a plan, by gradients that were kept, and that may be clipped."""

    def part(plan, p, kept, g, squares, clip_norm, numbers):
        vector, far, factor = zeros(p, 1, 1), read(at(plan, FAR)), 1.0
        if clip_norm != 0:
            factor = clipping(squares, clip_norm)
        factors = splat(vector, number_like(p, factor))
        for column in range(PLAN_COLUMNS, PLAN_COLUMNS + 3 * read(at(plan, RANGES)), 3):
            start, size = read(at(plan, column)), read(at(plan, column + 1))
            of_range = at(numbers, read(at(plan, column + 2)))
            for i in range(start, start + size, width(vector)):
                gradient = multiply(factors, load(vector, at(g, i), 0))
                rule(gradient, at(p, i), at(kept, i), far, 0, of_range)

    return part
