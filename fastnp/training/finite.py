"""Numbers that are not finite: where they stand, and what that says of a training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import real_array
from ..errors import DivergedError
from ..tensor import Tensor

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


def check_finite(name: str, array: np.ndarray, dtype: np.dtype, among: np.ndarray | None = None) -> None:
    """Refuse data with NaN, infinity, or numbers that overflow the model's dtype, in the rows that are `among`."""
    where = first_not_finite(array, dtype)
    if where is not None and among is not None and not among[where[0]]:
        rows = np.flatnonzero(among)
        where = first_not_finite(array[rows], dtype)
        where = None if where is None else (int(rows[where[0]]), *where[1:])
    if where is not None:
        raise ValueError(
            f"fit: {name}{list(where)} is {array[where]}, not a finite {dtype}; "
            "remove or replace such rows before training"
        )


def are_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all tensors are, by way of the arenas that they share."""
    arenas = {id(tensor._place.arena): tensor._place.arena for tensor in tensors}
    if all(np.isfinite(arena.data).all() for arena in arenas.values()):
        return True
    return all(np.isfinite(tensor.data).all() for tensor in tensors)


def diverged(
    epoch: int, batch: int, loss: float, x: Any, y: Any, parameters: Sequence[Tensor], pred: Any = None
) -> DivergedError:
    """The error for a batch (x, y) whose loss is not finite, with the reason where one can be seen.

    Where the prediction is known, x is at fault only if that is not finite, and y only if it is.
    """
    start = f"the training diverged: the loss is {loss} in epoch {epoch}, batch {batch}"
    dtype = parameters[0].dtype if parameters else np.dtype(np.float64)
    of_x = pred is None or not _is_finite(pred)
    for name, values, suspect in ("x", x, of_x), ("y", y, pred is None or not of_x):
        try:
            array = real_array(values, name)
        except (TypeError, ValueError):  # what only a loss of the user's own can read
            continue
        where = first_not_finite(array, dtype) if suspect else None
        if where is not None:
            return DivergedError(epoch, batch, loss, (
                f"{start}, for the data is at fault: {name}{list(where)} of this batch is {array[where]}, not a "
                f"finite {dtype}; remove or replace such rows. The parameters are as before this batch's update"
            ))  # fmt: skip
    found = _first(parameters)
    if found is None:
        return DivergedError(epoch, batch, loss)
    return DivergedError(epoch, batch, loss, (
        f"{start}, for {found} before this batch's update. The parameters are left so; set them anew, and where it "
        "was the training that led there try a smaller learning rate"
    ))  # fmt: skip


def check_result(epoch: int, batch: int, loss: float, parameters: Sequence[Tensor]) -> None:
    """Raise DivergedError where the last update of a training, in this epoch and batch, left what is not finite."""
    if not are_finite(parameters):
        raise DivergedError(epoch, batch, loss, (
            f"the training diverged: after its last update, in epoch {epoch}, batch {batch}, {_first(parameters)}; the "
            "parameters are left as they stand; try a smaller learning rate"
        ))  # fmt: skip


def _is_finite(values: Any) -> bool:
    try:
        return bool(np.isfinite(real_array(values, "pred")).all())
    except (TypeError, ValueError):  # what a model of the user's own returns
        return True


def _first(parameters: Sequence[Tensor]) -> str | None:
    """What is not finite among some parameters, in words."""
    for tensor in parameters:
        where = first_not_finite(tensor.data, tensor.dtype)
        if where is not None:
            return f"a parameter of shape {tensor.shape} is {tensor.data[where]} at {list(where)}"
    return None
