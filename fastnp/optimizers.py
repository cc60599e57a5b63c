"""Optimizers: how gradients change parameters."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .arrays import aligned_zeros
from .backend import kernels
from .checks import check_rate
from .tensor import Arena, Tensor


class Optimizer:
    """Base class. An optimizer of your own defines `step`, for example

        for p in self.parameters:
            p.data = p.data - self.learning_rate * (p.grad + self.get_decay(p.data))

    Args:
        parameters: the `Tensor`s to train, as from `model.parameters()`; each only once.
        learning_rate: the step size, not negative.
        weight_decay, decay_type: the decay term that `get_decay` gives, 'l2' or 'l1'.

    Raises TypeError or ValueError that names the argument.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float = 0.001,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
    ):
        owner = type(self).__name__
        if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
            raise TypeError(
                f"{owner}: parameters must be a list of Tensors, as from model.parameters(), got {parameters!r}"
            )
        self.parameters = list(parameters)
        self._check_parameters()
        self.learning_rate = check_rate(owner, "learning_rate", learning_rate)
        self.weight_decay = check_rate(owner, "weight_decay", weight_decay)
        if decay_type not in ("l1", "l2"):
            raise ValueError(f"{owner}: decay_type must be 'l1' or 'l2', got {decay_type!r}")
        self.decay_type = decay_type

    def _check_parameters(self) -> None:
        owner = type(self).__name__
        for i, tensor in enumerate(self.parameters):
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{owner}: parameters[{i}] must be a Tensor, got {tensor!r}")
        if len({id(tensor) for tensor in self.parameters}) < len(self.parameters):
            raise ValueError(f"{owner}: a Tensor stands twice in parameters; it would be updated twice a step")

    def step(self) -> None:
        """Change the parameters once, by their gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define step(self)")

    def clear_grad(self) -> None:
        """Set all gradients to zero."""
        for tensor in self.parameters:
            tensor.clear_grad()

    def get_decay(self, values: Any) -> Any:
        """The gradient of the decay term: weight_decay·values for 'l2', weight_decay·sign(values) for 'l1'."""
        return self.weight_decay * (np.sign(values) if self.decay_type == "l1" else values)


class Range:
    """Tensors that lie side by side in one arena, and their velocities: one kernel call updates all."""

    def __init__(self, tensors: list[Tensor]):
        self.arena: Arena = tensors[0]._arena
        self.tensors = tensors
        start = tensors[0]._offset
        stop = tensors[-1]._offset + tensors[-1]._size
        self.data = self.arena.data[start:stop]
        self.grad = self.arena.grad[start:stop]
        self.velocity = aligned_zeros(stop - start, self.arena.dtype)
        self.whole_arena = stop - start == self.arena.data.size
        self.velocities = [tensor._view(self.velocity[tensor._offset - start :]) for tensor in tensors]


def ranges_of(parameters: list[Tensor]) -> list[Range]:
    """Cut parameters, in the order of their storage, into as few ranges as possible."""
    groups: list[list[Tensor]] = []
    for tensor in sorted(parameters, key=lambda tensor: (id(tensor._arena), tensor._offset)):
        last = groups[-1][-1] if groups else None
        if last is not None and last._arena is tensor._arena and last._offset + last._size == tensor._offset:
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
    return [Range(tensors) for tensors in groups]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum:

        g = grad + decay,   v = momentum·v + g,   p = p − learning_rate·v

    decay is weight_decay·p ('l2') or weight_decay·sign(p) ('l1'), for weights and biases.
    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Args:
        momentum: not negative, first as in the tutorial; 0 gives plain gradient descent.
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.

    `velocity` is a list with the array v of each parameter. Velocities below the smallest normal number
    become 0. Raises TypeError or ValueError that names the argument.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        parameters: Iterable[Tensor] | None = None,
        learning_rate: float = 0.001,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
    ):
        if isinstance(momentum, (list, tuple, Tensor)):
            raise TypeError("SGD: the first argument is momentum; give the parameters as parameters=…")
        if parameters is None:
            raise TypeError("SGD: parameters is missing; give parameters=model.parameters()")
        self.momentum = check_rate("SGD", "momentum", momentum)
        super().__init__(parameters, learning_rate, weight_decay, decay_type)
        self._ranges: list[Range] = []
        self._laid_out: list[Tensor] = []
        self._lay_out()

    def _lay_out(self) -> None:
        """Find the ranges of the parameters anew, taking the velocities along."""
        self._check_parameters()
        before = self._velocities()
        self._ranges = ranges_of(self.parameters)
        for tensor, velocity in self._velocities().values():
            if id(tensor) in before:
                velocity[...] = before[id(tensor)][1]
        self._laid_out = list(self.parameters)

    def _velocities(self) -> dict[int, tuple[Tensor, np.ndarray]]:
        pairs = [pair for r in self._ranges for pair in zip(r.tensors, r.velocities, strict=True)]
        return {id(tensor): (tensor, velocity) for tensor, velocity in pairs}

    def ranges(self) -> list[Range]:
        """Where the parameters are now, with their velocities."""
        if self.parameters != self._laid_out:
            self._lay_out()
        for r in self._ranges:
            if r.arena.dead:
                self._lay_out()
                break
        return self._ranges

    @property
    def velocity(self) -> list[np.ndarray]:
        self.ranges()
        velocities = self._velocities()
        return [velocities[id(tensor)][1] for tensor in self.parameters]

    def step(self) -> None:
        ranges = self.ranges()
        update = kernels().momentum_update
        for r in ranges:
            r.arena.clear_stale()
            update(
                r.data, r.velocity, r.grad,
                float(self.learning_rate), float(self.momentum), float(self.weight_decay), self.decay_type == "l1",
            )  # fmt: skip

    def clear_grad(self) -> None:
        for r in self.ranges():
            if r.whole_arena:
                r.arena.stale = True
            else:
                for tensor in r.tensors:
                    tensor.clear_grad()

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in vars(self).items() if key not in ("_ranges", "_laid_out")}
        return state | {"velocity": [velocity.copy() for velocity in self.velocity]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        velocities = state.pop("velocity")
        vars(self).update(state, _ranges=[], _laid_out=[])
        for mine, stored in zip(self.velocity, velocities, strict=True):
            mine[...] = stored
