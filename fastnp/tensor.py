"""Parameters with their gradients."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .arena import Arena, Layout, Place, layout_of
from .arrays import check_dtype, real_array
from .checks import check_flag
from .listeners import tell
from .overrides import Checks, Watched, put


def _read_only(instead: str) -> Callable[[str, str, Any], Any]:
    """The rule for an attribute that is not assigned to; `instead` says what to write."""

    def refuse(owner: str, name: str, value: Any) -> Any:
        raise AttributeError(f"{owner}.{name} cannot be assigned; {instead}")

    return refuse


LARGE = 1 << 24  # numbers of a tensor that does not wait for a place


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape):  # as nearly always
        return shape
    return np.broadcast_shapes(shape)


class Tensor(Watched):
    """An array of parameters and its gradient.

    Args:
        shape: the shape of both arrays.
        dtype: numpy.float32 (default) or numpy.float64.

    Both start as zeros. `data` and `grad` are live views of the model's storage: writing into them changes
    the model, assigning to them copies in. They go stale when the tensor's layer joins or extends a
    `Sequential`, and a view of `grad` also when gradients are cleared: read the attribute anew, and copy
    what you want to keep. `decays` says whether an optimizer with `decay_bias=False` applies its weight decay: True but
    for biases, and for the weights of a `LayerNorm`; it may be assigned.

    Raises TypeError for another dtype, ValueError for a negative size or, on assignment, another shape.
    """

    _checks: ClassVar[Checks] = {
        "shape": _read_only("make a new Tensor(shape)"),
        "dtype": _read_only("convert(dtype) changes it, or give dtype= to the layer"),
        "decays": check_flag,
    }
    _counted = frozenset({"decays"})

    dtype: np.dtype
    shape: tuple[int, ...]
    _layout: Layout
    _placed: Place | None  # where its numbers are: nowhere yet, until somebody asks or `gather` brings it to others
    _first_data: np.ndarray | None = None  # its numbers until then, where they are not zeros
    _holders: tuple[Any, ...] = ()  # weak references to the optimizers that were given it
    decays = True

    def __init__(self, shape: Any, dtype: Any = np.float32):
        self._shape_up(_checked_shape(shape), check_dtype(dtype))
        if self._layout.size > LARGE:
            Arena([self], self.dtype)  # where there is no memory for it, here is the place to say so

    def _shape_up(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Take this shape and dtype: zeros."""
        put(self, shape=shape, dtype=dtype, _layout=layout_of(shape, dtype), _placed=None)

    def _begin(self, value: Any) -> None:
        """Begin with a copy of this value."""
        put(self, _first_data=np.array(self._checked(value, "data"), self.dtype))

    def _without_decay(self) -> None:
        """Begin as one that does not decay; nobody has asked yet."""
        put(self, decays=False)

    @property
    def _place(self) -> Place:
        if self._placed is None:
            Arena([self], self.dtype)
        return self._placed  # type: ignore[return-value]  # the arena has set it

    def _checked(self, value: Any, name: str) -> np.ndarray:
        array = real_array(value, f"the value assigned to Tensor.{name}")
        if array.shape != self.shape:
            raise ValueError(
                f"Tensor.{name} has shape {self.shape}, the value assigned to it {array.shape}; they must be equal"
            )
        return array

    @property
    def data(self) -> np.ndarray:
        return self._place.data

    @data.setter
    def data(self, value: Any) -> None:
        if value is not self._place.data:
            self._place.data[...] = self._checked(value, "data")

    @property
    def grad(self) -> np.ndarray:
        self._place.arena.write_cleared()
        return self._place.grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not self._place.grad:
            array = self._checked(value, "grad")
            self._place.arena.write_cleared()
            self._place.grad[...] = array

    def clear_grad(self) -> None:
        """Set the gradient to zero."""
        self._place.arena.clear_gradient(self._place.grad)

    def convert(self, dtype: Any) -> None:
        """Change the dtype, to float32 or float64, into storage of its own."""
        new = Tensor(self.shape, dtype)
        new.data, new.grad = self.data, self.grad
        self._place.arena.die()
        new._place.arena.taken_over(self)
        put(self, _placed=new._place, _layout=new._layout, dtype=new.dtype)
        tell()

    def __str__(self) -> str:
        return f"Tensor shape: {self.shape}, data: {self.data}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape}, {self.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in vars(self).items() if key not in _STORAGE}
        return state | {"data": self.data.copy(), "grad": self.grad.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        data, grad = state.pop("data"), state.pop("grad")
        put(self, **state)
        self._shape_up(data.shape, check_dtype(data.dtype))
        self.data, self.grad = data, grad


_STORAGE = ("shape", "dtype", "_layout", "_placed", "_first_data", "_holders")
