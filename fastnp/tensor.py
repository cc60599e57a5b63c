"""Parameters with their gradients, and the arenas they live in."""

import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from .arrays import aligned_zeros, check_dtype, real_array
from .kernels import padded
from .overrides import Checks, Watched, count_change, put


class Arena:
    """One flat aligned array that holds the numbers of several tensors, and one like it for their gradients.

    Each tensor takes rows of its padded length, one tensor behind the other. While `stale`, the gradients
    have been cleared but not yet overwritten. An arena whose tensors have moved to another, or have got
    company, is `dead`. `room` is how many numbers the storage behind `data` holds; where a tensor was, and is no
    more, a gap stays.
    """

    def __init__(self, tensors: list["Tensor"], dtype: np.dtype, room: int = 0):
        size = sum(tensor._size for tensor in tensors)
        self.dtype = dtype
        self._storage = aligned_zeros(max(size, room), dtype), aligned_zeros(max(size, room), dtype)
        self.data, self.grad = self._storage[0][:size], self._storage[1][:size]
        self.stale = False
        self.dead = False
        self.followed = False  # somebody keeps what stands where
        self._tensors = [weakref.ref(tensor) for tensor in tensors]
        offset = 0
        for tensor in tensors:
            tensor._move(self, offset)
            offset += tensor._size

    @property
    def room(self) -> int:
        return self._storage[0].size

    def tensors(self) -> list["Tensor"]:
        """The tensors that are here now."""
        return [tensor for ref in self._tensors if (tensor := ref()) is not None and tensor._arena is self]

    def joined_by(self, tensors: list["Tensor"]) -> None:
        """An arena in the same storage, with these tensors behind those that are here and stay where they are."""
        self.clear_stale()
        arena = Arena([], self.dtype)
        arena._storage = self._storage
        offset = self.data.size
        size = offset + sum(tensor._size for tensor in tensors)
        arena.data, arena.grad = self._storage[0][:size], self._storage[1][:size]
        arena._tensors = self._tensors + [weakref.ref(tensor) for tensor in tensors]
        here = self.tensors()
        self.die()  # first, for Ctrl-C may come at any line
        for tensor in here:
            put(tensor, _place=(arena, *tensor._place[1:]))
        for tensor in tensors:
            tensor._move(arena, offset)
            offset += tensor._size

    def die(self) -> None:
        """Let whoever `follows` look for the tensors elsewhere."""
        self.dead = True
        if self.followed:
            count_change()

    def clear_stale(self) -> None:
        """Write the zeros that `stale` stands for."""
        if self.stale:
            self.grad[:] = 0
            self.stale = False


def gather(tensors: Iterable["Tensor"], growing: bool = False) -> None:
    """Bring tensors of one dtype together in one arena, with all that share an arena with one of them.

    Where it is `growing`, the arena gets room for as much again, so that few of many additions move anything.
    """
    arenas = {id(tensor._arena): tensor._arena for tensor in tensors}
    if len(arenas) < 2 and not any(arena.dead for arena in arenas.values()):
        return
    first, *others = arenas.values()
    there, coming = first.tensors(), [tensor for arena in others for tensor in arena.tensors()]
    size = sum(tensor._size for tensor in there)
    gaps = size < first.data.size
    size += sum(tensor._size for tensor in coming)
    if not first.dead and not gaps and size <= first.room:
        first.joined_by(coming)
    else:
        everyone = there + coming
        Arena(everyone, everyone[0].dtype, 2 * size if growing else 0)


def _read_only(instead: str) -> Callable[[str, str, Any], Any]:
    """The rule for an attribute that is not assigned to; `instead` says what to write."""

    def refuse(owner: str, name: str, value: Any) -> Any:
        raise AttributeError(f"{owner}.{name} cannot be assigned; {instead}")

    return refuse


class Tensor(Watched):
    """An array of parameters and its gradient.

    Args:
        shape: the shape of both arrays.
        dtype: numpy.float32 (default) or numpy.float64.

    Both start as zeros. `data` and `grad` are live views of the model's storage: writing into them changes
    the model, assigning to them copies in. They go stale when the tensor's layer joins or extends a
    `Sequential`, and a view of `grad` also when gradients are cleared: read the attribute anew, and copy
    what you want to keep.

    Raises TypeError for another dtype, ValueError for a negative size or, on assignment, another shape.
    """

    _checks: ClassVar[Checks] = {
        "shape": _read_only("make a new Tensor(shape)"),
        "dtype": _read_only("convert(dtype) changes it, or give dtype= to the layer"),
    }

    dtype: np.dtype
    shape: tuple[int, ...]
    _row: int
    _ld: int
    _size: int
    _holders: tuple[Any, ...] = ()  # weak references to the optimizers that were given it
    _place: tuple[Arena, int, np.ndarray, np.ndarray]  # one attribute, so that Ctrl-C leaves all of it or nothing

    def __init__(self, shape: Any, dtype: Any = np.float32):
        self._shape_up(np.broadcast_shapes(shape), check_dtype(dtype))

    def _shape_up(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Take this shape and dtype, in storage of its own: zeros."""
        row = shape[-1] if shape else 1
        ld = padded(row, dtype.itemsize)
        size = math.prod(shape[:-1]) * ld  # numbers taken in an arena, pads included
        put(self, shape=shape, dtype=dtype, _row=row, _ld=ld, _size=size, _place=None)
        Arena([self], dtype)

    @property
    def _arena(self) -> Arena:
        return self._place[0]

    @property
    def _offset(self) -> int:
        return self._place[1]

    def _view(self, flat: np.ndarray) -> np.ndarray:
        """This tensor's unpadded part of a flat array laid out as its arena, from its first number on."""
        rows = flat[: self._size].reshape(*self.shape[:-1], self._ld)
        view = rows[..., : self._row]
        return view if self.shape else view[0, ...]

    def _move(self, arena: Arena, offset: int) -> None:
        """Move into `arena`, taking data and gradient along."""
        data, grad = self._view(arena.data[offset:]), self._view(arena.grad[offset:])
        if self._place is not None:
            old = self._arena
            old.clear_stale()
            data[...] = self._place[2]
            grad[...] = self._place[3]
            old.die()
        put(self, _place=(arena, offset, data, grad))

    def _checked(self, value: Any, name: str) -> np.ndarray:
        array = real_array(value, f"the value assigned to Tensor.{name}")
        if array.shape != self.shape:
            raise ValueError(
                f"Tensor.{name} has shape {self.shape}, the value assigned to it {array.shape}; they must be equal"
            )
        return array

    @property
    def data(self) -> np.ndarray:
        return self._place[2]

    @data.setter
    def data(self, value: Any) -> None:
        if value is not self._place[2]:
            self._place[2][...] = self._checked(value, "data")

    @property
    def grad(self) -> np.ndarray:
        self._arena.clear_stale()
        return self._place[3]

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not self._place[3]:
            array = self._checked(value, "grad")
            self._arena.clear_stale()
            self._place[3][...] = array

    def clear_grad(self) -> None:
        """Set the gradient to zero."""
        if not self._arena.stale:
            self._place[3][...] = 0

    def convert(self, dtype: Any) -> None:
        """Change the dtype, to float32 or float64, into storage of its own."""
        dtype = check_dtype(dtype)
        data, grad = self.data.copy(), self.grad.copy()
        self._arena.die()
        self._shape_up(self.shape, dtype)
        self.data, self.grad = data, grad

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


_STORAGE = ("shape", "dtype", "_row", "_ld", "_size", "_place", "_holders")
