"""Powers of one number, one after the other, of which the one before is remembered."""

from ._jit import inlined
from .simd import at, read, write

BLOCK = 64  # a power with this count, or a multiple of it, is made by itself, and from there one after the other
VANISHED = 1e-30  # a power as small is 0: nobody sees it beside 1


@inlined
def power_of(base, count, memory, first):
    """baseᶜᵒᵘⁿᵗ. In memory is the power before, and first the count that it is of, unless this is the `first` one.

    The bits are the same, whether the power before is known or not.
    """
    if first or read(memory) != count:
        if not first and read(memory) == count - 1 and count % BLOCK != 0:
            power = base * read(at(memory, 1))
        else:
            power = base ** float(count - count % BLOCK)
            if power < VANISHED:
                power = 0.0
            for _ in range(count % BLOCK):
                power *= base
        write(memory, float(count))
        write(at(memory, 1), power)
    return read(at(memory, 1))
