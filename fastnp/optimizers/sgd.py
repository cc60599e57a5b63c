"""Stochastic gradient descent."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .. import overrides
from ..arrays import aligned_zeros, real_array
from ..backend import kernels
from ..checks import check_rate, shown
from ..overrides import Checks, is_own, put, seen
from ..tensor import Tensor
from .arenas import Range, ranges_of
from .optimizer import Optimizer, _check_parameters


class SGD(Optimizer):
    """Stochastic gradient descent with momentum:

        g = grad + decay,   v = momentum·v + g,   p = p − learning_rate·v

    decay is weight_decay·p ('l2') or weight_decay·sign(p) ('l1'), for weights and biases.
    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Args:
        momentum: not negative, first as in the tutorial; 0 gives plain gradient descent.
        parameters, learning_rate, weight_decay, decay_type: as for `Optimizer`.

    `velocity` is a list with the array v of each parameter; a list of arrays may be assigned to it. Velocities
    below the smallest normal number become 0. Raises TypeError or ValueError that names the argument.
    """

    _checks: ClassVar[Checks] = {"momentum": check_rate}

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
        self.momentum = momentum
        super().__init__(parameters, learning_rate, weight_decay, decay_type)
        self._ranges: list[Range] = []
        self._laid_out: list[Tensor] = []
        self._as_of = -1
        self.ranges()

    def _lay_out(self) -> None:
        """Find the ranges of the parameters anew, taking the velocities along."""
        parameters = _check_parameters(type(self).__name__, "parameters", self.parameters)
        before = self._velocities()
        self._ranges = ranges_of(parameters)
        for tensor, velocity in self._velocities().values():
            if id(tensor) in before:
                velocity[...] = before[id(tensor)][1]
        self._laid_out = parameters

    def _velocities(self) -> dict[int, tuple[Tensor, np.ndarray]]:
        pairs = [pair for r in self._ranges for pair in zip(r.tensors, r.velocities, strict=True)]
        return {id(tensor): (tensor, velocity) for tensor, velocity in pairs}

    def ranges(self) -> list[Range]:
        """Where the parameters are now, with their velocities."""
        if self._as_of != overrides.changes:
            self._follow()
        return self._ranges

    def _follow(self) -> None:
        """Lay out anew where parameters have come, gone or moved, or where it is no longer known whose methods run."""
        as_of = overrides.changes
        if self.parameters != self._laid_out or any(r.has_changed() for r in self._ranges):
            self._lay_out()
        self._by_kernel = is_own(self, Optimizer, "get_decay") and all(r.plain for r in self._ranges)
        self._as_of = seen(self.parameters, as_of)

    @property
    def velocity(self) -> list[np.ndarray]:
        self.ranges()
        velocities = self._velocities()
        return [velocities[id(tensor)][1] for tensor in self.parameters]

    @velocity.setter
    def velocity(self, values: Any) -> None:
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"SGD: velocity must be a list of arrays, one for each parameter, got {shown(values)}")
        mine = self.velocity
        # Copies, for these may be the velocities themselves, in another order.
        new = [np.array(real_array(value, f"SGD: velocity[{i}]")) for i, value in enumerate(values)]
        if [v.shape for v in new] != [v.shape for v in mine]:
            shapes, got = ([v.shape for v in arrays] for arrays in (mine, new))
            raise ValueError(f"SGD: velocity needs arrays of the shapes {shapes}; got {got}")
        for velocity, value in zip(mine, new, strict=True):
            velocity[...] = value

    def bind(self, parameters: Iterable[Tensor]) -> None:
        velocities = self.velocity
        super().bind(parameters)
        self.velocity = velocities

    def step(self) -> None:
        ranges = self.ranges()
        if not self._by_kernel:
            self._step_by_tensor()
            return
        update = kernels().momentum_update
        for r in ranges:
            r.arena.clear_stale()
            update(
                r.data, r.velocity, r.grad,
                float(self.learning_rate), float(self.momentum), float(self.weight_decay), self.decay_type == "l1",
            )  # fmt: skip

    def _step_by_tensor(self) -> None:
        """The update where `get_decay` or a tensor is of the user's own: both are asked for what they give."""
        own_decay = is_own(self, Optimizer, "get_decay")
        decay, l1 = float(self.weight_decay) if own_decay else 0.0, self.decay_type == "l1"
        for tensor, velocity in zip(self.parameters, self.velocity, strict=True):
            p, v, g = (aligned_zeros(tensor._size, tensor.dtype) for _ in range(3))
            data, gradient, new_velocity = map(tensor._view, (p, g, v))
            data[...], gradient[...], new_velocity[...] = tensor.data, tensor.grad, velocity
            if not own_decay:
                gradient += self.get_decay(tensor.data)
            kernels().momentum_update(p, v, g, float(self.learning_rate), float(self.momentum), decay, l1)
            velocity[...] = new_velocity
            tensor.data = data

    def clear_grad(self) -> None:
        for r in self.ranges():
            if r.whole_arena and r.plain:
                r.arena.stale = True
            else:
                for tensor in r.tensors:
                    tensor.clear_grad()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in "_ranges", "_laid_out", "_by_kernel", "_as_of":
            del state[name]
        return state | {"velocity": [velocity.copy() for velocity in self.velocity]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        velocities = state.pop("velocity")
        put(self, _ranges=[], _laid_out=[], _as_of=-1)
        super().__setstate__(state)
        self.velocity = velocities
