"""What is kept of parameters, laid out as these are in their arenas."""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arena import Arena, Layout
from ..arrays import aligned_zeros
from ..kernels.blocks import block_of_update
from ..kernels.table import (
    BEGIN,
    COUNTS,
    FAR,
    FLAT,
    PLAN_COLUMNS,
    RANGES,
    RULE_NUMBERS,
    SETS,
    SQUARES,
    TENSORS,
)
from ..overrides import is_plain
from ..tensor import Tensor

# Bytes from the parameters to what is kept of them, modulo a page: just below the parameters it would slow updates.
KEPT_ABOVE = 1792


class Kept:
    """What is kept of the tensors of one arena: so many numbers of each kind, at the same places."""

    def __init__(self, arena: Arena, kinds: int):
        self.kinds, self.size = kinds, arena.data.size
        self.flat = aligned_zeros(kinds * self.size, arena.dtype, arena.data, KEPT_ABOVE)

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


class Names(NamedTuple):
    """The parts that a plan calls; those that it does not call are empty."""

    begin: str
    flat: str = ""
    squares: str = ""


class Held:
    """Tensors of one optimizer in one arena: one kernel call updates all."""

    def __init__(self, tensors: list[Tensor], kept: Kept):
        self.arena, self.tensors = tensors[0]._place.arena, tensors
        self.arena.followed = True
        self.data, self.grad, self.kept = self.arena.data, self.arena.grad, kept.flat
        self.char = self.arena.dtype.char
        self.is_all = sum(tensor._layout.size for tensor in tensors) == self.arena.data.size
        # Whether data and gradients may be changed without asking the tensors.
        self.plain = all(is_plain(tensor, Tensor) for tensor in tensors)
        self._replaced = [tensor._replaced for tensor in tensors]
        self._decays = [tensor.decays for tensor in tensors]
        self._places = [(tensor._place.offset, tensor._layout.size) for tensor in tensors]
        self._far = kept.size
        self._plans: dict[Any, np.ndarray] = {}
        self.next_plan = np.zeros(0, np.int64)  # that of the next step
        self._trained: tuple[Any, Any] = (None, False), None

    def has_changed(self) -> bool:
        """Whether the tensors have moved, have other methods, or decay otherwise now."""
        return (
            self.arena.dead
            or self._replaced != [tensor._replaced for tensor in self.tensors]
            or self._decays != [tensor.decays for tensor in self.tensors]
        )

    def block(self, settings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is kept, and the block of an update by `next_plan` with these settings.

        All stands where the block says for as long as this object and the settings do.
        """
        block = block_of_update(self.next_plan, self.data, self.grad, self.arena.flags, settings)
        return self.kept[np.newaxis], block

    def trained_in(self, program: Any, apart: bool, parameters: Sequence[Tensor]) -> Any:
        """What `program.trained_by` says of all parameters of the optimizer, which stay the same while this stands."""
        asked = weakref.ref(program), apart
        if asked != self._trained[0]:
            self._trained = asked, program.trained_by(parameters, apart)
        return self._trained[1]

    def plan(self, backend: Any, names: Names, counts: bool, apart: bool) -> np.ndarray:
        """How a backend updates these.

        The rule may count updates; the tensors that do not decay may stand `apart`, with numbers of their own.
        """
        key = backend.update, names, counts, apart
        if key not in self._plans:
            numbers = [0 if decays or not apart else RULE_NUMBERS for decays in self._decays]
            ranges = [(*place, of) for place, of in zip(self._places, numbers, strict=True)]
            self._plans[key] = planned(backend, names, self.char, self._far, counts, side_by_side(ranges), self._places)
        return self._plans[key]


def planned(
    backend: Any,
    names: Names,
    char: str,
    far: int,
    counts: bool,
    ranges: Sequence[tuple[int, int, int]],
    tensors: Sequence[tuple[int, int]],
) -> np.ndarray:
    """A plan, as kernels take it (see `fastnp.kernels.table`)."""
    plan = np.zeros(PLAN_COLUMNS, np.int64)
    plan[[BEGIN, FLAT, SQUARES]] = [backend.parts[name, char] if name else 0 for name in names]
    plan[FAR], plan[SETS], plan[COUNTS] = far, 1 + any(of for _, _, of in ranges), counts
    plan[RANGES], plan[TENSORS] = len(ranges), len(tensors)
    return np.concatenate([plan, np.ravel(ranges), np.ravel(tensors)]).astype(np.int64)


def sums_of_squares(
    backend: Any, name: str, all_held: Sequence[Held], tensors: Sequence[Tensor]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Plans, and the gradients that each sums up: added up they give that of all tensors, one after the other.

    That sum has the same bits however the tensors are spread over arenas.
    """
    if len(all_held) == 1:
        return [(all_held[0].next_plan, all_held[0].grad)]
    only = Names("", squares=name)
    places = [(tensor._place, tensor._layout.size) for tensor in tensors]
    return [
        (planned(backend, only, place.arena.dtype.char, 0, False, [], [(place.offset, size)]), place.arena.grad)
        for place, size in places
    ]


def side_by_side(ranges: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Ranges (start, size, what), in their order in storage, joined where nothing lies between."""
    joined: list[tuple[int, int, int]] = []
    for start, size, what in sorted(ranges):
        if joined and joined[-1][2] == what and joined[-1][0] + joined[-1][1] == start:
            joined[-1] = joined[-1][0], joined[-1][1] + size, what
        else:
            joined.append((start, size, what))
    return joined
