"""The loss of classes."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..overrides import Checks
from ..program.op import Kind
from .built_in import BuiltInLoss, refuse_numbers
from .settings import clipped, for_each, most_of, share, weights

SUM_TOLERANCE = 0.01  # by which probabilities may fail to sum to 1, such as those of two or three decimals


def _are_labels(shape: Sequence[int]) -> bool:
    """Whether targets of this shape are labels, not probabilities."""
    return len(shape) == 1 or tuple(shape[1:]) == (1,)


class CrossEntropy(BuiltInLoss):
    """Cross-entropy of logits: −log softmax(pred)[label] of each row, then reduced.

    Args:
        label_smoothing: ε, from 0 to 1: of the target's share 1 − ε is its own, ε is spread evenly over the classes.
        class_weight: a number for each class, finite and not negative, with which it counts; None for 1.
        reduction: 'mean' over the rows, as 'batchmean' is; 'sum'; or 'none' for the losses of the rows, (rows,).
        clip: report the loss as if no probability were below this number, which is between 0 and 0.5: where a number of
            log softmax(pred) is below log clip, this stands for it. The gradient stays that of the loss without it.
            None for the loss as it is. All three may be changed at any time.

    pred holds logits (rows, classes). target is a label for each row, whole numbers from 0, (rows,) or (rows, 1); or
    probabilities (rows, classes), such as one-hot rows, which sum to 1 within 0.01. With the shares c, of labels
    c = (1 − ε)·w[label] at the label and ε/classes·w everywhere, of probabilities (1 − ε)·p + ε/classes, a row's loss
    is −Σ c·log softmax(pred), where 0 times infinity is 0, and its gradient Σ c·softmax(pred) − c.

    `loss_fn(pred, target, weight)` multiplies the loss of row i by weight[i]. 'mean' divides by Σ weight, of labels
    by Σ weight·class_weight[label]; it is 0 where that is. Dtypes, `pred` and `target` are those of `MSE`.

    Raises ValueError for other shapes, labels or probabilities, with their row, for class_weight with probabilities or
    as many as there are not classes, and as `MSE` does; TypeError or ValueError for other settings. Sources: D. R. Cox,
    "Some procedures connected with the logistic qualitative response curve" (1966); smoothing: C. Szegedy et al.,
    "Rethinking the inception architecture for computer vision" (2016).
    """

    _kernel_kind = Kind("cross_entropy.labels", variants=("cross_entropy.probabilities",))
    _checks: ClassVar[Checks] = {"label_smoothing": share, "class_weight": weights, "clip": clipped}
    _settings = ("label_smoothing", "class_weight", "clip")
    _takes_other_shapes = True
    _does_itself = "activations.softmax"
    label_smoothing = 0.0
    class_weight: tuple[float, ...] | None = None
    clip: float | None = None

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        reduction: str = "mean",
        name: str = "cross_entropy",
        *,
        clip: float | None = None,
    ):
        super().__init__(name, reduction)
        self.label_smoothing, self.class_weight, self.clip = label_smoothing, class_weight, clip

    def _part(self, shape: Sequence[int]) -> str:
        return self._kernel_kind.name if _are_labels(shape) else self._kernel_kind.variants[0]

    def _kernel_numbers(self, n: int) -> Sequence[float]:
        return self.label_smoothing, most_of(self.clip), *self._class_weights(n)

    def _class_weights(self, n: int) -> Sequence[float]:
        given = 1.0 if self.class_weight is None else self.class_weight
        return for_each(self.name, "class_weight", given, n, "classes")

    def _columns(self, n: int, shape: Sequence[int]) -> int | None:
        return 1 if _are_labels(shape) else super()._columns(n, shape)

    def _check_shapes(self, pred: np.ndarray, target: np.ndarray) -> None:
        if pred.ndim != 2 or not pred.shape[1]:
            raise ValueError(f"{self.name}: pred has shape {pred.shape}; expected logits (rows, classes)")
        if not target.ndim or len(target) != len(pred) or self._columns(pred.shape[1], target.shape) is None:
            raise ValueError(
                f"{self.name}: pred has shape {pred.shape}, target {target.shape}; expected a label for each row, "
                f"{pred.shape[:1]}, or probabilities, {pred.shape}"
            )

    def _check_target(self, target: np.ndarray, n: int, first: int = 0) -> None:
        if _are_labels(target.shape):
            right = (target >= 0) & (target < n)
            if target.dtype.kind == "f":
                right &= target == np.floor(target)
            refuse_numbers(self.name, target, right, first, f"labels, whole numbers from 0 to {n - 1}")
            return
        if self.class_weight is not None:
            raise ValueError(f"{self.name}: class_weight is for labels; the target has probabilities, {target.shape}")
        refuse_numbers(self.name, target, target >= 0, first, "probabilities, which are not negative")
        sums = np.asarray(np.sum(target, axis=1, dtype=np.float64))
        wrong = abs(sums - 1) > SUM_TOLERANCE  # infinities are not near 1, and NaN was refused
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{self.name}: target[{first + row}] sums to {sums[row]:g}; "
                f"expected probabilities of {n} classes, which sum to 1 within {SUM_TOLERANCE:g}"
            )

    def _counts(self, target: np.ndarray, weight: np.ndarray | None) -> float:
        if self.class_weight is None or not _are_labels(target.shape):
            return super()._counts(target, weight)
        counts = np.take(self.class_weight, target.reshape(-1).astype(np.intp))
        return float(np.sum(counts if weight is None else counts * weight))

    def _divisor(self, target: np.ndarray, weight: np.ndarray | None) -> float:
        return self._counts(target, weight)

    def _each(self, terms: np.ndarray) -> np.ndarray:
        return terms[:, 0].copy()

    def _example_target(self, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, shape[1], shape[0])

    def _shares(self, pred: np.ndarray, target: np.ndarray) -> np.ndarray:
        """c, (rows, classes)"""
        n, smoothing = pred.shape[1], pred.dtype.type(self.label_smoothing)
        if not _are_labels(target.shape):
            return (1 - smoothing) * target + smoothing / n
        w = np.array(self._class_weights(n), pred.dtype)
        one_hot = np.arange(n) == target.reshape(-1, 1)
        return np.where(one_hot, (1 - smoothing) * w, 0) + smoothing / n * w

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c, x = self._shares(pred, target), pred - np.max(pred, axis=1, keepdims=True)
        e, count = np.exp(x), np.sum(c, axis=1, keepdims=True)
        whole = np.sum(e, axis=1, keepdims=True)
        products = np.sum(c * self._cut_off(c, x, np.log(whole)), axis=1)
        return (count * np.log(whole))[:, 0] - products, count * e / whole - c

    def _cut_off(self, c: np.ndarray, x: np.ndarray, logarithm: np.ndarray) -> np.ndarray:
        """x where that counts; what it counts for where `clip` is in force."""
        return np.where(c > 0, np.maximum(x, logarithm - most_of(self.clip)), 0)

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        # x = pred − top is rounded, which by so much, relatively, changes eˣ, that may be off by 3 ulp, too: all of it
        # is a part of what the sum, and so its logarithm, may be off. c is rounded four times.
        c, x = self._shares(pred, target), pred - np.max(pred, axis=1, keepdims=True)
        e, count = np.exp(x), np.sum(c, axis=1, keepdims=True)
        summed = pred.shape[1] * 2.0**-53 / u
        far = np.where(e > 0, abs(np.where(e > 0, x, 0)), 0) + 7 + summed
        whole = np.sum(e, axis=1, keepdims=True)
        p, logarithm = e / whole, np.log(whole)
        of_sum = np.sum(p * far, axis=1, keepdims=True)
        products = np.sum(c * abs(self._cut_off(c, x, logarithm)), axis=1)
        of_logarithm = (count * (5 * logarithm + of_sum + 1))[:, 0]
        return u * (of_logarithm + (6 + summed) * products), u * (count * p * (far + of_sum + 8) + 6 * c)
