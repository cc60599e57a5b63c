"""The loss over validation data, taken while a model is trained."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..arrays import real_array
from ..checks import shown
from ..losses.built_in import BuiltInLoss
from ..overrides import is_own
from ..prediction import predicting
from .batches import check_batches, is_arrays, unpacked
from .targets import Rows, check_rows, rows_of

NAMES = "X", "Y", "weight"


def validation_of(model: Any, loss_fn: Any, validation: Any) -> Callable[[], float]:
    """A function that takes the loss over the validation data, leaving `loss_fn` as it is."""
    batches = validation
    if is_arrays(validation):
        validation = [array for array in validation if array is not None]  # no weight is None
        X, Y, *more = (real_array(array, f"validation {name}") for array, name in zip(validation, NAMES, strict=False))
        if not X.ndim or not Y.ndim or not len(X) == len(Y) > 0:
            raise ValueError(f"fit: validation X and Y need as many rows, at least one; got {X.shape} and {Y.shape}")
        check_rows(model, loss_fn, Rows(X, Y, more[0] if more else None, "validation "), 1)
        batches = [(X, Y, *more)]
    else:
        expected = "a tuple (X, Y) or (X, Y, weight), or a loader"
        check_batches("validation", validation, expected)
        if hasattr(validation, "__next__") and not hasattr(validation, "__len__"):
            raise TypeError(
                f"fit: validation must be {expected}, got {shown(validation)}, which runs dry after an epoch"
            )
        rows = rows_of(validation, "validation ")
        if rows is not None:
            check_rows(model, loss_fn, rows, 1)

    def validate() -> float:
        # Asked for anew: a callback may have changed either. The loss shall remember the training.
        predict, loss = getattr(model, "predict", None) or partial(_predict_by_call, model), copy.copy(loss_fn)
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
        return _of_all(losses, None if getattr(loss_fn, "reduction", None) == "sum" else counts)

    return validate


def _of_all(losses: list[float], counts: list[float] | None) -> float:
    """The loss of all batches from that of each: their mean, each as often as it counts, or their sum for None.

    Added up one after the other in doubles, as a kernel does: neither sum() nor np.sum() do so.
    """
    if len(losses) == 1:
        return losses[0]
    total, count = 0.0, 0.0
    for i, loss in enumerate(losses):
        total += loss if counts is None else loss * counts[i]
        count += 0.0 if counts is None else counts[i]
    if counts is None:
        return total
    return total / count if count else 0.0


def _predict_by_call(model: Any, x: Any) -> Any:
    with predicting(model):
        return model(x)


def _counts(loss_fn: Any, y: Any, weight: Any = None) -> float:
    """How many rows of a batch a mean loss counts, each as often as it weighs; that of 'none' counts each once."""
    rows = float((np.shape(y) or (1,))[0])
    if getattr(loss_fn, "reduction", None) == "none":
        return rows
    weight = None if weight is None else np.reshape(weight, -1)
    if isinstance(loss_fn, BuiltInLoss) and is_own(loss_fn, BuiltInLoss, "forward", "__call__"):
        return loss_fn._counts(np.asarray(y), weight)
    return rows if weight is None else float(np.sum(weight))
