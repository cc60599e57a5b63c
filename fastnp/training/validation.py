"""The loss over validation data, taken while a model is trained."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import real_array
from ..checks import shown
from ..program.op import kind_of
from .batches import check_batches, is_arrays, unpacked
from .checks import check_arrays

NAMES = "X", "Y", "weight"


def validation_of(model: Any, loss_fn: Any, validation: Any) -> Callable[[], float]:
    """A function that takes the loss over the validation data, leaving `loss_fn` as it is."""
    batches = validation
    if is_arrays(validation):
        X, Y, *more = (real_array(array, f"validation {name}") for array, name in zip(validation, NAMES, strict=False))
        if not X.ndim or not Y.ndim or not len(X) == len(Y) > 0:
            raise ValueError(f"fit: validation X and Y need as many rows, at least one; got {X.shape} and {Y.shape}")
        check_arrays(model, loss_fn, X, Y, more[0] if more else None, "validation ", 1)
        batches = [(X, Y, *more)]
    else:
        expected = "a tuple (X, Y) or (X, Y, weight), or a loader"
        check_batches("validation", validation, expected)
        if hasattr(validation, "__next__") and not hasattr(validation, "__len__"):
            raise TypeError(
                f"fit: validation must be {expected}, got {shown(validation)}, which runs dry after an epoch"
            )

    def validate() -> float:
        # Asked for anew: a callback may have changed either. The loss shall remember the training.
        predict, loss = getattr(model, "predict", model), copy.copy(loss_fn)
        losses: list[float] = []
        counts: list[float] = []
        for batch in batches:
            x, y, *weight = unpacked(batch, len(losses), "the validation data")
            losses.append(float(np.mean(loss(predict(x), y, *weight))))
            counts.append(_counts(loss, y, *weight))
        if not losses:
            raise ValueError(
                f"fit: the validation data {validation!r} gave no batches; it must be iterable again and again"
            )
        if len(losses) == 1:
            return losses[0]
        if getattr(loss_fn, "reduction", None) == "sum":
            return float(np.sum(losses))
        return float(np.average(losses, weights=counts)) if sum(counts) else 0.0

    return validate


def _counts(loss_fn: Any, y: Any, weight: Any = None) -> float:
    """How many rows of a batch a mean loss counts, each as often as it weighs."""
    if kind_of(loss_fn) is not None:
        counts: float = loss_fn._counts(np.asarray(y), None if weight is None else np.asarray(weight))
        return counts
    return float((np.shape(y) or (1,))[0] if weight is None else np.sum(weight))
