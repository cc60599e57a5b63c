"""Half squared error and its gradient."""

from ._jit import inlined, kernel
from .simd import at, fma, load, multiply, pointer, read, splat, store, subtract, total, widen, width, write, zeros


@inlined
def row_loss(loss, dpred, pred, target, n, scale):
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


@kernel
def mse(dpred, pred, target, scale):
    """dpred = scale·(pred − target); returns Σ ½ (pred − target)², a double.

    dpred, pred, target (rows, n), unpadded. The difference is rounded to their dtype, the product with
    `scale` once more; squares and sum are double.
    """
    rows, n = pred.shape
    factor = pred.dtype.type(scale)
    loss = 0.0
    for i in range(rows):
        loss = row_loss(loss, pointer(dpred, i * n), pointer(pred, i * n), pointer(target, i * n), n, factor)
    return loss
