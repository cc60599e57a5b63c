"""One operation by itself, to compare, check or time its parts from Python."""

import math

import numpy as np

from . import SCRATCH_ROW_BYTES, padded
from .table import ROW, as_integers, rows


class Alone:
    """A table of one row, and the arrays that it works on, in any wing and dtype.

        op = Alone("linear.linear", batch=4, n_in=3, n_out=5, dtype=np.float32)
        op.x[...], op.weights[...], op.bias[...] = x, w, b
        op.call(kernels_of("numba"), "forward")
        print(op.y)

    `name` is that of the operation, as in both wings; `settings` are fields of its row: rectified, masked, seed,
    setting. `x`, `dx` (batch, n_in), `y`, `dy` (batch, n_out), `weights` (n_in, n_out) and `bias` (1, n_out) are views,
    without the pads; there may be another number of rows of weights, `weight_rows`, and those of "linear.column" lie
    side by side. `kept(kinds)` gives room for what a rule keeps of weights and bias, and `weights_kept`, `bias_kept`
    are views of that (kinds, …). What the operation remembers from one call for the next is `memory`, with room for
    `remembered` numbers for each row, or for one row. Between the buffers lie `gap` numbers, and all start as `fill`:
    in the gaps, in pads of activations and in the scratch space that stays, elsewhere zeros are written.
    """

    def __init__(self, name, batch, n_in, n_out, dtype, gap=0, fill=0.0, *, weight_rows=None, remembered=0, **settings):
        self.name, self.dtype, self.batch, self.gap = name, np.dtype(dtype), batch, gap
        self.n_in, self.n_out = n_in, n_out
        self.remembered = max(batch, 1) * remembered
        ld_in, ld_out = (padded(n, self.dtype.itemsize) for n in (n_in, n_out))
        self.is_column = name == "linear.column"
        self._weights = (1, ld_in) if self.is_column else (n_in if weight_rows is None else weight_rows, ld_out)  # rows
        self.table = np.zeros(1, ROW)
        row = self.row = self.table[0]
        row["n_in"], row["n_out"], row["ld_in"], row["ld_out"] = n_in, n_out, ld_in, ld_out
        for field, value in settings.items():
            row[field] = value
        end = gap
        scratch = max(ld_in, ld_out) * (SCRATCH_ROW_BYTES // self.dtype.itemsize)
        sizes = scratch, batch * ld_in, batch * ld_out, batch * ld_in, batch * ld_out, self.remembered
        for field, count in zip(("scratch", "x", "y", "dx", "dy", "memory"), sizes, strict=True):
            row[field], end = end, end + count + gap
        self.work = np.full(end, fill, self.dtype)
        self.memory[...] = 0
        size = math.prod(self._weights)
        row["weights"], row["bias"] = gap, 2 * gap + size
        self.params = np.full(3 * gap + size + ld_out, fill, self.dtype)
        for field in "weights", "bias", "dx", "dy":
            self.padded(field)[...] = 0
        self.kept(1)

    def kept(self, kinds):
        """Make room for what a rule keeps: so many kinds of numbers."""
        self.target = np.full(kinds * self.params.size, self.params[0] if self.gap else 0, self.dtype)
        for field in "weights", "bias":
            self.padded(f"{field}_kept")[...] = 0

    @property
    def memory(self):
        return self.work[self.row["memory"] :][: self.remembered]

    def padded(self, field):
        """A buffer with its pads; a column as one row."""
        row = self.row
        ld = row["ld_in"] if field in ("x", "dx") else row["ld_out"]
        if field in ("x", "y", "dx", "dy"):
            return rows(self.work, row[field], self.batch, ld)
        of, _, is_kept = field.partition("_")
        count, ld = self._weights if of == "weights" else (1, row["ld_out"])
        if not is_kept:
            return rows(self.params, row[of], count, ld)
        kinds = self.target.reshape(-1, self.params.size)
        return kinds[:, row[of] : row[of] + count * ld].reshape(len(kinds), count, ld)

    def __getattr__(self, name):
        if name not in ("x", "y", "dx", "dy", "weights", "bias", "weights_kept", "bias_kept"):
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        if self.is_column and name.startswith("weights"):
            return self.padded(name)[..., : self.n_in].swapaxes(-1, -2)
        return self.padded(name)[..., : self.n_in if name in ("x", "dx") else self.n_out]

    def call(self, kernels, role, rule=None, numbers=(0.0,)):
        """Run one part: 'forward', 'input', or 'parameters' with the name of a rule and its numbers."""
        run, arguments = self.prepared(kernels, role, rule, numbers)
        run(*arguments)

    def prepared(self, kernels, role, rule=None, numbers=(0.0,)):
        """A kernel and the arguments with which it runs one part and nothing else."""
        table = self.table.copy()
        part = ".".join([self.name, role, *([rule] if rule else [])])
        table[role] = kernels.parts[part, self.dtype.char]
        table = as_integers(table)
        if role == "forward":
            return kernels.forward, (self.work, self.params, table, self.batch)
        numbers = np.array(numbers, self.dtype)
        return kernels.backward, (self.work, self.params, self.target, numbers, table, self.batch)
