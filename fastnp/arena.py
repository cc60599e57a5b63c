"""Arenas: flat arrays in which tensors lie side by side, so that kernels find them by one address."""

import weakref
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .arrays import aligned_zeros
from .kernels import padded
from .kernels.blocks import ARENA_FLAGS, DEAD, STALE
from .listeners import tell
from .overrides import count_change, put


class Layout(NamedTuple):
    """How a tensor of some shape lies in memory: in rows of a padded length, or as a column of one.

    `size` numbers in all, with pads.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...]
    size: int

    def view(self, flat: np.ndarray, offset: int = 0) -> np.ndarray:
        """The tensor without its pads, which starts at an offset of a flat array."""
        return np.ndarray(self.shape, self.dtype, flat, offset * self.dtype.itemsize, self.strides)


@lru_cache(4096)
def layout_of(shape: tuple[int, ...], dtype: np.dtype) -> Layout:
    """The layout of a tensor: its last axis is padded; where that is 1, the numbers lie side by side, pads behind."""
    size, strides, is_column = 1, [], shape[-1:] == (1,)
    for axis, n in enumerate(reversed(shape or (1,))):
        strides.append(size * dtype.itemsize)
        size *= n if axis or is_column else padded(n, dtype.itemsize)
    size = padded(size, dtype.itemsize) if is_column else size
    return Layout(shape, dtype, tuple(strides[::-1]) if shape else (), size)


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
    stale, until the next backward overwrites it or somebody wants to read it.
    """

    def __init__(self, tensors: list[Any], dtype: np.dtype, room: int = 0):
        size = 0
        for tensor in tensors:
            size += tensor._layout.size
        room = max(size, room)
        both = aligned_zeros(2 * room, dtype)
        self._storage = both[:room], both[room:]
        self._begin(size)
        self._tensors = list(map(weakref.ref, tensors))
        moves = any(tensor._placed is not None for tensor in tensors)
        offset = 0
        for tensor in tensors:
            _move(tensor, self, offset)
            offset += tensor._layout.size
        if moves:
            tell()  # now that all of them are here

    def _begin(self, size: int) -> None:
        self.data, self.grad = self._storage[0][:size], self._storage[1][:size]
        self.dtype = self.data.dtype
        self.flags = np.zeros(ARENA_FLAGS, np.int64)  # which kernels read and write
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
        return [tensor for ref in self._tensors if (tensor := ref()) is not None and tensor._placed.arena is self]

    def joined_by(self, tensors: list[Any]) -> None:
        """An arena in the same storage, with these tensors behind those that are here and stay where they are."""
        self.write_cleared()
        arena = Arena.__new__(Arena)
        arena._storage = self._storage
        offset = self.data.size
        arena._begin(offset + sum(tensor._layout.size for tensor in tensors))
        arena._tensors = self._tensors + [weakref.ref(tensor) for tensor in tensors]
        here = self.tensors()
        self.die()  # first, for Ctrl-C may come at any line
        for tensor in here:
            put(tensor, _placed=tensor._placed._replace(arena=arena))
        for tensor in tensors:
            _move(tensor, arena, offset)
            offset += tensor._layout.size
        tell()

    def taken_over(self, tensor: Any) -> None:
        """The only tensor that was here is another from now on."""
        self._tensors = [weakref.ref(tensor)]

    def die(self) -> None:
        """Let whoever `follows` look for the tensors elsewhere."""
        self.dead = True
        self.flags[DEAD] = 1
        if self.followed:
            count_change()

    def leave(self) -> None:
        """Bring the tensors that are left in a dead arena together in a new one."""
        tensors = self.tensors()
        if tensors:
            Arena(tensors, self.dtype)

    # --- gradients ---

    def clear_gradients(self) -> None:
        """All gradients are zero from now on."""
        self.flags[STALE] = 1

    def clear_gradient(self, gradient: np.ndarray) -> None:
        """One of the gradients is zero from now on."""
        if not self.flags[STALE]:
            gradient[...] = 0

    def write_cleared(self) -> None:
        """Write the zeros of gradients that were cleared, for whoever reads or changes some of them."""
        if self.flags[STALE]:
            self.grad[:] = 0
            self.flags[STALE] = 0

    def has_gradients(self) -> bool:
        """Whether any gradient is not zero."""
        return not self.flags[STALE] and bool(self.grad.any())


def _move(tensor: Any, arena: Arena, offset: int) -> None:
    """Give a tensor a place in an arena; it takes its numbers along."""
    view, old = tensor._layout.view, tensor._placed
    data, grad = view(arena.data, offset), view(arena.grad, offset)
    if old is not None:
        old.arena.write_cleared()
        data[...], grad[...] = old.data, old.grad
        old.arena.die()
    elif tensor._first_data is not None:
        data[...] = tensor._first_data
    put(tensor, _placed=Place(arena, offset, data, grad))
    if tensor._first_data is not None:
        put(tensor, _first_data=None)


def gather(tensors: Iterable[Any], growing: bool = False) -> None:
    """Bring tensors of one dtype together in one arena, with all that share an arena with one of them.

    Where it is `growing`, the arena gets room for as much again, so that few of many additions move anything.
    """
    arenas: dict[int, Arena] = {}
    unplaced: dict[int, Any] = {}  # by id: a tensor may be named twice
    for tensor in tensors:
        if tensor._placed is None:
            unplaced[id(tensor)] = tensor
        else:
            arenas[id(tensor._placed.arena)] = tensor._placed.arena
    new = list(unplaced.values())
    if not new and len(arenas) < 2 and not any(arena.dead for arena in arenas.values()):
        return
    if not arenas:
        Arena(new, new[0].dtype, 2 * sum(tensor._layout.size for tensor in new) if growing else 0)
        return
    first, *others = arenas.values()
    there, coming = first.tensors(), [tensor for arena in others for tensor in arena.tensors()] + new
    size = sum(tensor._layout.size for tensor in there)
    gaps = size < first.data.size
    size += sum(tensor._layout.size for tensor in coming)
    if not first.dead and not gaps and size <= first.room:
        first.joined_by(coming)
    else:
        Arena(there + coming, first.dtype, 2 * size if growing else 0)
