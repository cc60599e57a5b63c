"""Losses: how far a prediction is from its target."""

from typing import Any, ClassVar

import numpy as np

from .arrays import real_array, working_dtype
from .backend import kernels
from .checks import check_name, one_of
from .overrides import Checks, Watched
from .program.op import Kind
from .state import State


class MSE(Watched):
    """Half the squared error, ½ (pred − target)², elementwise, then reduced.

    Args:
        reduction: 'mean' over all elements (batch × outputs), 'sum', or 'none' for the array itself.

    `loss_fn(pred, target)`, both of one shape, returns a float summed in double (the array for 'none').
    `loss_fn.backward()` returns dloss/dpred of the same shape: pred − target, divided by the number of
    elements for 'mean'. `pred` and `target` are copies of what was given last. Computes in float64 where
    pred is float64, else in float32.

    Raises ValueError for another reduction, different shapes (nothing is broadcast), a mean over nothing,
    and backward before a loss; TypeError for what are not real numbers.
    """

    _checks: ClassVar[Checks] = {"name": check_name, "reduction": one_of("mean", "none", "sum")}
    _kernel_kind = Kind("losses.mse")

    @State
    def pred(self) -> np.ndarray | None:
        return self._last[0]

    @State
    def target(self) -> np.ndarray | None:
        return self._last[1]

    def __init__(self, name: str = "mse", reduction: str = "mean"):
        self.name = name
        self.reduction = reduction
        self._last: list[Any] = [None, None, None]  # pred, target and the gradient

    def __call__(self, pred: Any, target: Any) -> Any:
        return self.forward(pred, target)

    def forward(self, pred: Any, target: Any) -> Any:
        """The loss of pred against target."""
        pred, target = (
            real_array(pred, "the pred given to the loss"),
            real_array(target, "the target given to the loss"),
        )
        if pred.shape != target.shape:
            column = pred.ndim == 2 and pred.shape[1] == 1 and target.shape == (len(pred),)
            raise ValueError(
                f"{self.name}: pred has shape {pred.shape}, target {target.shape}; they must be equal, "
                f"nothing is broadcast{'; give target[:, np.newaxis]' if column else ''}"
            )
        if self.reduction == "mean" and not pred.size:
            raise ValueError(f"{self.name}: the mean loss of an empty batch, of shape {pred.shape}, is not defined")
        dtype = working_dtype(pred)
        pred, target = pred.astype(dtype, "C"), target.astype(dtype, "C")
        gradient = np.empty(pred.shape, dtype)
        scale = 1 / pred.size if self.reduction == "mean" else 1.0
        flat = (gradient, pred, target) if pred.ndim == 2 else [a.reshape(1, -1) for a in (gradient, pred, target)]
        backend = kernels()
        total = backend.loss(backend.parts[_SUM, dtype.char], *flat, scale)
        self._last[:] = pred, target, gradient
        if self.reduction == "none":
            with np.errstate(over="ignore", invalid="ignore"):  # kernels do not warn either
                return 0.5 * np.square(pred - target)
        return total * scale

    @staticmethod
    def _exact_terms(pred: Any, target: Any) -> tuple[Any, Any]:
        """The loss of each number and its slope, for arrays of any precision: what `cross_check` holds it to."""
        return 0.5 * (pred - target) ** 2, pred - target

    def backward(self) -> np.ndarray:
        """The gradient of the last loss with respect to pred, in a new array."""
        gradient = self._last[2]
        if gradient is None:
            raise ValueError(f"{self.name}: backward before a loss; call {self.name}(pred, target) first")
        return gradient.copy()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_last": list(self._last)}  # a copy remembers by itself

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reduction={getattr(self, 'reduction', 'mean')!r})"


_SUM = f"{MSE._kernel_kind.name}.sum"
