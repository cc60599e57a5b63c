"""Numbers that are not finite: where they stand, and what that says of a training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import real_array
from .errors import DivergedError
from .tensor import Tensor

CHECKED_NUMBERS = 1 << 16  # that are looked at together


def first_not_finite(array: np.ndarray, dtype: np.dtype) -> tuple[int, ...] | None:
    """The index of the first number that is NaN, infinite, or too large for `dtype`; None where there is none."""
    if array.dtype.kind != "f":
        return None
    if not array.ndim:
        return None if np.isfinite(array) else ()
    rows = max(1, CHECKED_NUMBERS // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        piece = array[start : start + rows]
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(piece.astype(dtype, copy=False))
        if not finite.all():
            first, *others = (int(i) for i in np.argwhere(~finite)[0])
            return (start + first, *others)
    return None


def check_finite(name: str, array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse data with NaN, infinity, or numbers that overflow the model's dtype."""
    where = first_not_finite(array, dtype)
    if where is not None:
        raise ValueError(
            f"fit: {name}{list(where)} is {array[where]}, not a finite {dtype}; "
            "remove or replace such rows before training"
        )


def diverged(epoch: int, batch: int, loss: float, x: Any, y: Any, parameters: Sequence[Tensor]) -> DivergedError:
    """The error for a batch (x, y) whose loss is not finite, with the reason where one can be seen."""
    start = f"the training diverged: the loss is {loss} in epoch {epoch}, batch {batch}"
    dtype = parameters[0].dtype if parameters else np.dtype(np.float64)
    for name, values in ("x", x), ("y", y):
        try:
            array = real_array(values, name)
        except (TypeError, ValueError):  # what only a loss of the user's own can read
            continue
        where = first_not_finite(array, dtype)
        if where is not None:
            return DivergedError(epoch, batch, loss, (
                f"{start}, for the data is at fault: {name}{list(where)} of this batch is {array[where]}, not a "
                f"finite {dtype}; remove or replace such rows. The parameters are as before this batch's update"
            ))  # fmt: skip
    for i, tensor in enumerate(parameters):
        where = first_not_finite(tensor.data, tensor.dtype)
        if where is not None:
            return DivergedError(epoch, batch, loss, (
                f"{start}, for model.parameters()[{i}], of shape {tensor.shape}, held {tensor.data[where]} at "
                f"{list(where)} before this batch's update. The parameters are left so; set them anew, and where "
                "it was the training that led there try a smaller learning rate"
            ))  # fmt: skip
    return DivergedError(epoch, batch, loss)


def check_result(epoch: int, batch: int, loss: float, parameters: Sequence[Tensor]) -> None:
    """Raise DivergedError where the last update of a training, in this epoch and batch, left what is not finite."""
    for tensor in parameters:
        where = first_not_finite(tensor.data, tensor.dtype)
        if where is not None:
            raise DivergedError(epoch, batch, loss, (
                f"the training diverged: after its last update, in epoch {epoch}, batch {batch}, a parameter of shape "
                f"{tensor.shape} is {tensor.data[where]} at {list(where)}; the parameters are left as they stand; try "
                "a smaller learning rate"
            ))  # fmt: skip
