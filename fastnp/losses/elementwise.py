"""Losses of how far each number of the prediction is from its target."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..checks import check_positive
from ..overrides import Checks
from ..program.op import Kind
from .built_in import BuiltInLoss
from .settings import for_each, one_or_each, quantile


class MSE(BuiltInLoss):
    """Half the squared error, ½ (pred − target)², elementwise, then reduced.

    Args:
        reduction: 'mean' over all elements (batch × outputs); 'batchmean', over the rows, for the sum divided by batch;
            'sum'; or 'none' for the array itself.

    `loss_fn(pred, target)`, both of one shape, returns a float summed in double (the array for 'none').
    `loss_fn.backward()` returns dloss/dpred of the same shape: pred − target, divided by the number of
    elements for 'mean'. `pred` and `target` are copies of what was given last. Computes in float64 where
    pred is float64, else in float32. `loss_fn(pred, target, weight)` multiplies the losses of row i by
    weight[i]; 'mean' then divides by outputs × Σ weight, 'batchmean' by Σ weight.

    Raises ValueError for another reduction, different shapes (nothing is broadcast), a mean over nothing,
    weights that are negative or not finite, and backward before a loss; TypeError for what are not real numbers.
    """

    _kernel_kind = Kind("losses.mse")

    def __init__(self, name: str = "mse", reduction: str = "mean"):
        super().__init__(name, reduction)

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * (pred - target) ** 2, pred - target

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        difference = abs(pred - target)
        return 2 * u * difference**2, u * difference


class MAE(BuiltInLoss):
    """The absolute error, |pred − target|, elementwise, then reduced as for `MSE`.

    The gradient of an element is its sign, ±1, and 0 where pred is target. Shapes, dtypes, weights and what it raises
    are those of `MSE`.
    """

    _kernel_kind = Kind("losses.mae")

    def __init__(self, reduction: str = "mean", name: str = "mae"):
        super().__init__(name, reduction)

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return abs(pred - target), np.sign(pred - target)

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        return u * abs(pred - target), np.zeros_like(pred)


class Huber(BuiltInLoss):
    """½ d² where |d| ≤ delta, else delta·(|d| − ½ delta), d = pred − target; elementwise, then reduced as for `MSE`.

    Args:
        delta: where the square goes over into a line, a positive number; it may be changed at any time.

    The gradient of an element is d, at most delta and at least −delta. Shapes, dtypes, weights and what it raises are
    those of `MSE`; TypeError or ValueError for another delta. Source: P. J. Huber, "Robust estimation of a location
    parameter" (1964).
    """

    _kernel_kind = Kind("losses.huber")
    _checks: ClassVar[Checks] = {"delta": check_positive}
    _settings = ("delta",)
    delta = 1.0

    def __init__(self, delta: float = 1.0, reduction: str = "mean", name: str = "huber"):
        super().__init__(name, reduction)
        self.delta = delta

    def _kernel_numbers(self, n: int) -> Sequence[float]:
        return (self.delta,)

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        difference = pred - target
        slope = np.clip(difference, -self.delta, self.delta)
        return slope * (difference - slope / 2), slope

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        # d and delta are rounded, the difference of d and half the slope, and the product; where d is beyond delta,
        # that difference is at least half of d, so that what d is off counts twice there.
        terms, slopes = self._exact_terms(pred, target)
        return 7 * u * terms, u * abs(slopes)


class Quantile(BuiltInLoss):
    """max(q·d, (q − 1)·d), d = target − pred; elementwise, then reduced as for `MSE`. Also called pinball loss.

    Args:
        q: which quantile of the targets is predicted, a number between 0 and 1 or one for each output (of the last
            axes of pred); it may be changed at any time.

    The gradient of an element is −q below its target, 1 − q above, and 0 where pred is target. Shapes, dtypes, weights
    and what it raises are those of `MSE`; TypeError or ValueError for another q, ValueError where there are not as many
    as outputs. Source: R. Koenker, G. Bassett, "Regression quantiles" (1978).
    """

    _kernel_kind = Kind("losses.quantile")
    _checks: ClassVar[Checks] = {"q": one_or_each(quantile)}
    _settings = ("q",)
    q: float | tuple[float, ...] = 0.5

    def __init__(self, q: Any = 0.5, reduction: str = "mean", name: str = "quantile"):
        super().__init__(name, reduction)
        self.q = q

    def _kernel_numbers(self, n: int) -> Sequence[float]:
        return for_each(self.name, "q", self.q, n)

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        difference, q = pred - target, self._of_each(self.q, pred)
        slope = np.where(difference > 0, 1 - q, np.where(difference < 0, -q, 0))
        return slope * difference, slope

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        # q and 1 − q, neither more than 1, are rounded; the difference, and the product.
        return 4 * u * abs(pred - target), np.full_like(pred, 2 * u)
