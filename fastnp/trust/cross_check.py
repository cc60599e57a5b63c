"""`cross_check`: is the fast path the slow path, on this model, this data and this machine?

Each product, loss and update that a backend computes is compared with the same thing evaluated in higher
precision (double for float32, long double for float64) from the same inputs. The bounds are those that
hold for any order of summation, fused or not (N. J. Higham, "Accuracy and Stability of Numerical
Algorithms", 2002, chapter 3): a sum of m terms a·b is within γ_m Σ|a||b| + m·tiny of the exact one, where
γ_m = m·u / (1 − m·u), u is the unit roundoff and tiny the smallest normal number. ReLU is exact.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import real_array
from ..backend import BACKENDS, use_backend
from ..errors import CheckFailed
from ..layers.activations import ReLU
from ..layers.linear import Linear
from ..losses import MSE
from ..optimizers.sgd import SGD
from ..overrides import is_plain
from .double import layers_of

LEARNING_RATE, MOMENTUM = 0.01, 0.9


@dataclass
class CrossRow:
    """The worst element of one array that was checked."""

    backend: str
    where: str
    what: str
    fraction: float  # of the bound
    index: tuple[int, ...]
    got: float
    expected: float

    @property
    def passed(self) -> bool:
        return self.fraction <= 1


@dataclass
class CrossReport:
    """What `cross_check` found; prints as a table."""

    rows: list[CrossRow] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)  # layers that are not fastnp's

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> float:
        """The largest fraction of a bound."""
        return max((row.fraction for row in self.rows), default=0.0)

    def __str__(self) -> str:
        lines = [f"{'of the bound, by backend':44}" + "".join(f"{name:>8}" for name in BACKENDS) + "  worst element"]
        groups: dict[tuple[str, str], list[CrossRow]] = {}
        for row in self.rows:
            groups.setdefault((row.where, row.what), []).append(row)
        for (where, what), rows in groups.items():
            worst = max(rows, key=lambda row: row.fraction)
            place = f"[{', '.join(map(str, worst.index))}] {worst.got:.9g}"
            if not worst.passed:
                place += f", expected {worst.expected:.9g}  WRONG on {worst.backend}"
            lines.append(f"{where:18} {what:25}" + "".join(f"{row.fraction:8.3f}" for row in rows) + f"  {place}")
        lines += [f"{name}: not a layer of fastnp's, run but not checked" for name in self.unchecked]
        lines.append(f"{'passed' if self.passed else 'FAILED'}: at worst {self.worst:.3f} of a bound")
        return "\n".join(lines)

    def raise_if_failed(self) -> None:
        """Raise CheckFailed with the table where a number is outside its bound."""
        if not self.passed:
            raise CheckFailed(f"a number is outside its bound:\n{self}")


def cross_check(model: Any, x: Any, target: Any = None, loss_fn: Any = None) -> CrossReport:
    """Run a model on both backends and compare each step with higher precision.

    Forward, loss, backward and two updates of SGD with momentum are run on copies; the model stays as it
    is. The report has the worst error of every array as a fraction of what the arithmetic allows. Layers
    of your own are run, and named as unchecked; `gradient_check` is for them.

    Args:
        x: a batch (rows, in_features).
        target: what the loss takes; by default a fixed random array.
        loss_fn: by default MSE(). Another loss than MSE is run, but not checked.

    Raises what the model raises for x.
    """
    report = CrossReport()
    x = real_array(x, "x")
    for backend in BACKENDS:
        with use_backend(backend), np.errstate(over="ignore", invalid="ignore"):
            _Run(report, backend, copy.deepcopy(model), x, target, copy.deepcopy(loss_fn or MSE())).check()
    report.unchecked = [
        f"{i} {layer.name}"
        for i, layer in enumerate(layers_of(model))
        if not (is_plain(layer, Linear) or is_plain(layer, ReLU))
    ]
    return report


class _Run:
    """One backend's run over a copy of the model."""

    def __init__(self, report: CrossReport, backend: str, model: Any, x: np.ndarray, target: Any, loss_fn: Any):
        self.report, self.backend = report, backend
        self.model, self.loss_fn = model, loss_fn
        self.x, self.target = x, target
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
        target = self.target
        if target is None:
            target = np.random.default_rng(0).standard_normal(pred.shape)
        loss = self.loss_fn(pred, target)
        gradient = self.loss_fn.backward()
        if is_plain(self.loss_fn, MSE):
            difference = _wide(self.loss_fn.pred) - _wide(self.loss_fn.target)
            scale = 1 / pred.size if self.loss_fn.reduction == "mean" else 1.0
            dtype = gradient.dtype
            u, tiny = _unit(dtype), float(np.finfo(dtype).tiny)
            self._row("the loss", "gradient", gradient, scale * difference, 3 * u * scale * abs(difference) + tiny)
            squares = 0.5 * difference**2
            if self.loss_fn.reduction == "none":
                self._row("the loss", "value", loss, squares, 5 * u * squares + tiny)
            else:
                total, least = np.asarray(np.sum(squares) * scale), pred.size * float(np.finfo(np.float64).tiny)
                self._row("the loss", "value", np.asarray(loss), total, (3 * u + pred.size * 2.0**-52) * total + least)
        return gradient

    def _forward(self, pred: np.ndarray) -> None:
        """Compare every Linear's output, where it can be seen, with the ReLU behind it."""
        outputs: list[np.ndarray | None] = []
        for i, layer in enumerate(self.layers):
            following = self.layers[i + 1] if i + 1 < len(self.layers) else None
            if is_plain(layer, ReLU):
                outputs.append(layer.activated)
            elif following is None:
                outputs.append(pred)
            else:
                outputs.append(following.input if is_plain(following, Linear) else None)
        for i, layer in enumerate(self.layers):
            behind = i + 1 < len(self.layers) and is_plain(self.layers[i + 1], ReLU)
            output = outputs[i + 1] if behind else outputs[i]
            if is_plain(layer, Linear) and output is not None:
                a, w, b = _wide(layer.input), _wide(layer.weights.data), _wide(layer.bias.data)
                exact = _product(a, w) + b
                # A layer behind shows its input in its own dtype.
                dtype = min(layer.weights.dtype, output.dtype, key=lambda dtype: dtype.itemsize)
                bound = _sum_bound(w.shape[0] + 1, dtype, _product(abs(a), abs(w)) + abs(b))
                self._row(self._name(i), "output", output, np.maximum(exact, 0) if behind else exact, bound)

    def _backward(self, gradient: np.ndarray) -> None:
        """Walk the layers backward by hand, and compare what each makes of the gradient that it is given."""
        self.walked: list[tuple[str, str, Any, np.ndarray, np.ndarray]] = []
        for i in range(len(self.layers) - 1, -1, -1):
            layer, given = self.layers[i], gradient
            gradient = layer.backward(given)
            if is_plain(layer, ReLU):
                dy = _wide(given.astype(gradient.dtype))
                self._row(self._name(i), "input gradient", gradient, np.where(layer.activated > 0, dy, 0), 0 * abs(dy))
            elif is_plain(layer, Linear):
                dtype = layer.weights.dtype
                dy, a, w = _wide(given.astype(dtype)), _wide(layer.input), _wide(layer.weights.data)
                bound = _sum_bound(w.shape[1], dtype, _product(abs(dy), abs(w.T)))
                self._row(self._name(i), "input gradient", gradient, _product(dy, w.T), bound)
                for tensor, what, exact, size in (
                    (layer.weights, "weights.grad", _product(a.T, dy), _product(abs(a.T), abs(dy))),
                    (layer.bias, "bias.grad", dy.sum(0, keepdims=True), abs(dy).sum(0, keepdims=True)),
                ):
                    bound = _sum_bound(len(a), dtype, size)
                    self._row(self._name(i), what, tensor.grad, exact, bound)
                    self.walked.append((self._name(i), what, tensor, tensor.grad.copy(), 2 * bound))

    def _whole_backward(self) -> None:
        """The gradients of one call of the model's backward, against those of the walk."""
        for where, what, tensor, walked, bound in self.walked:
            self._row(where, f"{what}, whole model", tensor.grad, _wide(walked), bound)

    def _updates(self) -> None:
        """Two updates by the same gradients: the second needs the velocity of the first."""
        optimizer = SGD(momentum=MOMENTUM, parameters=self.model.parameters(), learning_rate=LEARNING_RATE)
        for step in 1, 2:
            before = [(_wide(t.data), _wide(v)) for t, v in zip(optimizer.parameters, optimizer.velocity, strict=True)]
            optimizer.step()
            for i, tensor in enumerate(optimizer.parameters):
                p, v, g = *before[i], _wide(tensor.grad)
                real = tensor.dtype.type
                u, tiny = _unit(tensor.dtype), np.finfo(tensor.dtype).tiny
                exact_v = float(real(MOMENTUM)) * v + g
                bound_v = 2 * u * (abs(MOMENTUM * v) + abs(g)) + tiny
                velocity = optimizer.velocity[i]
                self._row(f"tensor {i}", f"velocity, step {step}", velocity, exact_v, bound_v)
                exact_p = p - float(real(LEARNING_RATE)) * _wide(velocity)
                bound_p = 2 * u * (abs(p) + abs(LEARNING_RATE * _wide(velocity))) + tiny
                self._row(f"tensor {i}", f"data, step {step}", tensor.data, exact_p, bound_p)

    def _name(self, i: int) -> str:
        return f"{i} {self.layers[i].name}"

    def _row(self, where: str, what: str, got: np.ndarray, exact: Any, bound: Any) -> None:
        """Add the element whose error is the largest fraction of its bound."""
        if not got.size:
            return
        limits = np.finfo(got.dtype)
        got, exact, bound = _wide(got), np.asarray(exact), np.asarray(bound)
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


def _wide(array: Any) -> np.ndarray:
    """An array in the next higher precision: double for float32, long double for float64."""
    array = np.asarray(array)
    return array.astype(np.float64 if array.dtype == np.float32 else np.longdouble)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a·b, summed by NumPy itself: what is checked here goes through the BLAS, and so must not its judge."""
    return np.einsum("ik,kj->ij", a, b)


def _unit(dtype: Any) -> float:
    """The unit roundoff."""
    return float(np.finfo(dtype).eps) / 2


def _sum_bound(terms: int, dtype: Any, size: np.ndarray) -> np.ndarray:
    """The error that a sum of so many terms may have; `size` is the sum of their absolute values."""
    mu = terms * _unit(dtype)
    return mu / (1 - mu) * size + terms * float(np.finfo(dtype).tiny)
