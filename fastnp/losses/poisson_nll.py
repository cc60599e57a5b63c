"""The loss of counts."""

from collections.abc import Sequence

import numpy as np

from ..program.op import Kind
from .built_in import BuiltInLoss, refuse_numbers

EXP_ULPS = 3  # that either wing's exponential may be off


class PoissonNLL(BuiltInLoss):
    """e^pred − target·pred, elementwise, then reduced as for `MSE`: pred is the logarithm of the expected count.

    This is the negative log-likelihood of counts that are distributed as Poisson says, less log target!, which no
    prediction changes. Targets are counts: finite and not negative, whole or not. The gradient of an element is
    e^pred − target. Shapes, dtypes, weights and what else it raises are those of `MSE`; ValueError that names the row
    for other targets. Source: P. McCullagh, J. A. Nelder, "Generalized linear models" (1983).
    """

    _kernel_kind = Kind("losses.poisson_nll")

    def __init__(self, reduction: str = "mean", name: str = "poisson_nll"):
        super().__init__(name, reduction)

    def _check_target(self, target: np.ndarray, n: int, first: int = 0) -> None:
        right = (target >= 0) & (target < np.inf)
        refuse_numbers(self.name, target, right, first, "counts, which are finite and not negative")

    def _example_target(self, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        return rng.poisson(2.0, shape).astype(np.float64)

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e = np.exp(pred)
        return e - target * pred, e - target

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        of_e, (terms, slopes) = 2 * EXP_ULPS * u * np.exp(pred), self._exact_terms(pred, target)
        return of_e + u * abs(target * pred) + u * abs(terms) + 2 * u * of_e, of_e + u * abs(slopes) + u * of_e
