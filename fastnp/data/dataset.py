"""Data sets: pairs of data and label."""

from typing import Any, ClassVar

import numpy as np

from ..arrays import real_array, take_rows
from ..overrides import Checks, Watched


class Dataset(Watched):
    """Base class: `dataset[idx]` is a pair (data, label), `len(dataset)` the number of pairs.

    A data set may also offer `__getitems__(indices)`, which gives a whole batch at once: a list of pairs,
    or a tuple (data, labels) of arrays that is the batch already.
    """

    def __getitem__(self, idx: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, idx)")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__(self)")


def _check_rows(owner: str, name: str, value: Any) -> np.ndarray:
    array = real_array(value, name)
    if not array.ndim:
        raise ValueError(f"{owner}: {name} is a single number; expected an array of rows")
    return array


class ArrayDataset(Dataset):
    """The rows of two arrays, in pairs: `dataset[i]` is (X[i], Y[i]).

    Args:
        X, Y: arrays, tables or nested lists of real numbers with as many rows, taken by position. Arrays are
            not copied: memory-mapped ones may be larger than memory.

    Raises ValueError for different lengths, TypeError for what are not real numbers.
    """

    _checks: ClassVar[Checks] = {"X": _check_rows, "Y": _check_rows}

    def __init__(self, X: Any, Y: Any):
        self.X = X
        self.Y = Y
        ArrayDataset.__len__(self)  # a subclass may repeat the rows

    def __getitem__(self, idx: Any) -> Any:
        return self.X[idx], self.Y[idx]

    def __getitems__(self, indices: Any) -> tuple[np.ndarray, np.ndarray]:
        return take_rows(self.X, indices), take_rows(self.Y, indices)

    def __len__(self) -> int:
        if len(self.X) != len(self.Y):
            raise ValueError(f"{type(self).__name__}: X has {len(self.X)} rows, Y {len(self.Y)}; they must be equal")
        return len(self.X)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(X {self.X.shape} {self.X.dtype}, Y {self.Y.shape} {self.Y.dtype})"
