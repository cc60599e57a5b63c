"""Rows of data, laid out as kernels take them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import aligned_zeros, take_rows
from ..kernels import padded
from ..program.program import Program

SECONDS_PER_CALL = 0.02  # how long a kernel may run before Python sees Ctrl-C and moves the progress bar
STAGED_BYTES = 1 << 19  # rows are gathered in pieces of this size, or of one batch where that is larger

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # x, y and weights


class Stage:
    """Room for rows on their way to a kernel: `x`, padded, and `y`, targets, behind which weights stand.

    `shape` is that of targets; how many rows it names does not matter.
    """

    def __init__(self, program: Program, loss_fn: Any, shape: Sequence[int], weighted: bool):
        self._n_in, self._columns = program.n_in, loss_fn._columns(program.n_out, shape)
        self._shape, self._weighted = shape, weighted
        self._widths = padded(program.n_in, program.dtype.itemsize), self._columns + weighted
        self._dtype = program.dtype
        self.row_bytes = sum(self._widths) * program.dtype.itemsize
        self.make_room(0)

    def make_room(self, rows: int) -> None:
        """For so many rows; those that are here are forgotten."""
        self.x, self.y = (aligned_zeros(rows * ld, self._dtype).reshape(rows, ld) for ld in self._widths)

    def put_batches(self, x: Sequence[np.ndarray], y: Sequence[np.ndarray], weight: Sequence[np.ndarray] = ()) -> None:
        """Batches one behind the other, converted, from the first row on."""
        rows = sum(map(len, x))
        if rows > len(self.x):
            self.make_room(rows)
        _join(x, self.x[:rows, : self._n_in])
        targets = y if y[0].ndim == 2 else [array.reshape(len(array), self._columns) for array in y]
        _join(targets, self.y[:rows, : self._columns])
        if weight:
            _join([array.reshape(-1, 1) for array in weight], self.y[:rows, -1:])

    def batch(self, first: int, last: int) -> Batch:
        """Rows that are here, in the shapes in which they came; views."""
        target = self.y[first:last, : self._columns].reshape(-1, *self._shape[1:])
        return self.x[first:last, : self._n_in], target, self.y[first:last, -1] if self._weighted else None


def _join(arrays: Sequence[np.ndarray], out: np.ndarray) -> None:
    np.concatenate(arrays, out=out, casting="unsafe")


class ArrayStage(Stage):
    """A stage for rows of X, Y and weights."""

    def __init__(self, program: Program, loss_fn: Any, X: np.ndarray, Y: np.ndarray, weight: np.ndarray | None):
        self._X, self._Y, self._weight = X, Y, weight
        super().__init__(program, loss_fn, Y.shape, weight is not None)

    def put(self, order: np.ndarray, start: int) -> None:
        """Gather the rows of `order`, converted, from row `start` on."""
        stop = start + len(order)
        self.x[start:stop, : self._n_in] = self._rows_of_x(order)
        self.y[start:stop, : self._columns] = take_rows(self._Y, order).reshape(len(order), self._columns)
        if self._weight is not None:
            self.y[start:stop, -1] = take_rows(self._weight, order)

    def _rows_of_x(self, order: np.ndarray) -> np.ndarray:
        return take_rows(self._X, order)
