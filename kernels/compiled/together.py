"""Losses of predictions one number wide: sixteen rows are worked on together, which else would take a tile each."""

from ._jit import inlined
from .reduction import weight_of
from .simd import (
    at,
    fma,
    load,
    multiply,
    number_like,
    read,
    room,
    sixteen,
    store,
    sum_by_halves,
    widen,
    write,
)


@inlined
def as_they_are(numbers):
    """The numbers of a loss that has none for each column."""
    return numbers


@inlined
def second_sixteen_times(numbers):
    """Those of a loss that has one number, and then one for each column: the first, and sixteen times the second."""
    copies = room(numbers, 17)
    write(copies, read(numbers))
    for i in range(1, 17):
        write(at(copies, i), read(at(numbers, 1)))
    return copies


def of_column(terms, for_column):
    """What a batch comes to, and its gradient, where (loss, slope) = terms(pred, target, numbers, j, left) of tiles.

    `numbers` is what `for_column` makes of those of the loss.
    """

    @inlined
    def of_rows(dpred, pred, ld, target, ld_target, numbers, batch, scale, each):
        zeros, settings = sixteen(pred), for_column(numbers)
        x, y, factors, shares = room(pred, 16), room(pred, 16), room(pred, 16), room(pred, 16)
        sums = widen(zeros)
        for i in range(0, batch, 16):
            left = min(16, batch - i)
            for to in x, y, factors, shares:
                store(zeros, to, 0)
            for r in range(left):
                weight = weight_of(target, ld_target, 1, i + r)
                write(at(x, r), read(at(pred, (i + r) * ld)))
                write(at(y, r), read(at(target, (i + r) * ld_target)))
                write(at(factors, r), number_like(pred, scale * weight))
                write(at(shares, r), number_like(pred, weight))
            value, slope = terms(load(zeros, x, 0), load(zeros, y, 0), settings, 0, 16)
            share = load(zeros, shares, 0)  # 0 where there is no row
            sums = fma(widen(share), widen(value), sums)
            store(multiply(load(zeros, factors, 0), slope), x, 0)
            store(multiply(share, value), y, 0)
            for r in range(left):
                write(at(dpred, (i + r) * ld), read(at(x, r)))
                if each:
                    write(at(dpred, (batch + i + r) * ld), read(at(y, r)))
        return scale * sum_by_halves(sums)

    return of_rows
