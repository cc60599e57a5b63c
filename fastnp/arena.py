"""Arenas: flat arrays in which tensors lie side by side, so that kernels find them by one address."""

import math
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .arrays import aligned_zeros
from .kernels import padded
from .overrides import count_change, put


class Layout(NamedTuple):
    """How a tensor of some shape lies in memory: rows of `n` numbers, `ld` apart; `size` numbers in all, with pads."""

    shape: tuple[int, ...]
    n: int
    ld: int
    size: int

    def view(self, flat: np.ndarray) -> np.ndarray:
        """The tensor without its pads, in a flat array that starts with it."""
        view = flat[: self.size].reshape(*self.shape[:-1], self.ld)[..., : self.n]
        return view if self.shape else view[0, ...]


def layout_of(shape: tuple[int, ...], dtype: np.dtype) -> Layout:
    n = shape[-1] if shape else 1
    ld = padded(n, dtype.itemsize)
    return Layout(shape, n, ld, math.prod(shape[:-1]) * ld)


class Place(NamedTuple):
    """Where the numbers of a tensor are. Tensors keep it in one attribute: Ctrl-C leaves all of it or nothing."""

    arena: "Arena"
    offset: int
    data: np.ndarray
    grad: np.ndarray


class Arena:
    """One flat aligned array that holds the numbers of several tensors, and one like it for their gradients.

    Each tensor takes rows of its padded length, one tensor behind the other. An arena whose tensors have moved to
    another, or have got company, is `dead`. `room` is how many numbers the storage behind `data` holds; where a
    tensor was, and is no more, a gap stays.

    The gradients of all tensors may be cleared at once without writing a zero: what stands in `grad` is then
    `stale`, until the next backward overwrites it or somebody wants to read it.
    """

    def __init__(self, tensors: list[Any], dtype: np.dtype, room: int = 0):
        size = sum(tensor._layout.size for tensor in tensors)
        self._storage = aligned_zeros(max(size, room), dtype), aligned_zeros(max(size, room), dtype)
        self._start(size)
        self._tensors = [weakref.ref(tensor) for tensor in tensors]
        offset = 0
        for tensor in tensors:
            _move(tensor, self, offset)
            offset += tensor._layout.size

    def _start(self, size: int) -> None:
        self.data, self.grad = self._storage[0][:size], self._storage[1][:size]
        self.dtype = self.data.dtype
        self.stale = False
        self.dead = False
        self.followed = False  # somebody keeps what stands where

    @property
    def room(self) -> int:
        return self._storage[0].size

    def holds_only(self, count: int) -> bool:
        """Whether there have never been more tensors here than these."""
        return len(self._tensors) == count

    def tensors(self) -> list[Any]:
        """The tensors that are here now."""
        return [tensor for ref in self._tensors if (tensor := ref()) is not None and tensor._place.arena is self]

    def joined_by(self, tensors: list[Any]) -> None:
        """An arena in the same storage, with these tensors behind those that are here and stay where they are."""
        self.write_cleared()
        arena = Arena.__new__(Arena)
        arena._storage = self._storage
        offset = self.data.size
        arena._start(offset + sum(tensor._layout.size for tensor in tensors))
        arena._tensors = self._tensors + [weakref.ref(tensor) for tensor in tensors]
        here = self.tensors()
        self.die()  # first, for Ctrl-C may come at any line
        for tensor in here:
            put(tensor, _place=tensor._place._replace(arena=arena))
        for tensor in tensors:
            _move(tensor, arena, offset)
            offset += tensor._layout.size

    def die(self) -> None:
        """Let whoever `follows` look for the tensors elsewhere."""
        self.dead = True
        if self.followed:
            count_change()

    # --- gradients ---

    def clear_gradients(self) -> None:
        """All gradients are zero from now on."""
        self.stale = True

    def write_cleared(self) -> None:
        """Write the zeros of gradients that were cleared, for whoever reads or changes some of them."""
        if self.stale:
            self.grad[:] = 0
            self.stale = False

    def has_gradients(self) -> bool:
        """Whether any gradient is not zero."""
        return not self.stale and bool(self.grad.any())


def _move(tensor: Any, arena: Arena, offset: int) -> None:
    """Give a tensor a place in an arena; it takes the numbers of its old place along, where it had one."""
    view, old = tensor._layout.view, tensor._place
    data, grad = view(arena.data[offset:]), view(arena.grad[offset:])
    if old is not None:
        old.arena.write_cleared()
        data[...], grad[...] = old.data, old.grad
        old.arena.die()
    put(tensor, _place=Place(arena, offset, data, grad))


def gather(tensors: Iterable[Any], growing: bool = False) -> None:
    """Bring tensors of one dtype together in one arena, with all that share an arena with one of them.

    Where it is `growing`, the arena gets room for as much again, so that few of many additions move anything.
    """
    arenas = {id(tensor._place.arena): tensor._place.arena for tensor in tensors}
    if len(arenas) < 2 and not any(arena.dead for arena in arenas.values()):
        return
    first, *others = arenas.values()
    there, coming = first.tensors(), [tensor for arena in others for tensor in arena.tensors()]
    size = sum(tensor._layout.size for tensor in there)
    gaps = size < first.data.size
    size += sum(tensor._layout.size for tensor in coming)
    if not first.dead and not gaps and size <= first.room:
        first.joined_by(coming)
    else:
        everyone = there + coming
        Arena(everyone, first.dtype, 2 * size if growing else 0)
