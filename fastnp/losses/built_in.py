"""What the library's own losses share: kernels compute them."""

import math
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..arrays import FLOATS, real_array, working_dtype
from ..backend import kernels, local
from ..checks import one_of
from ..kernels.blocks import block_of_loss
from ..kernels.table import BATCHMEAN, EACH, MEAN, SOON, SUM
from ..overrides import Checks, put
from ..program.op import Kind, kind_of
from ..state import State
from ..weights import checked_weights
from .loss import Loss

REDUCTIONS = {"mean": MEAN, "batchmean": BATCHMEAN, "sum": SUM, "none": EACH}
MEANS = "mean", "batchmean"
_array, _thread = np.ndarray, threading.get_ident
NOTHING = (None,) * 8
_NO_NUMBERS = {char: np.zeros(0, char) for char in "fd"}


class BuiltInLoss(Loss):
    """A loss whose class declares, in `_kernel_kind`, what it is to the kernels.

    Those that follow are for what is peculiar to a loss; by default it is elementwise, and takes any targets.
    """

    _checks: ClassVar[Checks] = {"reduction": one_of("batchmean", "mean", "none", "sum")}
    _kernel_kind: ClassVar[Kind]
    _settings: ClassVar[tuple[str, ...]] = ()  # the names of its own, of which a tuple has a number for each output
    _takes_other_shapes = False  # targets than that of pred
    _does_itself = ""  # the kind of an activation that must not stand before it
    reduction = "mean"

    # What a call takes that is as the one before but for the numbers in its arrays, as a tuple that is set at once: the
    # dtypes of pred and target, None where the next has to be looked at; the thread, for another one's results would go
    # to the same place; the name of the backend; what to call, with the array that `_last` shows and a block; and what
    # that names.
    _kernel_next: tuple[Any, ...] = NOTHING
    _kernel_came: np.dtype | None = None  # of what dtype the last target was that was looked at

    def __init__(self, name: str, reduction: str):
        super().__init__(name)
        self.reduction = reduction
        self._last: list[Any] = [None, None, None]  # pred, target and the gradient

    def _part(self, shape: Sequence[int]) -> str:
        """The name of the kind, or of the variant of it that takes targets of this shape."""
        return self._kernel_kind.name

    def _kernel_numbers(self, n: int) -> Sequence[float]:
        """The settings, as the kernel takes them, for predictions n wide. Raises ValueError where they do not fit."""
        return ()

    def _numbers_as(self, dtype: np.dtype, n: int) -> np.ndarray:
        """`_kernel_numbers` as an array."""
        numbers = self._kernel_numbers(n)
        return np.array(numbers, dtype) if len(numbers) else _NO_NUMBERS[dtype.char]

    def _columns(self, n: int, shape: Sequence[int]) -> int | None:
        """How wide a row of targets of this shape is, for predictions (rows, n); None where it does not fit these."""
        return n if tuple(shape[1:]) == (n,) else None

    def _check_target(self, target: np.ndarray, n: int, first: int = 0) -> None:
        """Refuse targets, rows from number `first` on, that are none of this loss for predictions n wide."""

    def _counts(self, target: np.ndarray, weight: np.ndarray | None) -> float:
        """How many rows a mean over these counts, each as often as its weight says."""
        return float(len(target)) if weight is None else float(np.sum(weight, dtype=np.float64))

    def _each(self, terms: np.ndarray) -> np.ndarray:
        """What reduction 'none' returns of the losses that the kernel wrote, of the shape of pred."""
        return terms

    def _divisor(self, target: np.ndarray, weight: np.ndarray | None) -> float:
        """What the present one of the means divides by; the target has the shape that was given."""
        counts = self._counts(target, weight)
        return counts * math.prod(target.shape[1:]) if self.reduction == "mean" else counts

    def _example_target(self, shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """Targets that suit predictions of this shape."""
        return rng.standard_normal(shape)

    def _of_each(self, setting: Any, pred: np.ndarray) -> np.ndarray:
        """A setting as an array that goes with pred."""
        return np.reshape(setting, pred.shape[1:] if isinstance(setting, tuple) else ())

    def _exact_terms(self, pred: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What 'none' returns without weights, and the slopes, in the precision of pred: what checks hold it to."""
        raise NotImplementedError

    def _errors(self, pred: np.ndarray, target: np.ndarray, u: float) -> tuple[np.ndarray, np.ndarray]:
        """How far a kernel's terms and slopes may be from these, u the unit roundoff, where nothing underflows."""
        raise NotImplementedError

    def _row_shape(self, shape: Sequence[int], weighted: bool) -> tuple[int, int]:
        """The shape in which a kernel takes predictions that are not (rows, n): in rows where these matter."""
        by_row = weighted or self.reduction == "batchmean"
        by_row = by_row or any(isinstance(getattr(self, name), tuple) for name in self._settings)
        return (shape[0], math.prod(shape[1:])) if by_row and shape else (1, math.prod(shape))

    def _check_shapes(self, pred: np.ndarray, target: np.ndarray) -> None:
        if pred.shape != target.shape:
            column = pred.ndim == 2 and pred.shape[1] == 1 and target.shape == (len(pred),)
            raise ValueError(
                f"{self.name}: pred has shape {pred.shape}, target {target.shape}; they must be equal, "
                f"nothing is broadcast{'; give target[:, np.newaxis]' if column else ''}"
            )

    @State
    def pred(self) -> np.ndarray | None:
        return self._copy_of(0)

    @State
    def target(self) -> np.ndarray | None:
        return self._copy_of(1)

    def _copy_of(self, i: int) -> np.ndarray | None:
        last: np.ndarray | None = self._last[i]
        return None if last is None else last.copy()

    def __call__(self, pred: Any, target: Any, weight: Any = None) -> Any:
        of_pred, of_target, thread, name, step, kept, block, _ = self._kernel_next
        if (
            type(pred) is _array
            and type(target) is _array
            and pred.dtype is of_pred
            and target.dtype is of_target
            and weight is None
            and _thread() == thread
            and (local() or backend.process) is name
        ):
            loss = step(kept, pred, target, block)
            if loss == loss:  # else the careful way says what it is
                return loss
        return super().__call__(pred, target, weight)

    def forward(self, pred: Any, target: Any, weight: Any = None) -> Any:
        """The loss of pred against target; `weight` is a number for each row, not negative."""
        pred, target = (
            real_array(pred, "the pred given to the loss"),
            real_array(target, "the target given to the loss"),
        )
        if pred.shape != target.shape or self._takes_other_shapes:
            self._check_shapes(pred, target)
        if self.reduction in MEANS and not pred.size:
            raise ValueError(f"{self.name}: the mean loss of an empty batch, of shape {pred.shape}, is not defined")
        if weight is None and self._is_usual(pred, target):
            return self._usual(pred, target)
        dtype = working_dtype(pred)
        pred = rows = pred.astype(dtype, "C")
        if pred.ndim != 2:
            rows = pred.reshape(self._row_shape(pred.shape, weight is not None))
        self._check_target(target, rows.shape[1])
        if weight is not None:
            weight = checked_weights(f"{self.name}: weight", weight, len(rows))
        return self._computed(pred, rows, target.astype(dtype, "C"), weight)

    def _computed(self, pred: np.ndarray, rows: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> Any:
        """The loss of what has been checked, in the dtype to compute in; pred is also given in rows."""
        if weight is None and self._is_usual(pred, target):
            return self._usual(pred, target)
        dtype, shape, n, targets = pred.dtype, target.shape, rows.shape[1], target
        if len(shape) != 2 or rows is not pred:
            targets = target.reshape(len(rows), self._columns(n, shape) or n)
        if weight is not None:
            targets = np.concatenate([targets, weight.astype(dtype)[:, np.newaxis]], axis=1)
        reduction, char, settings = REDUCTIONS[self.reduction], dtype.char, self._kernel_numbers(n)
        numbers = np.array(settings, dtype) if len(settings) else _NO_NUMBERS[char]
        results = np.empty((2 if reduction == EACH else 1, len(rows), n), dtype)
        running = kernels()
        loss = running.loss(running.parts[self._part(shape) + ".sum", char], results, rows, targets, numbers, reduction)
        gradient = results[0]
        put(self, _kernel_next=NOTHING)
        self._last[:] = pred, target, gradient if rows is pred else gradient.reshape(pred.shape)
        return self._each(results[1].reshape(pred.shape)) if reduction == EACH else loss

    def _is_usual(self, pred: np.ndarray, target: np.ndarray) -> bool:
        """Whether `step.loss` can do it: rows of floats, and targets that need no look."""
        any_target = type(self)._check_target is BuiltInLoss._check_target and not self._takes_other_shapes
        floats = all(array.dtype in FLOATS and array.dtype.isnative for array in (pred, target))
        usual = any_target and floats and pred.ndim == 2 and self.reduction != "none"
        return usual and kind_of(self) is not None

    def _usual(self, pred: np.ndarray, given: np.ndarray) -> float:
        """The loss of what is usual, and what the next call takes if it is as this one.

        Targets of the other dtype are converted by the step, which has to be compiled for it, where such come again.
        """
        running, dtype, numbers = kernels(), pred.dtype, self._numbers_as(pred.dtype, pred.shape[1])
        part = running.parts[f"{self._part(pred.shape)}.sum", dtype.char]
        block = block_of_loss(part, REDUCTIONS[self.reduction], numbers, pred.shape)
        again, target = given.dtype is self._kernel_came, given
        if given.dtype != dtype and not again:
            target = given.astype(dtype)
        put(self, _kernel_next=NOTHING, _kernel_came=given.dtype)
        step = running.steps["loss", 2 * dtype.char + target.dtype.char, pred.size <= SOON]
        kept = np.empty((3, *pred.shape), dtype)
        loss: float = step(kept.reshape(3, -1), pred, target, block)
        if loss != loss and target.dtype != dtype:  # NumPy has a say where numbers are too large for that
            plain = running.steps["loss", 3 * dtype.char, pred.size <= SOON]
            loss = plain(kept.reshape(3, -1), pred, given.astype(dtype), block)
        self._last[:] = kept[1], kept[2], kept[0]
        if target is given:
            of = dtype, given.dtype, _thread(), local() or backend.process
            put(self, _kernel_next=(*of, step, kept.reshape(3, -1), block, numbers))
        return loss

    def __setattr__(self, name: str, value: Any) -> None:
        put(self, _kernel_next=NOTHING)  # first, for Ctrl-C may come in between
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        put(self, _kernel_next=NOTHING)
        super().__delattr__(name)

    def backward(self) -> np.ndarray:
        """The gradient of the last loss with respect to pred, in a new array."""
        gradient: np.ndarray | None = self._last[2]
        if gradient is None:
            raise ValueError(f"{self.name}: backward before a loss; call {self.name}(pred, target) first")
        return gradient.copy()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in ("_kernel_next", "_kernel_came")}
        return state | {"_last": [None if last is None else last.copy() for last in self._last]}

    def __repr__(self) -> str:
        settings = [f"{name}={getattr(self, name)!r}" for name in (*self._settings, "reduction")]
        return f"{type(self).__name__}({', '.join(settings)})"


def refuse_numbers(owner: str, target: np.ndarray, right: np.ndarray, first: int, expected: str) -> None:
    """ValueError where not all numbers of target, whose first row is number `first`, are right: it names the first."""
    if np.count_nonzero(right) != right.size:  # a third of the time that all() takes
        index = tuple(int(i) for i in np.argwhere(~right)[0])
        place = list((first + index[0], *index[1:]) if index else ())
        raise ValueError(f"{owner}: target{place or ''} is {target[index]}; expected {expected}")
