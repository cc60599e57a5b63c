"""What is kept of parameters, laid out as these are in their arenas."""

from typing import NamedTuple

import numpy as np

from ..arena import Arena, Layout
from ..arrays import aligned_zeros
from ..overrides import is_plain
from ..tensor import Tensor


class Kept:
    """What is kept of the tensors of one arena: so many numbers of each kind, at the same places."""

    def __init__(self, arena: Arena, kinds: int):
        self.kinds, self.size = kinds, arena.data.size
        self.flat = aligned_zeros(kinds * self.size, arena.dtype)

    def of(self, tensor: Tensor) -> list[np.ndarray]:
        """The arrays that belong to a tensor, one of each kind."""
        return self.at(tensor._layout, tensor._place.offset)

    def at(self, layout: Layout, offset: int) -> list[np.ndarray]:
        """The same for a tensor that lies, or lay, at an offset."""
        return [layout.view(self.flat, at + offset) for at in [kind * self.size for kind in range(self.kinds)]]


class Where(NamedTuple):
    """Where what is kept of a tensor stands, with the layout that the tensor had."""

    tensor: Tensor  # held, so that its id stays its own
    kept: Kept
    layout: Layout
    offset: int


class Range:
    """Tensors that lie side by side in one arena: one kernel call updates all."""

    def __init__(self, tensors: list[Tensor], kept: Kept):
        self.arena, self.tensors = tensors[0]._place.arena, tensors
        self.arena.followed = True
        start = tensors[0]._place.offset
        stop = tensors[-1]._place.offset + tensors[-1]._layout.size
        self.data, self.grad = self.arena.data[start:stop], self.arena.grad[start:stop]
        self.kept = kept.flat[start : max(kept.flat.size - kept.size, 0) + stop]
        self.all_kept = kept.flat  # of the whole arena
        self.far = kept.size  # from the numbers of one kind to those of the next
        self.char = self.arena.dtype.char
        self.part, self.numbers = 0, np.zeros(0)
        self.whole_arena = stop - start == self.arena.data.size
        # Whether data and gradients may be changed without asking the tensors.
        self.plain = all(is_plain(tensor, Tensor) for tensor in tensors)
        self._replaced = [tensor._replaced for tensor in tensors]

    def has_changed(self) -> bool:
        """Whether the tensors have moved, or have other methods now."""
        return self.arena.dead or self._replaced != [tensor._replaced for tensor in self.tensors]


def side_by_side(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Parameters, in the order of their storage, in as few groups without a gap as possible."""
    groups: list[list[Tensor]] = []
    for tensor in sorted(parameters, key=lambda tensor: (id(tensor._place.arena), tensor._place.offset)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and last._place.arena is tensor._place.arena
            and last._place.offset + last._layout.size == tensor._place.offset
        ):
            groups[-1].append(tensor)
        else:
            groups.append([tensor])
    return groups
