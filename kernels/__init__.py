"""fastnp.kernels: functions of arrays and numbers. They know no class of fastnp.

There are two wings: `compiled` by Numba, and `reference` in plain NumPy, with the same names in the same files.
An operation (`linear`, `activations`), loss (`losses`, `cross_entropy`) or rule of an optimizer (`updates`) is a
*part*: a function of one row of a *table* (`table`) and the flat arrays that it works on. `link` gives each part a
number, which stands in the table; `walk` goes through a table and calls what stands there, knowing no operation; `run`
is what Python calls. What no table names is never compiled. This file imports neither wing, so that a program which
runs on NumPy never loads Numba. `alone` is for calling a part from Python.

The contract, for every kernel and part
---------------------------------------
- Arrays are C-contiguous and of one dtype, float32 or float64. Of arrays that are arguments, outputs come first. A `d`
  before a name means the gradient of the loss with respect to it. Kernels trust their arguments: `fastnp/` checks them.
- A *padded* array is 2-D, and its row length is a multiple of `PAD_BYTES`: `padded(n, itemsize)` numbers
  for n real columns. The columns after the real ones are *pads*.
- A *column* is what has one real column, without their pads: its numbers lie side by side, `padded` as if they were
  one row. The weights of an operation whose output is one wide are a column.
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
