"""Optimizers: how gradients change parameters."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from ..checks import check_integer, check_rate, one_of, shown
from ..overrides import Checks, TrackedList, Watched, put
from ..schedules.schedule import MOST
from ..tensor import Tensor
from .newcomers import holds_since_now
from .pace import counted, rate_at


def check_parameters(owner: str, name: str, value: Any) -> list[Tensor]:
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


def _check_updates(owner: str, name: str, value: Any) -> int:
    number = check_integer(owner, name, value, 0)
    if number > MOST:
        raise ValueError(f"{owner}: {name} must be at most 2**53, got {shown(value)}")
    return number


class Optimizer(Watched):
    """Base class. An optimizer of your own defines `step`, for example

        for p in self.parameters:
            p.data = p.data - self.learning_rate * (p.grad + self.get_decay(p.data))

    Args:
        parameters: the `Tensor`s to train, as from `model.parameters()`; each only once.
        learning_rate: the step size, not negative; or a *schedule*, a function from the number of updates done to the
            step size of the next. It may be asked ahead, and again, and must give the same each time. Those in
            `fastnp.schedules` give many rates at once.
        weight_decay, decay_type: the decay term that `get_decay` gives, 'l2' or 'l1'.

    All four are attributes that may be changed at any time. `learning_rate` is always a float, the rate of the next
    update; setting it to a float ends the `schedule`, which is None where there is none. `updates` is the number of
    updates done. A `step` that a class of yours defines counts by itself; that of a subclass of `SGD` and the like, and
    one that is assigned to an object, counts where it calls the one that it replaces. `parameters` is a list of the
    optimizer's own, a copy of what it is given, which may be extended: what is kept of a parameter, such as its
    velocity, stays.
    Raises TypeError or ValueError that names the argument, also on assignment; for a schedule that gives no rate, when
    that is read, which is before the update.
    """

    _checks: ClassVar[Checks] = {
        "parameters": check_parameters,
        "updates": _check_updates,
        "weight_decay": check_rate,
        "decay_type": one_of("l1", "l2"),
    }
    _held_since = 0
    _paced_by: Callable[[int], Any] | None = None
    _fixed_rate: float | None = None  # which it is before `__init__`
    updates = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        step = inspect.getattr_static(cls, "step")
        by_itself = getattr(step, "counts_updates", None) is True or getattr(step, "__isabstractmethod__", False)
        # One over a step of the library's own calls that where it makes an update, which may not be every time.
        if not by_itself and not any(hasattr(vars(base).get("step"), "is_of_kernels") for base in cls.__mro__):
            cls.step = counted(step)  # type: ignore[method-assign]

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float | Callable[[int], float] = 0.001,
        weight_decay: float = 0.0,
        decay_type: str = "l2",
    ):
        self.parameters = parameters  # type: ignore[assignment]  # which the check makes a list
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.decay_type = decay_type

    @property
    def learning_rate(self) -> float:
        owner, schedule = type(self).__name__, self._paced_by
        if schedule is not None:
            return rate_at(owner, schedule, self.updates)
        rate = self._fixed_rate
        if rate is None:
            arguments = "super().__init__(parameters, learning_rate)"
            raise AttributeError(f"{owner} has no learning_rate: its __init__ must call {arguments}")
        return rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, type):
            raise TypeError(f"{type(self).__name__}: learning_rate must be a number or a schedule, got {shown(value)}")
        if callable(value):
            put(self, _paced_by=value)
        else:
            put(self, _fixed_rate=check_rate(type(self).__name__, "learning_rate", value), _paced_by=None)

    @property
    def schedule(self) -> Callable[[int], Any] | None:
        return self._paced_by

    @schedule.setter
    def schedule(self, value: Any) -> None:
        owner = type(self).__name__
        raise AttributeError(f"{owner}.schedule cannot be assigned; assign a schedule, or a number, to learning_rate")

    def _list_assigned(self) -> None:
        put(self, _held_since=holds_since_now(self, self.parameters))

    def bind(self, parameters: Iterable[Tensor]) -> None:
        """Train these tensors in place of the present ones, one for one; what is kept of those stays.

        For an optimizer that was pickled or copied without its model: `optimizer.bind(model.parameters())`.
        Raises ValueError where they are not as many, of the same shapes and dtypes.
        """
        owner = type(self).__name__
        tensors = check_parameters(owner, "parameters", parameters)
        mine, theirs = ([(t.shape, str(t.dtype)) for t in ts] for ts in (self.parameters, tensors))
        if mine != theirs:
            raise ValueError(
                f"{owner}: bind needs tensors of the shapes and dtypes {mine}, in this order; got {theirs}"
            )
        self.parameters = tensors

    def step(self) -> None:
        """Change the parameters once, by their gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define step(self)")

    step.counts_updates = True  # type: ignore[attr-defined]

    def clear_grad(self) -> None:
        """Set all gradients to zero."""
        for tensor in self.parameters:
            tensor.clear_grad()

    def get_decay(self, values: Any) -> Any:
        """The gradient of the decay term: weight_decay·values for 'l2', weight_decay·sign(values) for 'l1'."""
        return self.weight_decay * (np.sign(values) if self.decay_type == "l1" else values)

    def __repr__(self) -> str:
        tensors = [tensor for tensor in getattr(self, "parameters", ()) if isinstance(tensor, Tensor)]
        names = ["learning_rate", *self._rules] if self._paced_by is None else self._rules
        values = {name: getattr(self, name, None) for name in names}
        settings = [] if self._paced_by is None else [f"schedule={shown(self._paced_by)}"]
        settings += [f"{name}={value:g}" for name, value in values.items() if isinstance(value, float)]
        size = f"{sum(tensor.data.size for tensor in tensors)} parameters in {len(tensors)} tensors"
        return f"{type(self).__name__}({', '.join([size, *settings])})"

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in vars(self).items() if key != "_held_since"}
        return {"updates": self.updates, **state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        put(self, **state)
        if "parameters" in state:
            put(self, parameters=TrackedList(state["parameters"]))  # a copy shares no list with the original
        self._list_assigned()
