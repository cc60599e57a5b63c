"""The loss over validation data, taken while a model is trained."""

import copy
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


class Validation:
    """The loss over validation data, which leaves `loss_fn` as it is.

    `arrays` are X, Y and weights, where that is what was given; else `batches` are what a loader gives.
    """

    arrays: tuple[np.ndarray, ...] | None = None

    def __init__(self, model: Any, loss_fn: Any, given: Any):
        """Raises ValueError or TypeError for what cannot be validated with."""
        self._model, self._loss_fn, self.batches = model, loss_fn, given
        if is_arrays(given):
            given = [array for array in given if array is not None]  # no weight is None
            X, Y, *more = (real_array(array, f"validation {name}") for array, name in zip(given, NAMES, strict=False))
            if not X.ndim or not Y.ndim or not len(X) == len(Y) > 0:
                raise ValueError(
                    f"fit: validation X and Y need as many rows, at least one; got {X.shape} and {Y.shape}"
                )
            check_rows(model, loss_fn, Rows(X, Y, more[0] if more else None, "validation "), 1)
            self.arrays = X, Y, *more
            self.batches = [self.arrays]
            return
        expected = "a tuple (X, Y) or (X, Y, weight), or a loader"
        check_batches("validation", given, expected)
        if hasattr(given, "__next__") and not hasattr(given, "__len__"):
            raise TypeError(f"fit: validation must be {expected}, got {shown(given)}, which runs dry after an epoch")
        rows = rows_of(given, "validation ")
        if rows is not None:
            check_rows(model, loss_fn, rows, 1)

    def __call__(self) -> float:
        # Asked for anew: a callback may have changed either. The loss shall remember the training.
        predict = getattr(self._model, "predict", None) or partial(_predict_by_call, self._model)
        loss = copy.copy(self._loss_fn)
        losses: list[float] = []
        counts: list[float] = []
        for batch in self.batches:
            x, y, *weight = unpacked(batch, len(losses), "the validation data")
            losses.append(float(np.mean(loss(predict(x), y, *weight))))
            counts.append(rows_counted(loss, y, *weight))
        if not losses:
            raise ValueError(
                f"fit: the validation data {self.batches!r} gave no batches; it must be iterable again and again"
            )
        return _of_all(losses, None if getattr(loss, "reduction", None) == "sum" else counts)


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


def rows_counted(loss_fn: Any, y: Any, weight: Any = None) -> float:
    """How many rows of a batch a mean loss counts, each as often as it weighs; that of 'none' counts each once."""
    rows = float((np.shape(y) or (1,))[0])
    if getattr(loss_fn, "reduction", None) == "none":
        return rows
    weight = None if weight is None else np.reshape(weight, -1)
    if isinstance(loss_fn, BuiltInLoss) and is_own(loss_fn, BuiltInLoss, "forward", "__call__"):
        return loss_fn._counts(np.asarray(y), weight)
    return rows if weight is None else float(np.sum(weight))
