"""The loss over validation data, taken while a model is trained."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import real_array
from ..checks import shown
from .checks import check_arrays, check_batches, is_two_arrays


def validation_of(model: Any, loss_fn: Any, validation: Any) -> Callable[[], float]:
    """A function that takes the loss over the validation data, leaving `loss_fn` as it is."""
    batches = validation
    if is_two_arrays(validation):
        X, Y = (real_array(array, f"validation {name}") for array, name in zip(validation, "XY", strict=True))
        if not X.ndim or not Y.ndim or not len(X) == len(Y) > 0:
            raise ValueError(f"fit: validation X and Y need as many rows, at least one; got {X.shape} and {Y.shape}")
        check_arrays(model, copy.copy(loss_fn), X, Y, ("validation X", "validation Y"), 1)
        batches = [(X, Y)]
    else:
        expected = "a tuple (X, Y) or a loader"
        check_batches("validation", validation, expected)
        if hasattr(validation, "__next__") and not hasattr(validation, "__len__"):
            raise TypeError(
                f"fit: validation must be {expected}, got {shown(validation)}, which runs dry after an epoch"
            )

    def validate() -> float:
        # Asked for anew: a callback may have changed either. The loss shall remember the training.
        predict, loss = getattr(model, "predict", model), copy.copy(loss_fn)
        losses, rows = [], []
        for x, y in batches:
            losses.append(float(np.mean(loss(predict(x), y))))
            rows.append((np.shape(y) or (1,))[0])
        if not losses:
            raise ValueError(
                f"fit: the validation data {validation!r} gave no batches; it must be iterable again and again"
            )
        if len(losses) == 1:
            return losses[0]
        if getattr(loss_fn, "reduction", None) == "sum":
            return float(np.sum(losses))
        return float(np.average(losses, weights=rows))

    return validate
