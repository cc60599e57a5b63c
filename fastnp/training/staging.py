"""Rows of data, laid out as kernels take them."""

from typing import Any

import numpy as np

from ..arrays import aligned_zeros, take_rows
from ..kernels import padded
from ..program.program import Program

Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # x, y and weights


class Stage:
    """Rows of X, Y and weights on their way to a kernel: `x`, padded, and `y`, targets, behind which weights stand."""

    def __init__(self, program: Program, loss_fn: Any, X: np.ndarray, Y: np.ndarray, weight: np.ndarray | None):
        self._X, self._Y, self._weight = X, Y, weight
        self._n_in, self._columns = program.n_in, loss_fn._columns(program.n_out, Y.shape)
        self._widths = padded(program.n_in, program.dtype.itemsize), self._columns + (weight is not None)
        self._dtype = program.dtype
        self.row_bytes = sum(self._widths) * program.dtype.itemsize
        self.make_room(0)

    def make_room(self, rows: int) -> None:
        """For so many rows; those that are here are forgotten."""
        self.x, self.y = (aligned_zeros(rows * ld, self._dtype).reshape(rows, ld) for ld in self._widths)

    def put(self, order: np.ndarray, start: int) -> None:
        """Gather the rows of `order`, converted, from row `start` on."""
        stop = start + len(order)
        self.x[start:stop, : self._n_in] = take_rows(self._X, order)
        self.y[start:stop, : self._columns] = take_rows(self._Y, order).reshape(len(order), self._columns)
        if self._weight is not None:
            self.y[start:stop, -1] = take_rows(self._weight, order)

    def batch(self, first: int, last: int) -> Batch:
        """Rows that are here, in the shapes in which they came; views."""
        target = self.y[first:last, : self._columns].reshape(-1, *self._Y.shape[1:])
        return self.x[first:last, : self._n_in], target, None if self._weight is None else self.y[first:last, -1]
