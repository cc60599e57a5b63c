"""Losses: their sum over a batch, in double, and the gradient of it times a scale."""

from ._jit import inlined
from .simd import at, fma, load, multiply, number_like, read, splat, store, subtract, total, widen, width, write, zeros


@inlined
def _row_of_squares(loss, dpred, pred, target, n, scale):
    """Write scale·(pred − target) over n numbers and return loss + Σ ½ (pred − target)², summed in double.

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
        loss += 0.5 * total(squares)
    for j in range(whole, n):
        difference = read(at(pred, j)) - read(at(target, j))
        write(at(dpred, j), scale * difference)
        loss += 0.5 * float(difference) * float(difference)
    return loss


def mse(dpred, pred, ld, target, ld_target, batch, n, scale):
    """dpred = scale·(pred − target); returns Σ ½ (pred − target)².

    The difference is rounded to the dtype of the numbers, the product with `scale` once more.
    """
    factor = number_like(pred, scale)
    loss = 0.0
    for i in range(batch):
        loss = _row_of_squares(loss, at(dpred, i * ld), at(pred, i * ld), at(target, i * ld_target), n, factor)
    return loss
