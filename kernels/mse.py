"""Half squared error and its gradient."""

from ._jit import inlined, kernel
from .simd import at, pointer, read, write


@inlined
def row(dpred, pred, target, n, scale):
    """Write scale·(pred − target) and return Σ ½ (pred − target)², summed in double, over n numbers."""
    total = 0.0
    for i in range(n):
        difference = read(at(pred, i)) - read(at(target, i))
        write(at(dpred, i), scale * difference)
        total += 0.5 * float(difference) * float(difference)
    return total


@kernel
def mse(dpred, pred, target, scale):
    """dpred = scale·(pred − target); returns Σ ½ (pred − target)², a double.

    dpred, pred, target (size,), unpadded. The difference is rounded to their dtype, the product with
    `scale` once more; squares and sum are double.
    """
    return row(pointer(dpred, 0), pointer(pred, 0), pointer(target, 0), pred.size, pred.dtype.type(scale))
