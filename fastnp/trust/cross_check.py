"""`cross_check`: is the fast path the slow path, on this model, this data and this machine?

Each product, loss and update that a backend computes is compared with the same thing evaluated in higher
precision (double for float32, long double for float64) from the same inputs. The bounds are those that
hold for any order of summation, fused or not (N. J. Higham, "Accuracy and Stability of Numerical
Algorithms", 2002, chapter 3): a sum of m terms a·b is within γ_m Σ|a||b| + m·tiny of the exact one, where
γ_m = m·u / (1 − m·u), u is the unit roundoff and tiny the smallest normal number. What an activation may be off,
its class says; ReLU is exact, and so is dropout, whose mask is evaluated here by itself. What a normalization may be
off, `normalized` says; what an update may be off, `rounded`.
"""

import copy
from typing import Any

import numpy as np

from ..arrays import real_array
from ..backend import BACKENDS, use_backend
from ..layers.activation import Activation
from ..layers.weighted import Weighted
from ..losses.built_in import BuiltInLoss
from ..losses.elementwise import MSE
from ..optimizers.sgd import SGD
from ..program.op import kind_of
from .cross_report import CrossReport, CrossRow
from .double import layers_of
from .exact import wide
from .layers import gradients, made_of, passed, passed_back
from .losses import loss_rows
from .masks import still_copy
from .updates import check_holds, rule_of, update_rows

LEARNING_RATE, MOMENTUM = 0.01, 0.9  # of the optimizer that stands in where none is given


def cross_check(
    model: Any, x: Any, target: Any = None, loss_fn: Any = None, *, weight: Any = None, optimizer: Any = None
) -> CrossReport:
    """Run a model on both backends and compare each step with higher precision.

    Forward, loss, backward and a few updates by the same gradients are run on copies; model and optimizer stay as they
    are. The report has the worst error of every array as a fraction of what the arithmetic allows. Layers and
    optimizers of your own are run, and named as unchecked; `gradient_check` is for the layers.

    Args:
        x: a batch (rows, in_features).
        target: what the loss takes; by default a fixed random array, of labels or counts where it takes these.
        loss_fn: by default MSE(). A loss of your own is run, but not checked.
        weight: a number for each row, handed to the loss where it is given.
        optimizer: one of the model's parameters, or of some of them; it goes on from the updates that it has made. By
            default SGD with momentum.

    Raises what the model raises for x, and ValueError for an optimizer that holds none of its parameters.
    """
    report = CrossReport()
    if optimizer is not None:
        check_holds(optimizer, model.parameters())
    x = real_array(x, "x")
    for backend in BACKENDS:
        with use_backend(backend), np.errstate(over="ignore", invalid="ignore"):
            _Run(report, backend, model, optimizer, x, target, copy.deepcopy(loss_fn or MSE()), weight).check()
    report.unchecked = [f"{i} {layer.name}" for i, layer in enumerate(layers_of(model)) if kind_of(layer) is None]
    if optimizer is not None and rule_of(optimizer) is None:
        report.unchecked.append(f"optimizer {type(optimizer).__name__}")
    return report


