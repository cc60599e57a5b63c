"""The norm of gradients, by which they are clipped (R. Pascanu, T. Mikolov, Y. Bengio, 2013)."""

from ..table import PLAN_COLUMNS, RANGES, TENSORS
from ._jit import inlined
from .simd import add, at, fma, load_columns, read, sixteen, sum_by_halves, widen


@inlined
def _squares(sums, g, i, size):
    wide = widen(load_columns(sixteen(g), at(g, i), size - i, 0.0))
    return fma(wide, wide, sums)


def gradients(plan, g):
    """Σ g² in double over the tensors of a plan, one after the other, whatever lies between them.

    Of each: in two times 16 lanes whatever the CPU, and then by halves.
    """
    result, first = 0.0, PLAN_COLUMNS + 3 * read(at(plan, RANGES))
    for column in range(first, first + 2 * read(at(plan, TENSORS)), 2):
        start, size = read(at(plan, column)), read(at(plan, column + 1))
        even = widen(sixteen(g))
        odd = even
        for i in range(0, size, 32):
            even = _squares(even, at(g, start), i, size)
            odd = _squares(odd, at(g, start), i + 16, size)
        result += sum_by_halves(add(even, odd))
    return result
