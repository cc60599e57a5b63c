"""Optimizers: how gradients change parameters."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from . import overrides
from .arrays import aligned_zeros, real_array
from .backend import kernels
from .checks import check_rate, one_of, shown
from .newcomers import holds_since_now
from .overrides import Checks, TrackedList, Watched, is_own, is_plain, put, seen
from .tensor import Arena, Tensor


def _check_parameters(owner: str, name: str, value: Any) -> list[Tensor]:
    """A list of tensors, each only once. Raises TypeError or ValueError that says which is wrong."""
    if isinstance(value, (Tensor, str, bytes, np.ndarray)) or not isinstance(value, Iterable):
        raise TypeError(f"{owner}: {name} must be a list of Tensors, as from model.parameters(), got {shown(value)}")
    tensors = list(value)
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{owner}: {name}[{i}] must be a Tensor, got {shown(tensor)}")
    if len({id(tensor) for tensor in tensors}) < len(tensors):
        raise ValueError(f"{owner}: a Tensor stands twice in {name}; it would be updated twice a step")
    return TrackedList(tensors)


class Optimizer(Watched):
    """Base class. An optimizer of your own defines `step`, for example

        for p in self.parameters:
            p.data = p.data - self.learning_rate * (p.grad + self.get_decay(p.data))

    Args:
        parameters: the `Tensor`s to train, as from `model.parameters()`; each only once.
        learning_rate: the step size, not negative.
        weight_decay, decay_type: the decay term that `get_decay` gives, 'l2' or 'l1'.

    All four are attributes that may be changed at any time. `parameters` is a list of the optimizer's own, a
    copy of what it is given, which may be extended: what is kept of a parameter, such as its velocity, stays.
    Raises TypeError or ValueError that names the argument, also on assignment.
    """

    _checks: ClassVar[Checks] = {
        "parameters": _check_parameters,
        "learning_rate": check_rate,
        "weight_decay": check_rate,
        "decay_type": one_of("l1", "l2"),
    }
    _held_since = 0

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float = 0.001,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
    ):
        self.parameters = _check_parameters(type(self).__name__, "parameters", parameters)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.decay_type = decay_type

    def _list_assigned(self) -> None:
        put(self, _held_since=holds_since_now(self, self.parameters))

    def bind(self, parameters: Iterable[Tensor]) -> None:
        """Train these tensors in place of the present ones, one for one; what is kept of those stays.

        For an optimizer that was pickled or copied without its model: `optimizer.bind(model.parameters())`.
        Raises ValueError where they are not as many, of the same shapes and dtypes.
        """
        owner = type(self).__name__
        tensors = _check_parameters(owner, "parameters", parameters)
        mine, theirs = ([(t.shape, str(t.dtype)) for t in ts] for ts in (self.parameters, tensors))
        if mine != theirs:
            raise ValueError(
                f"{owner}: bind needs tensors of the shapes and dtypes {mine}, in this order; got {theirs}"
            )
        self.parameters = tensors

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

    def __repr__(self) -> str:
        tensors = [tensor for tensor in getattr(self, "parameters", ()) if isinstance(tensor, Tensor)]
        values = {name: getattr(self, name, None) for name in self._rules}
        settings = [f"{name}={value:g}" for name, value in values.items() if isinstance(value, float)]
        size = f"{sum(tensor.data.size for tensor in tensors)} parameters in {len(tensors)} tensors"
        return f"{type(self).__name__}({', '.join([size, *settings])})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_held_since"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        put(self, **state)
        self._list_assigned()


class Range:
    """Tensors that lie side by side in one arena, and their velocities: one kernel call updates all."""

    def __init__(self, tensors: list[Tensor]):
        self.arena: Arena = tensors[0]._arena
        self.arena.followed = True
        self.tensors = tensors
        start = tensors[0]._offset
        stop = tensors[-1]._offset + tensors[-1]._size
        self.data = self.arena.data[start:stop]
        self.grad = self.arena.grad[start:stop]
        self.velocity = aligned_zeros(stop - start, self.arena.dtype)
        self.whole_arena = stop - start == self.arena.data.size
        # Whether data and gradients may be changed without asking the tensors.
        self.plain = all(is_plain(tensor, Tensor) for tensor in tensors)
        self._replaced = [tensor._replaced for tensor in tensors]
        self.velocities = [tensor._view(self.velocity[tensor._offset - start :]) for tensor in tensors]

    def has_changed(self) -> bool:
        """Whether the tensors have moved, or have other methods now."""
        return self.arena.dead or self._replaced != [tensor._replaced for tensor in self.tensors]


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
