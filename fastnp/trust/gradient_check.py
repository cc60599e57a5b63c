"""`gradient_check`: are the gradients those of the function? By central differences in double precision."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import real_array
from ..checks import check_integer
from ..errors import CheckFailed
from .double import in_double, layers_of
from .masks import Still

EPS = 1e-6
TRIES = 20  # directions that are drawn before a function counts as not differentiable
JITTER = 1e-2  # moves numbers off kinks, such as the zeros that a ReLU returned


@dataclass
class GradientRow:
    """One directional derivative, the worst of those taken: what `backward` says, and the difference quotient."""

    where: str
    of: str
    backward: float
    difference: float
    fraction: float  # of the tolerance

    @property
    def passed(self) -> bool:
        return self.fraction <= 1


@dataclass
class GradientReport:
    """What `gradient_check` found; prints as a table."""

    rows: list[GradientRow] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    def __str__(self) -> str:
        lines = [f"{'layer':28} {'gradient of':12} {'backward':>13} {'difference':>13} {'of tolerance':>13}"]
        for row in self.rows:
            verdict = "" if row.passed else "  WRONG"
            lines.append(
                f"{row.where:28} {row.of:12} {row.backward:13.6g} {row.difference:13.6g} {row.fraction:13.3g}{verdict}"
            )
        return "\n".join(lines)

    def raise_if_failed(self) -> None:
        """Raise CheckFailed with the table where a gradient is wrong."""
        if not self.passed:
            raise CheckFailed(f"gradients are wrong:\n{self}")


def gradient_check(
    model: Any,
    loss_fn: Any,
    x: Any,
    target: Any,
    *,
    weight: Any = None,
    directions: int = 5,
    rtol: float = 1e-3,
    atol: float = 1e-5,
    seed: int = 0,
) -> GradientReport:
    """Compare `backward` with central differences, for each layer by itself, for the loss, and for the whole.

    A copy of the model in double precision is used; the model stays as it is. Along random directions u the
    derivative ⟨gradient, u⟩ must equal (f(p + εu) − f(p − εu)) / 2ε with ε = 1e-6, within atol + rtol·|it| and
    the rounding of f.
    Layers are functions ⟨r, layer(x)⟩ for random r, of their input and of each of their tensors, so that an
    error in a layer of yours shows there and not in the layers before it. Directions across a kink are drawn
    again: there the two one-sided differences disagree. Dropout leaves out the same numbers each time.

    Args:
        x, target: a batch, as the model and the loss take it.
        weight: a number for each row, handed to the loss where it is given.
        directions: how many to take for each tensor.
        seed: of the random directions.

    Returns a report: print it, or `raise_if_failed()`. Raises what the model raises.
    """
    check_integer("gradient_check", "directions", directions, 1)
    rng = np.random.default_rng(seed)
    double, still = in_double(model)
    loss_fn = copy.deepcopy(loss_fn)
    x = real_array(x, "x").astype(np.float64)
    check = _Check(rng, still, directions, rtol, atol)
    # Gradients must hold everywhere; a little to the side, nothing stands exactly on a kink.
    for tensor in double.parameters():
        tensor.data += JITTER * rng.standard_normal(tensor.shape)
    data = x = x + JITTER * rng.standard_normal(x.shape)
    report = GradientReport()
    for i, layer in enumerate(layers_of(double)):
        report.rows += check.layer(f"{i} {layer.name}", layer, data)
        data = layer(data)
    report.rows += check.loss_and_whole(double, loss_fn, x, (target,) if weight is None else (target, weight))
    return report


class _Check:
    """Directional derivatives of functions of an array and of tensors."""

    def __init__(self, rng: np.random.Generator, still: Still, directions: int, rtol: float, atol: float):
        self.rng, self.still, self.directions, self.rtol, self.atol = rng, still, directions, rtol, atol

    def layer(self, where: str, layer: Any, x: np.ndarray) -> list[GradientRow]:
        """The rows of ⟨r, layer(x)⟩ for a random r, a little to the side of x."""
        output = layer(x)
        jittered = x + JITTER * self.rng.standard_normal(x.shape)
        weights = self.rng.standard_normal(output.shape)

        def value(point: np.ndarray) -> float:
            return float(np.sum(weights * layer(point)))

        def gradient(point: np.ndarray) -> np.ndarray:
            layer(point)
            return layer.backward(weights)

        return self.function(where, value, gradient, jittered, layer.parameters())

    def loss_and_whole(self, model: Any, loss_fn: Any, x: np.ndarray, given: tuple[Any, ...]) -> list[GradientRow]:
        """The rows of the loss, as a function of the prediction, and of the loss of the model, as one of x.

        The loss is given the target, and the weights where there are some.
        """

        def loss(pred: np.ndarray) -> float:
            return float(np.sum(loss_fn(pred, *given)))

        def loss_gradient(pred: np.ndarray) -> np.ndarray:
            loss_fn(pred, *given)
            return loss_fn.backward()

        def whole(point: np.ndarray) -> float:
            return loss(model(point))

        def whole_gradient(point: np.ndarray) -> np.ndarray:
            return model.backward(loss_gradient(model(point)))

        rows = self.function("the loss", loss, loss_gradient, model(x), [])
        return rows + self.function("the whole model", whole, whole_gradient, x, model.parameters())

    def function(
        self,
        where: str,
        result: Callable[[np.ndarray], float],
        gradient: Callable[[np.ndarray], np.ndarray],
        point: np.ndarray,
        tensors: list[Any],
    ) -> list[GradientRow]:
        """A row for the input of a function, and one for each of its tensors."""

        def value(point: np.ndarray) -> float:
            self.still.again()
            return result(point)

        self.still.again()
        for tensor in tensors:
            tensor.clear_grad()
        by_input = np.array(gradient(point))
        rows = [self._worst(where, "input", by_input, lambda step: value(point + step))]
        for i, tensor in enumerate(tensors):
            start, analytic = tensor.data.copy(), tensor.grad.copy()

            def moved(step: np.ndarray, tensor: Any = tensor, start: np.ndarray = start) -> float:
                tensor.data = start + step
                moved_to = value(point)
                tensor.data = start
                return moved_to

            rows.append(self._worst(where, f"tensor {i}", analytic, moved))
        return rows

    def _worst(self, where: str, of: str, gradient: np.ndarray, value: Callable[[np.ndarray], float]) -> GradientRow:
        rows = [self._direction(where, of, gradient, value) for _ in range(self.directions)]
        return max(rows, key=lambda row: row.fraction)

    def _direction(
        self, where: str, of: str, gradient: np.ndarray, value: Callable[[np.ndarray], float]
    ) -> GradientRow:
        middle = value(np.zeros(gradient.shape))
        for _ in range(TRIES):
            direction = self.rng.standard_normal(gradient.shape)
            above, below = value(EPS * direction), value(-EPS * direction)
            difference = (above - below) / (2 * EPS)
            backward = float(np.sum(gradient * direction))
            rounding = 8 * np.finfo(np.float64).eps * abs(middle) / EPS
            tolerance = self.atol + self.rtol * abs(difference) + rounding
            if abs(above - 2 * middle + below) / EPS <= 0.1 * tolerance + rounding:
                fraction = abs(backward - difference) / tolerance
                return GradientRow(where, of, backward, difference, fraction if np.isfinite(fraction) else np.inf)
        return GradientRow(where, of, backward, difference, np.inf)
