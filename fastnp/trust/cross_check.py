"""`cross_check`: is the fast path the slow path, on this model, this data and this machine?

Each product, loss and update that a backend computes is compared with the same thing evaluated in higher
precision (double for float32, long double for float64) from the same inputs. The bounds are those that
hold for any order of summation, fused or not (N. J. Higham, "Accuracy and Stability of Numerical
Algorithms", 2002, chapter 3): a sum of m terms a·b is within γ_m Σ|a||b| + m·tiny of the exact one, where
γ_m = m·u / (1 − m·u), u is the unit roundoff and tiny the smallest normal number. What an activation may be off,
its class says; ReLU is exact.
"""

import copy
from typing import Any

import numpy as np

from ..arrays import real_array
from ..backend import BACKENDS, use_backend
from ..layers.activation import Activation
from ..layers.linear import Linear
from ..losses.built_in import BuiltInLoss
from ..losses.elementwise import MSE
from ..optimizers.sgd import SGD
from ..program.op import kind_of
from .cross_report import CrossReport, CrossRow
from .double import layers_of
from .exact import gradient_bound, product, sum_bound, unit, value_bound, wide
from .losses import loss_rows

LEARNING_RATE, MOMENTUM = 0.01, 0.9


def cross_check(model: Any, x: Any, target: Any = None, loss_fn: Any = None, *, weight: Any = None) -> CrossReport:
    """Run a model on both backends and compare each step with higher precision.

    Forward, loss, backward and two updates of SGD with momentum are run on copies; the model stays as it
    is. The report has the worst error of every array as a fraction of what the arithmetic allows. Layers
    of your own are run, and named as unchecked; `gradient_check` is for them.

    Args:
        x: a batch (rows, in_features).
        target: what the loss takes; by default a fixed random array, of labels or counts where it takes these.
        loss_fn: by default MSE(). A loss of your own is run, but not checked.
        weight: a number for each row, handed to the loss where it is given.

    Raises what the model raises for x.
    """
    report = CrossReport()
    x = real_array(x, "x")
    for backend in BACKENDS:
        with use_backend(backend), np.errstate(over="ignore", invalid="ignore"):
            _Run(report, backend, copy.deepcopy(model), x, target, copy.deepcopy(loss_fn or MSE()), weight).check()
    report.unchecked = [f"{i} {layer.name}" for i, layer in enumerate(layers_of(model)) if kind_of(layer) is None]
    return report