class _Run:
    """One backend's run over a copy of the model."""

    def __init__(
        self,
        report: CrossReport,
        backend: str,
        model: Any,
        optimizer: Any,
        x: np.ndarray,
        target: Any,
        loss_fn: Any,
        weight: Any,
    ):
        self.report, self.backend = report, backend
        self.loss_fn = loss_fn
        self.x, self.target, self.weight = x, target, weight
        self.model, self.optimizer, self.still = still_copy(model, optimizer)
        if optimizer is None:
            parameters = self.model.parameters()
            self.optimizer = SGD(momentum=MOMENTUM, parameters=parameters, learning_rate=LEARNING_RATE)
        self.layers = layers_of(self.model)

    def check(self) -> None:
        for tensor in self.model.parameters():
            tensor.clear_grad()
        pred = self.model(self.x)
        gradient = self._loss(pred)
        self._forward(pred)
        self._backward(gradient)
        for tensor in self.model.parameters():
            tensor.clear_grad()
        self.still.again()
        self.model(self.x)
        self.model.backward(gradient)
        self._whole_backward()
        if self.model.parameters():
            self._updates()

    # --- what is compared ---

    def _loss(self, pred: np.ndarray) -> np.ndarray:
        target, loss_fn = self.target, self.loss_fn
        if target is None:
            rng = np.random.default_rng(0)
            known = isinstance(loss_fn, BuiltInLoss)
            target = loss_fn._example_target(pred.shape, rng) if known else rng.standard_normal(pred.shape)
        loss = loss_fn(pred, target) if self.weight is None else loss_fn(pred, target, self.weight)
        gradient: np.ndarray = loss_fn.backward()
        if kind_of(loss_fn) is not None:
            for what, got, exact, bound in loss_rows(loss_fn, loss, gradient, self.weight):
                self._row("the loss", what, got, exact, bound)
        return gradient

    def _forward(self, pred: np.ndarray) -> None:
        """Compare what each layer makes of its input with its output, or with the next one behind that can be seen."""
        outputs = [self._output(i, pred) for i in range(len(self.layers))]
        for i, layer in enumerate(self.layers):
            last = next(j for j in range(i, len(outputs)) if outputs[j] is not None)
            output, hidden = outputs[last], self.layers[i + 1 : last + 1]
            if output is None or any(kind_of(other) is None for other in (layer, *hidden)):
                continue
            given = self._given(i, outputs)
            if given is None:
                continue
            # A layer behind shows its input in its own dtype.
            dtype = min(layer._last_run()[0].dtype, output.dtype, key=lambda dtype: dtype.itemsize)
            exact, bound = made_of(layer, given, dtype)
            for other in hidden:
                exact, bound = passed(other, exact, bound, dtype)
            bound = np.broadcast_to(bound, exact.shape).reshape(output.shape)
            self._row(self._name(i), "output", output, exact.reshape(output.shape), bound)

    def _given(self, i: int, outputs: list[np.ndarray | None]) -> np.ndarray | None:
        """What a layer was given, where it can be seen."""
        layer = self.layers[i]
        if layer._kernel_kind.needs_input:
            return np.asarray(layer._last_input())
        return outputs[i - 1] if i else self.x

    def _output(self, i: int, pred: np.ndarray) -> np.ndarray | None:
        """What a layer returned, where it can be seen."""
        layer, behind = self.layers[i], self.layers[i + 1] if i + 1 < len(self.layers) else None
        if kind_of(layer) is not None and isinstance(layer, Activation):
            return layer.activated
        if behind is None:
            return pred
        return self._given(i + 1, [None] * (i + 1)) if kind_of(behind) is not None else None

    def _backward(self, gradient: np.ndarray) -> None:
        """Walk the layers backward by hand, and compare what each makes of the gradient that it is given."""
        self.walked: list[tuple[str, str, Any, np.ndarray, np.ndarray]] = []
        for i in range(len(self.layers) - 1, -1, -1):
            layer, given = self.layers[i], gradient
            gradient = layer.backward(given)
            if kind_of(layer) is None:
                continue
            given = given.astype(gradient.dtype)
            if not isinstance(layer, Weighted):
                exact, bound = passed_back(layer, given)
                self._row(self._name(i), "input gradient", gradient, exact, np.broadcast_to(bound, exact.shape))
                continue
            of_input, *of_tensors = gradients(layer, given)
            self._row(self._name(i), "input gradient", gradient, *(part.reshape(gradient.shape) for part in of_input))
            for tensor, what, (exact, bound) in zip(
                (layer.weights, layer.bias), ("weights.grad", "bias.grad"), of_tensors, strict=True
            ):
                self._row(self._name(i), what, tensor.grad, exact, bound)
                self.walked.append((self._name(i), what, tensor, tensor.grad.copy(), 2 * bound))

    def _whole_backward(self) -> None:
        """The gradients of one call of the model's backward, against those of the walk."""
        for where, what, tensor, walked, bound in self.walked:
            self._row(where, f"{what}, whole model", tensor.grad, wide(walked), bound)

    def _updates(self) -> None:
        of_model = {id(tensor): f"tensor {i}" for i, tensor in enumerate(self.model.parameters())}
        for tensor, what, got, exact, bound in update_rows(self.optimizer):
            self._row(of_model.get(id(tensor), "of another model"), what, got, exact, bound)

    def _name(self, i: int) -> str:
        return f"{i} {self.layers[i].name}"

    def _row(self, where: str, what: str, got: np.ndarray, exact: Any, bound: Any) -> None:
        """Add the element whose error is the largest fraction of its bound."""
        if not got.size:
            return
        limits = np.finfo(got.dtype)
        got, exact, bound = wide(got), np.asarray(exact), np.asarray(bound)
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        # Sums whose terms leave the range of the dtype may end as infinity or NaN, behind an activation as anything.
        overflowed = ~(bound < float(limits.max) * float(limits.eps) / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.where(same | overflowed, 0.0, abs(got - exact) / bound)
        fraction = np.where(np.isnan(fraction), np.inf, fraction)
        index = np.unravel_index(int(np.argmax(fraction)), fraction.shape)
        place = tuple(int(i) for i in index)
        row = CrossRow(self.backend, where, what, float(fraction[index]), place, float(got[index]), float(exact[index]))
        self.report.rows.append(row)
