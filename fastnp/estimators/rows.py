"""Rows that an estimator trains on, or predicts: arrays, or sparse matrices that are made dense a piece at a time."""

from collections.abc import Iterator
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_array

from ..program.program import Program
from ..training.staging import ArrayStage
from ..warned import warn

PIECE = 1 << 21  # numbers of a sparse matrix that are made dense at once
LAID_OUT_BYTES = 1 << 26


class Rows(NamedTuple):
    """X, y as an estimator is given it, the targets as its loss takes them, and weights."""

    X: Any
    y: Any
    targets: np.ndarray
    weight: np.ndarray | None

    def taken(self, rows: np.ndarray) -> "Rows":
        """Some of these."""
        weight = None if self.weight is None else self.weight[rows]
        return Rows(self.X[rows], self.y[rows], self.targets[rows], weight)


def is_sparse(X: Any) -> bool:
    """Whether these rows are those of a sparse matrix."""
    return not isinstance(X, np.ndarray) and bool(issparse(X))


def rows_in_piece(X: Any) -> int:
    """How many rows are worked on at once: all of an array."""
    return max(1, PIECE // max(1, X.shape[1])) if is_sparse(X) else max(1, X.shape[0])


def dense_pieces(X: Any) -> Iterator[np.ndarray]:
    """All rows, one piece after the other; an array is one."""
    if not is_sparse(X):
        yield X
        return
    rows, step = X.tocsr(), rows_in_piece(X)
    for start in range(0, X.shape[0], step):
        yield rows[start : start + step].toarray()


class RowStage(ArrayStage):
    """A stage for rows that may be sparse. Where they are not too many, all are laid out once, as kernels take them."""

    def __init__(self, program: Program, loss_fn: Any, X: Any, Y: np.ndarray, weight: np.ndarray | None):
        super().__init__(program, loss_fn, X, Y, weight)
        self._laid_out: tuple[np.ndarray, np.ndarray] | None = None
        if X.shape[0] * self.row_bytes <= LAID_OUT_BYTES and not is_sparse(X):
            self.make_room(X.shape[0])
            self.put(np.arange(X.shape[0]), 0)
            self._laid_out = self.x, self.y
            self.make_room(0)

    def put(self, order: np.ndarray, start: int) -> None:
        if self._laid_out is None:
            super().put(order, start)
            return
        for rows, out in zip(self._laid_out, (self.x, self.y), strict=True):
            np.take(rows, order, axis=0, out=out[start : start + len(order)], mode="clip")  # which does not copy twice

    def _rows_of_x(self, order: np.ndarray) -> Any:
        return self._X[order].toarray() if is_sparse(self._X) else super()._rows_of_x(order)


def checked_weight(weight: Any, X: Any) -> np.ndarray | None:
    """`sample_weight` as an array (rows,). Raises ValueError for another shape, and what is not finite."""
    if weight is None:
        return None
    rows, dtype = X.shape[0], X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    if isinstance(weight, Real):
        weight = np.full(rows, weight, dtype)
    array: np.ndarray = check_array(weight, ensure_2d=False, dtype=dtype, order="C", input_name="sample_weight")
    if array.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {array.ndim}D array.")
    if array.shape != (rows,):
        raise ValueError(f"sample_weight.shape == {array.shape}, expected {(rows,)}!")
    if (array < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`; weights must not be negative.")
    return array


def some_weight(weight: np.ndarray | None) -> np.ndarray | None:
    """These weights. Raises ValueError where all of them are 0."""
    if weight is not None and not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight


def one_column(y: Any) -> Any:
    """y (rows, 1) as (rows,), with a warning; other y as it is."""
    if y.ndim == 2 and y.shape[1] == 1 and not is_sparse(y):
        warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples, ), "
            "for example using ravel().",
            DataConversionWarning,
            through=("sklearn",),
        )
        return y.ravel()
    return y
