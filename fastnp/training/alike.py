"""Batches that one kernel call takes: alike, of real numbers, and as the loss would check them one by one."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ..arrays import real_array
from ..losses.built_in import BuiltInLoss
from ..weights import checked_weights

Columns = list[list[np.ndarray]]  # the x, the y and, where there are any, the weights of batches

_shape, _dtype = attrgetter("shape"), attrgetter("dtype")


def alike(batches: Sequence[tuple[Any, ...]]) -> Columns | None:
    """Batches, from the first, as arrays of one shape; the last may be shorter. None where the first is none."""
    some = batches
    while some:
        try:
            return _alike(some)
        except (TypeError, ValueError):  # one of them is of another kind, or none: those before it may be alike
            some = some[: len(some) // 2]
    return None


def _alike(batches: Sequence[tuple[Any, ...]]) -> Columns:
    columns = [_arrays(column) for column in zip(*batches, strict=True)]
    if not 2 <= len(columns) <= 3:
        raise TypeError
    rows = {array.shape[0] for array in (column[0] for column in columns) if array.ndim}
    if len(rows) != 1 or 0 in rows:
        raise ValueError
    count = min(map(_of_one_shape, columns))
    if count < len(batches) and _are_shorter([column[count] for column in columns], columns):
        count += 1
    return [column[:count] for column in columns]


def _arrays(values: Sequence[Any]) -> list[np.ndarray]:
    if {*map(type, values)} == {np.ndarray}:
        dtypes = [*map(_dtype, values)]
        if dtypes.count(dtypes[0]) == len(dtypes) and dtypes[0].kind in "fiub":  # a set would ask each for its hash
            return list(values)
    return [real_array(value, "a batch") for value in values]


def _of_one_shape(arrays: Sequence[np.ndarray]) -> int:
    """How many arrays, from the first, have its shape."""
    shapes = [*map(_shape, arrays)]
    first = shapes[0]
    if shapes.count(first) == len(shapes):
        return len(shapes)
    return next(i for i, shape in enumerate(shapes) if shape != first)


def _are_shorter(batch: Sequence[np.ndarray], columns: Columns) -> bool:
    """Whether a batch is as the first of the columns, but has fewer rows."""
    rows = {array.shape[:1] for array in batch}
    of_one = all(array.shape[1:] == column[0].shape[1:] for array, column in zip(batch, columns, strict=True))
    return of_one and len(rows) == 1 and (0,) < rows.pop() < columns[0][0].shape[:1]


def taken_by(loss_fn: Any, width: int, columns: Columns) -> int:
    """How many of these batches, from the first, a loss takes whose predictions are so wide."""
    _, targets, *weights = columns
    count = len(targets)
    try:
        loss_fn._kernel_numbers(width)
    except ValueError:
        return 0
    if type(loss_fn)._check_target is not BuiltInLoss._check_target:
        count = _passing(targets, lambda target: loss_fn._check_target(target, width))
    for weight in weights:
        shape = weight[0].shape[1:]
        count = min(count, _passing(weight, _check_weight) if shape in ((), (1,)) else 0)
    return count


def _check_weight(weight: np.ndarray) -> None:
    checked_weights("weight", weight, len(weight))


def _passing(arrays: Sequence[np.ndarray], check: Callable[[np.ndarray], Any]) -> int:
    """How many arrays, from the first, pass a check that looks at every row by itself."""
    if all(array.dtype == arrays[0].dtype for array in arrays):
        try:
            check(np.concatenate(arrays))
            return len(arrays)
        except (TypeError, ValueError):  # the row that is wrong is in one of them
            pass
    for i, array in enumerate(arrays):
        try:
            check(array)
        except (TypeError, ValueError):
            return i
    return len(arrays)