class _Run:
    """One backend's run over a copy of the model."""

    def __init__(
        self, report: CrossReport, backend: str, model: Any, x: np.ndarray, target: Any, loss_fn: Any, weight: Any
    ):
        self.report, self.backend = report, backend
        self.model, self.loss_fn = model, loss_fn
        self.x, self.target, self.weight = x, target, weight
        self.layers = layers_of(model)

    def check(self) -> None:
        for tensor in self.model.parameters():
            tensor.clear_grad()
        pred = self.model(self.x)
        gradient = self._loss(pred)
        self._forward(pred)
        self._backward(gradient)
        for tensor in self.model.parameters():
            tensor.clear_grad()
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
        """Compare what each layer makes of its input, where both can be seen, or else with the activation behind it."""
        outputs = [self._output(i, pred) for i in range(len(self.layers))]
        for i, layer in enumerate(self.layers):
            behind = self.layers[i + 1] if i + 1 < len(self.layers) else None
            if kind_of(layer) is None:
                continue
            if isinstance(layer, Activation):
                y = layer.activated
                before = self.x if not i else outputs[i - 1]
                if layer._kernel_kind.needs_input:
                    before = layer._last_input()
                if before is not None:
                    exact = layer._exact_value(wide(before.astype(y.dtype)))
                    self._row(
                        self._name(i), "output", y, exact.reshape(y.shape), value_bound(layer, abs(exact), y.dtype)
                    )
                continue
            exact, size = self._product(layer)
            output, dtype = outputs[i], layer.weights.dtype
            through = behind if output is None and kind_of(behind) and isinstance(behind, Activation) else None
            if through is not None:
                output = through.activated
            if output is None:
                continue
            # A layer behind shows its input in its own dtype.
            dtype = min(dtype, output.dtype, key=lambda dtype: dtype.itemsize)
            bound = sum_bound(layer.weights.shape[0] + 1, dtype, size)
            if through is not None:
                exact = through._exact_value(exact)
                bound = through._passed_on(bound) + value_bound(through, abs(exact), dtype)
            self._row(self._name(i), "output", output, exact, bound)

    def _output(self, i: int, pred: np.ndarray) -> np.ndarray | None:
        """What a layer returned, where it can be seen."""
        layer, behind = self.layers[i], self.layers[i + 1] if i + 1 < len(self.layers) else None
        if kind_of(layer) is not None and isinstance(layer, Activation):
            return layer.activated
        if behind is None:
            return pred
        seen: np.ndarray | None = behind.input if kind_of(behind) and isinstance(behind, Linear) else None
        return seen

    @staticmethod
    def _product(layer: Any) -> tuple[np.ndarray, np.ndarray]:
        """x·W + b, and the sum of the absolute values of its terms."""
        a, w, b = wide(layer.input), wide(layer.weights.data), wide(layer.bias.data)
        return product(a, w) + b, product(abs(a), abs(w)) + abs(b)

    def _backward(self, gradient: np.ndarray) -> None:
        """Walk the layers backward by hand, and compare what each makes of the gradient that it is given."""
        self.walked: list[tuple[str, str, Any, np.ndarray, np.ndarray]] = []
        for i in range(len(self.layers) - 1, -1, -1):
            layer, given = self.layers[i], gradient
            gradient = layer.backward(given)
            if kind_of(layer) is None:
                continue
            dy = wide(given.astype(gradient.dtype))
            if isinstance(layer, Activation):
                y = wide(layer.activated)
                x = wide(layer._last_input()).reshape(y.shape) if layer._kernel_kind.needs_input else None
                exact, bound = layer._exact_gradient(dy, x, y), gradient_bound(layer, dy, x, y, gradient.dtype)
                self._row(self._name(i), "input gradient", gradient, exact, bound)
            else:
                self._linear_backward(i, layer, dy, gradient)

    def _linear_backward(self, i: int, layer: Any, dy: np.ndarray, gradient: np.ndarray) -> None:
        dtype = layer.weights.dtype
        a, w = wide(layer.input), wide(layer.weights.data)
        bound = sum_bound(w.shape[1], dtype, product(abs(dy), abs(w.T)))
        self._row(self._name(i), "input gradient", gradient, product(dy, w.T), bound)
        for tensor, what, exact, size in (
            (layer.weights, "weights.grad", product(a.T, dy), product(abs(a.T), abs(dy))),
            (layer.bias, "bias.grad", dy.sum(0, keepdims=True), abs(dy).sum(0, keepdims=True)),
        ):
            bound = sum_bound(len(a), dtype, size)
            self._row(self._name(i), what, tensor.grad, exact, bound)
            self.walked.append((self._name(i), what, tensor, tensor.grad.copy(), 2 * bound))

    def _whole_backward(self) -> None:
        """The gradients of one call of the model's backward, against those of the walk."""
        for where, what, tensor, walked, bound in self.walked:
            self._row(where, f"{what}, whole model", tensor.grad, wide(walked), bound)

    def _updates(self) -> None:
        """Two updates by the same gradients: the second needs the velocity of the first."""
        optimizer = SGD(momentum=MOMENTUM, parameters=self.model.parameters(), learning_rate=LEARNING_RATE)
        for step in 1, 2:
            before = [(wide(t.data), wide(v)) for t, v in zip(optimizer.parameters, optimizer.velocity, strict=True)]
            optimizer.step()
            for i, tensor in enumerate(optimizer.parameters):
                p, v, g = *before[i], wide(tensor.grad)
                real = tensor.dtype.type
                u, tiny = unit(tensor.dtype), np.finfo(tensor.dtype).tiny
                exact_v = float(real(MOMENTUM)) * v + g
                bound_v = 2 * u * (abs(MOMENTUM * v) + abs(g)) + tiny
                velocity = optimizer.velocity[i]
                self._row(f"tensor {i}", f"velocity, step {step}", velocity, exact_v, bound_v)
                exact_p = p - float(real(LEARNING_RATE)) * wide(velocity)
                bound_p = 2 * u * (abs(p) + abs(LEARNING_RATE * wide(velocity))) + tiny
                self._row(f"tensor {i}", f"data, step {step}", tensor.data, exact_p, bound_p)

    def _name(self, i: int) -> str:
        return f"{i} {self.layers[i].name}"

    def _row(self, where: str, what: str, got: np.ndarray, exact: Any, bound: Any) -> None:
        """Add the element whose error is the largest fraction of its bound."""
        if not got.size:
            return
        limits = np.finfo(got.dtype)
        got, exact, bound = wide(got), np.asarray(exact), np.asarray(bound)
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        # Sums whose terms leave the range of the dtype, or are not finite, may end as infinity or NaN.
        overflowed = ~np.isfinite(got) & ~(bound < float(limits.max) * float(limits.eps) / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            fraction = np.where(same | overflowed, 0.0, abs(got - exact) / bound)
        fraction = np.where(np.isnan(fraction), np.inf, fraction)
        index = np.unravel_index(int(np.argmax(fraction)), fraction.shape)
        place = tuple(int(i) for i in index)
        row = CrossRow(self.backend, where, what, float(fraction[index]), place, float(got[index]), float(exact[index]))
        self.report.rows.append(row)
