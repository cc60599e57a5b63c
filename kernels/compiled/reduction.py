"""From the losses of numbers or rows to that of a batch: weights of rows, means.

A row of target is as wide as the loss wants it; where rows are longer, the number behind it is the row's weight.
"""

from ..table import BATCHMEAN, MEAN
from ._jit import inlined
from .simd import at, read


@inlined
def weight_of(target, ld_target, columns, i):
    """The weight of row i, whose target has so many columns."""
    weight = 1.0
    if ld_target > columns:
        weight = float(read(at(target, i * ld_target + columns)))
    return weight


@inlined
def scale_of(target, ld_target, columns, batch, count, reduction):
    """What the sum of the losses is multiplied by, `count` of which are of one row; 0 where all weights are."""
    scale = 1.0
    if reduction in (MEAN, BATCHMEAN):
        weights = float(batch)
        if ld_target > columns:
            weights = 0.0
            for i in range(batch):
                weights += weight_of(target, ld_target, columns, i)
        scale = 1 / (weights * (count if reduction == MEAN else 1)) if weights > 0 else 0.0
    return scale
