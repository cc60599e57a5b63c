"""Losses of each number by itself."""

from typing import Any

from ..program.op import Kind
from .built_in import BuiltInLoss


class MSE(BuiltInLoss):
    """Half the squared error, ½ (pred − target)², elementwise, then reduced.

    Args:
        reduction: 'mean' over all elements (batch × outputs), 'sum', or 'none' for the array itself.

    `loss_fn(pred, target)`, both of one shape, returns a float summed in double (the array for 'none').
    `loss_fn.backward()` returns dloss/dpred of the same shape: pred − target, divided by the number of
    elements for 'mean'. `pred` and `target` are copies of what was given last. Computes in float64 where
    pred is float64, else in float32. `loss_fn(pred, target, weight)` multiplies the losses of row i by
    weight[i], and 'mean' then divides by outputs × Σ weight.

    Raises ValueError for another reduction, different shapes (nothing is broadcast), a mean over nothing,
    weights that are negative or not finite, and backward before a loss; TypeError for what are not real numbers.
    """

    _kernel_kind = Kind("losses.mse")

    def __init__(self, name: str = "mse", reduction: str = "mean"):
        super().__init__(name, reduction)

    @staticmethod
    def _exact_terms(pred: Any, target: Any) -> tuple[Any, Any]:
        """The loss of each number and its slope, for arrays of any precision: what `cross_check` holds it to."""
        return 0.5 * (pred - target) ** 2, pred - target
