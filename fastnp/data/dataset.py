"""Data sets: data and label, and what they weigh."""

from typing import Any, ClassVar

import numpy as np

from ..arrays import real_array, take_rows
from ..overrides import Checks, Watched
from ..weights import check_weights


class Dataset(Watched):
    """Base class: `dataset[idx]` is a pair (data, label), `len(dataset)` the number of pairs.

    Triples (data, label, weight) say what each sample weighs in the loss, a number that is not negative. A data set may
    also offer `__getitems__(indices)`, which gives a whole batch at once: a list of samples, or a tuple of arrays
    (data, labels) or (data, labels, weights) that is the batch already.
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


def _check_weight(owner: str, name: str, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    array = _check_rows(owner, name, value)
    return check_weights(f"{owner}: {name}", array, len(array))


class ArrayDataset(Dataset):
    """The rows of two arrays, in pairs: `dataset[i]` is (X[i], Y[i]); with weights in triples, (X[i], Y[i], weight[i]).

    Args:
        X, Y: arrays, tables or nested lists of real numbers with as many rows, taken by position. Arrays are
            not copied: memory-mapped ones may be larger than memory.
        weight: a number for each row, (rows,) or (rows, 1): how much it counts in the loss.

    Raises ValueError for different lengths, for weights that are negative or not finite, and where all of them are 0;
    TypeError for what are not real numbers.
    """

    _checks: ClassVar[Checks] = {"X": _check_rows, "Y": _check_rows, "weight": _check_weight}

    weight: np.ndarray | None = None  # also of pickles from before there were weights

    def __init__(self, X: Any, Y: Any, weight: Any = None):
        self.X = X
        self.Y = Y
        self.weight = weight
        ArrayDataset.__len__(self)  # a subclass may repeat the rows

    def __getitem__(self, idx: Any) -> Any:
        pair = self.X[idx], self.Y[idx]
        return pair if self.weight is None else (*pair, self.weight[idx])

    def __getitems__(self, indices: Any) -> tuple[np.ndarray, ...]:
        pair = take_rows(self.X, indices), take_rows(self.Y, indices)
        return pair if self.weight is None else (*pair, take_rows(self.weight, indices))

    def __len__(self) -> int:
        rows = len(self.X)
        for name, array in ("Y", self.Y), ("weight", self.weight):
            if array is not None and len(array) != rows:
                raise ValueError(f"{type(self).__name__}: X has {rows} rows, {name} {len(array)}; they must be equal")
        return rows

    def __repr__(self) -> str:
        arrays = ("X", self.X), ("Y", self.Y), ("weight", self.weight)
        shown = [f"{name} {array.shape} {array.dtype}" for name, array in arrays if array is not None]
        return f"{type(self).__name__}({', '.join(shown)})"
