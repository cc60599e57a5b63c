"""The loss of what is or is not."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..checks import check_rate
from ..overrides import Checks
from ..program.op import Kind
from .built_in import BuiltInLoss, refuse_numbers
from .settings import clipped, for_each, most_of, one_or_each, or_none


class BCEWithLogits(BuiltInLoss):
    """Binary cross-entropy of logits, elementwise, then reduced as for `MSE`.

    w·target·softplus(−pred) + (1 − target)·softplus(pred), where softplus(x) = log(1 + eˣ) and w is pos_weight; that is
    −w·target·log p − (1 − target)·log(1 − p) of the probability p = sigmoid(pred). Where a factor is 0, so is the
    product, also for an infinite pred.

    Args:
        pos_weight: how much more positives count, a number or one for each output (of the last axes of pred), finite
            and not negative; None for 1.
        clip: report the loss as those do who compute it from probabilities: p is rounded before 1 − p is taken, and
            neither is below this number, which is between 0 and 0.5. The gradient stays that of the loss without it.
            None for the loss as it is.

    Both may be changed at any time. Targets are probabilities from 0 to 1. The gradient of an element is
    (1 − target)·p − w·target·(1 − p). Shapes, dtypes, weights and what it raises are those of `MSE`; TypeError or
    ValueError for another pos_weight or clip, ValueError where there are not as many as outputs, and for other targets,
    with their row. Source: D. R. Cox, "The regression analysis of binary sequences" (1958).
    """

    _kernel_kind = Kind("losses.bce_with_logits")
    _checks: ClassVar[Checks] = {"pos_weight": or_none(one_or_each(check_rate)), "clip": clipped}
    _settings = ("pos_weight", "clip")
    _does_itself = "activations.sigmoid"
    pos_weight: float | tuple[float, ...] | None = None
    clip: float | None = None

    def __init__(
        self,
        pos_weight: Any = None,
        reduction: str = "mean",
        name: str = "bce_with_logits",
        *,
        clip: float | None = None,
    ):
        super().__init__(name, reduction)
        self.pos_weight, self.clip = pos_weight, clip

    def _kernel_numbers(self, n: int) -> Sequence[float]:
        given = 1.0 if self.pos_weight is None else self.pos_weight
        return most_of(self.clip), *for_each(self.name, "pos_weight", given, n)

    def _check_target(self, target: np.ndarray, n: int, first: int = 0) -> None:
        refuse_numbers(self.name, target, (target >= 0) & (target <= 1), first, "probabilities from 0 to 1")

    def _example_target(self, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 2, shape).astype(np.float64)

    def _factors(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of softplus(−pred), and of softplus(pred)."""
        return self._of_each(1.0 if self.pos_weight is None else self.pos_weight, pred) * target, 1 - target

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rest, most = np.log1p(np.exp(-abs(pred))), most_of(self.clip)
        of_yes, of_no = (np.minimum(np.maximum(x, 0) + rest, most) for x in (-pred, pred))
        ups, downs = self._slopes(pred, target)
        positive, negative = self._factors(pred, target)
        of_positive = np.where(positive > 0, positive * of_yes, 0 * positive)
        return of_positive + np.where(negative > 0, negative * of_no, 0 * negative), ups - downs

    def _slopes(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of (1 − target)·softplus(pred), and, less their sign, of w·target·softplus(−pred)."""
        positive, negative = self._factors(pred, target)
        e = np.exp(-abs(pred))
        up, down = np.where(pred < 0, e, 1) / (1 + e), np.where(pred < 0, 1, e) / (1 + e)
        return negative * up, positive * down

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        # With a clip, p is rounded before log(1 − p): off by u of p, or two, it is off by so much of 1 − p.
        # All that is added up is positive. An exponential may be off by 3 ulp, which are 6 u, and so may log1p, which
        # passes no more on; w, the factors, sums, quotients and products are rounded.
        terms, _ = self._exact_terms(pred, target)
        ups, downs = self._slopes(pred, target)
        rounded = 0 * pred
        if self.clip is not None:
            rounded = np.where(pred > 0, 4 * u * np.exp(np.minimum(pred, most_of(self.clip))), 0)
        return 17 * u * terms + self._factors(pred, target)[1] * rounded, 13 * u * (ups + downs)
