"""fastnp.kernels: functions of arrays and numbers. They know no class of fastnp.

Each kernel stands twice: compiled by Numba in the module of its concept (`linear`, `relu`, `mse`,
`momentum`, `program`), and in plain NumPy in `reference`, under the same name with the same signature.
This file imports neither, so that a program which runs on NumPy never loads Numba.

The contract, for every kernel
------------------------------
- Arrays are C-contiguous and of one dtype, float32 or float64. Outputs come first. A `d` before a name
  means the gradient of the loss with respect to it. Kernels trust their arguments: `fastnp/` checks them.
- A *padded* array is 2-D, and its row length is a multiple of `PAD_BYTES`: `padded(n, itemsize)` numbers
  for n real columns. The columns after the real ones are *pads*.
- The pads of weights, biases, velocities and of all gradients are zero: whoever allocates them writes
  zeros, and kernels keep them zero. The pads of activations may hold anything, NaN included, and are
  never read into a result.
- Nothing outside the arrays is read or written. In rows past `batch` nothing is read or written.
- Sums start from +0, or from the bias, and run in ascending order of the index summed over. The numbers
  of a row do not depend on the other rows, nor on how many there are.
- Matrix products are blocked in register tiles (K. Goto, R. van de Geijn, "Anatomy of high-performance
  matrix multiplication", 2008).
"""

PAD_BYTES = 64

# Rows so many bytes apart, or a multiple of that, share an eighth of the first-level cache or less, whose ways are
# 4 KiB: going down a column, they push each other out. Such rows get one pad more than they need, and products leave
# out the panels that hold pads alone.
CACHE_STRIDE = 512

# Bytes of one row of the scratch space in which transposed weights are packed.
SCRATCH_ROW_BYTES = 256


def padded(n, itemsize):
    """The row length, in numbers, of a padded array with n real columns."""
    pad = PAD_BYTES // itemsize
    ld = (n + pad - 1) // pad * pad
    return ld + pad if n and ld * itemsize % CACHE_STRIDE == 0 else ld


# A program is a table of integers, one row for each layer. Its columns:
OP = 0  # LINEAR or RELU
N_IN = 1  # real width of the input …
N_OUT = 2  # … and of the output
LD_IN = 3  # padded row length of the input …
LD_OUT = 4  # … and of the output
X = 5  # offset of the input, in the workspace
Y = 6  # offset of the output; a RELU works in place: Y = X
DX = 7  # offset of the gradient with respect to the input
DY = 8  # offset of the gradient with respect to the output; in place: DY = DX
WEIGHT = 9  # offset of the weights, in the arena
BIAS = 10  # offset of the bias, in the arena
SCRATCH = 11  # offset of the scratch space, in the workspace
COLUMNS = 12

LINEAR = 0
RELU = 1
