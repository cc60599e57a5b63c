"""Parameters with their gradients, and the arenas they live in."""

import math
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from .arrays import aligned_zeros, check_dtype, real_array
from .kernels import padded


class Arena:
    """One flat aligned array that holds the numbers of several tensors, and one like it for their gradients.

    Each tensor takes rows of its padded length, one tensor behind the other. While `stale`, the gradients
    have been cleared but not yet overwritten. An arena whose tensors have moved to another is `dead`.
    """

    def __init__(self, tensors: list["Tensor"], dtype: np.dtype):
        size = sum(tensor._size for tensor in tensors)
        self.dtype = dtype
        self.data = aligned_zeros(size, dtype)
        self.grad = aligned_zeros(size, dtype)
        self.stale = False
        self.dead = False
        self._tensors = [weakref.ref(tensor) for tensor in tensors]
        offset = 0
        for tensor in tensors:
            tensor._place(self, offset)
            offset += tensor._size

    def tensors(self) -> list["Tensor"]:
        """The tensors that are here now."""
        return [tensor for ref in self._tensors if (tensor := ref()) is not None and tensor._arena is self]

    def clear_stale(self) -> None:
        """Write the zeros that `stale` stands for."""
        if self.stale:
            self.grad[:] = 0
            self.stale = False


def gather(tensors: Iterable["Tensor"]) -> None:
    """Bring tensors of one dtype together in one arena, with all that share an arena with one of them."""
    arenas = {id(tensor._arena): tensor._arena for tensor in tensors}
    if len(arenas) > 1 or any(arena.dead for arena in arenas.values()):
        everyone = [tensor for arena in arenas.values() for tensor in arena.tensors()]
        Arena(everyone, everyone[0].dtype)


class Tensor:
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

    _arena: Arena
    _offset: int
    _data: np.ndarray
    _grad: np.ndarray

    def __init__(self, shape: Any, dtype: Any = np.float32):
        self.dtype = check_dtype(dtype)
        self.shape: tuple[int, ...] = np.broadcast_shapes(shape)
        self._row = self.shape[-1] if self.shape else 1
        self._rows = math.prod(self.shape[:-1])
        Arena([self], self.dtype)

    @property
    def _ld(self) -> int:
        return padded(self._row, self.dtype.itemsize)

    @property
    def _size(self) -> int:
        """Numbers taken in an arena, pads included."""
        return self._rows * self._ld

    def _view(self, flat: np.ndarray) -> np.ndarray:
        """This tensor's unpadded part of a flat array laid out as its arena, from its first number on."""
        rows = flat[: self._size].reshape(*self.shape[:-1], self._ld)
        view = rows[..., : self._row]
        return view if self.shape else view[0, ...]

    def _place(self, arena: Arena, offset: int) -> None:
        """Move into `arena`, taking data and gradient along."""
        old: Arena | None = vars(self).get("_arena")
        data, grad = self._view(arena.data[offset:]), self._view(arena.grad[offset:])
        if old is not None:
            old.clear_stale()
            data[...] = self._data
            grad[...] = self._grad
            old.dead = True
        self._arena, self._offset, self._data, self._grad = arena, offset, data, grad

    def _checked(self, value: Any, name: str) -> np.ndarray:
        array = real_array(value, f"the value assigned to Tensor.{name}")
        if array.shape != self.shape:
            raise ValueError(
                f"Tensor.{name} has shape {self.shape}, the value assigned to it {array.shape}; they must be equal"
            )
        return array

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        if value is not self._data:
            self._data[...] = self._checked(value, "data")

    @property
    def grad(self) -> np.ndarray:
        self._arena.clear_stale()
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not self._grad:
            array = self._checked(value, "grad")
            self._arena.clear_stale()
            self._grad[...] = array

    def clear_grad(self) -> None:
        """Set the gradient to zero."""
        if not self._arena.stale:
            self._grad[...] = 0

    def convert(self, dtype: Any) -> None:
        """Change the dtype, to float32 or float64, into storage of its own."""
        data, grad = self.data.copy(), self.grad.copy()
        self._arena.dead = True
        del self._arena
        self.dtype = check_dtype(dtype)
        Arena([self], self.dtype)
        self.data, self.grad = data, grad

    def __str__(self) -> str:
        return f"Tensor shape: {self.shape}, data: {self.data}"

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in vars(self).items() if key not in _STORAGE}
        return state | {"data": self.data.copy(), "grad": self.grad.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        data, grad = state.pop("data"), state.pop("grad")
        vars(self).update(state)
        Arena([self], self.dtype)
        self.data, self.grad = data, grad


_STORAGE = ("_arena", "_offset", "_data", "_grad")
