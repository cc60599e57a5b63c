"""Losses: what they come to over a batch, in double, and the gradient of that.

A loss is a part (dpred, pred, ld, target, ld_target, numbers, batch, n, reduction). pred and dpred (batch, n) have rows
`ld` apart. A row of target is as wide as the loss wants it; where rows are longer, the number behind it is the *weight*
of the row, by which its losses are multiplied and so often it counts in a mean. `numbers` are the loss's own. The
losses of EACH are written where dpred ends, `batch` rows further.
"""

from ..table import EACH, MEAN
from ._jit import inlined
from .simd import at, fma, load, multiply, number_like, read, splat, store, subtract, total, widen, width, write, zeros


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
    if reduction == MEAN:
        weights = float(batch)
        if ld_target > columns:
            weights = 0.0
            for i in range(batch):
                weights += weight_of(target, ld_target, columns, i)
        scale = 1 / (weights * count) if weights > 0 else 0.0
    return scale


@inlined
def _row_of_squares(loss, dpred, pred, target, terms, n, scale, weight, each):
    """Write scale·(pred − target) over n numbers and return loss + weight · Σ ½ (pred − target)², summed in double.

    Whole vectors are summed lane by lane, then the lanes in order, then the numbers that are left.
    """
    vector = zeros(pred, 1, 1)
    squares = widen(vector)
    factor = splat(vector, scale)
    whole = n - n % width(vector)
    for j in range(0, whole, width(vector)):
        difference = subtract(load(vector, at(pred, j), 0), load(vector, at(target, j), 0))
        store(multiply(factor, difference), at(dpred, j), 0)
        wide = widen(difference)
        squares = fma(wide, wide, squares)
    if whole:
        loss += weight * (0.5 * total(0.0, squares))
    for j in range(whole, n):
        difference = read(at(pred, j)) - read(at(target, j))
        write(at(dpred, j), scale * difference)
        loss += weight * (0.5 * float(difference) * float(difference))
    if each:
        factor = number_like(pred, 0.5 * weight)
        for j in range(n):
            difference = read(at(pred, j)) - read(at(target, j))
            write(at(terms, j), factor * (difference * difference))
    return loss


def mse(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
    """Σ ½ (pred − target)² or its mean; dpred is pred − target times the scale.

    The difference is rounded to the dtype of the numbers, the product with scale and weight once more.
    """
    scale, each = scale_of(target, ld_target, n, batch, n, reduction), reduction == EACH
    loss = 0.0
    for i in range(batch):
        weight = weight_of(target, ld_target, n, i)
        factor, k = number_like(pred, scale * weight), i * ld
        terms = at(dpred, batch * ld + k)
        row = at(target, i * ld_target)
        loss = _row_of_squares(loss, at(dpred, k), at(pred, k), row, terms, n, factor, weight, each)
    return scale * loss
