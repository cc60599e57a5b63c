"""The norm of gradients, by which they are clipped (R. Pascanu, T. Mikolov, Y. Bengio, 2013)."""

from ._jit import inlined
from .simd import add, at, fma, load_columns, sixteen, sum_by_halves, widen


@inlined
def _squares(sums, g, i, size):
    wide = widen(load_columns(sixteen(g), at(g, i), size - i, 0.0))
    return fma(wide, wide, sums)


def gradients(g, size):
    """Σ g² over `size` numbers in double, in two times 16 lanes whatever the CPU, and then by halves."""
    even = widen(sixteen(g))
    odd = even
    for i in range(0, size, 32):
        even, odd = _squares(even, g, i, size), _squares(odd, g, i + 16, size)
    return sum_by_halves(add(even, odd))
