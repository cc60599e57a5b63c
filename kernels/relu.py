"""ReLU forward and backward."""

from ._jit import inlined, kernel
from .simd import at, load, pointer, positive_part, store, where_positive, width, zeros


@inlined
def forward(y, x, size):
    """y = max(x, 0) over `size` numbers, a multiple of the padding."""
    vector = zeros(y, 1, 1)
    for i in range(0, size, width(vector)):
        store(positive_part(load(vector, at(x, i), 0)), at(y, i), 0)


@inlined
def backward(dx, dy, y, size):
    """dx = dy where y > 0, else 0, over `size` numbers, a multiple of the padding."""
    vector = zeros(dx, 1, 1)
    for i in range(0, size, width(vector)):
        store(where_positive(load(vector, at(y, i), 0), load(vector, at(dy, i), 0)), at(dx, i), 0)


@kernel
def relu_forward(y, x):
    """y = max(x, 0); +0 for −0, NaN for NaN. y, x (rows, ld) padded; y may be x itself."""
    forward(pointer(y, 0), pointer(x, 0), x.size)


@kernel
def relu_backward(dx, dy, y):
    """dx = dy where y > 0, else 0. dx, dy, y (rows, ld) padded; dx may be dy itself."""
    backward(pointer(dx, 0), pointer(dy, 0), pointer(y, 0), y.size)
