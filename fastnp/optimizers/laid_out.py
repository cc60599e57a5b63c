"""Optimizers that keep something of each parameter, laid out as these are."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import overrides
from ..arrays import real_array
from ..checks import shown
from ..overrides import is_own, put, seen
from ..program.op import Rule
from ..tensor import Tensor
from .kept import Held, Kept, Where
from .optimizer import Optimizer, check_parameters


class KeptArrays:
    """An attribute: the list of the arrays of one kind that an optimizer keeps, one for each parameter."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        return self if optimizer is None else optimizer._arrays_kept(self._name)

    def __set__(self, optimizer: Any, values: Any) -> None:
        optimizer._set_arrays_kept(self._name, values)


class LaidOut(Optimizer):
    """An optimizer whose class declares, in `_kernel_rule`, a rule of the kernels and what it keeps.

    The class has a `KeptArrays` for each name of what is kept.
    """

    _kernel_rule: ClassVar[Rule]

    # Of this process: where things are, and when that was seen.
    _held_arenas: Sequence[Held] = ()
    _places_kept: Mapping[int, Where] = MappingProxyType({})  # by the id of a tensor
    _laid_out: Sequence[Tensor] = ()
    _kinds_kept: tuple[str, ...] = ()
    _by_kernel = False
    _as_of = -1

    def _unlink(self) -> None:
        """What the next steps need has to be found anew."""

    def _lay_out(self, parameters: list[Tensor]) -> None:
        """Find out anew what lies in which arena, taking what is kept along."""
        kept: dict[int, Kept] = {}
        groups: dict[int, list[Tensor]] = {}
        for tensor in parameters:
            if tensor._place.arena.dead:  # which kernels do not touch: others that were there moved away
                tensor._place.arena.leave()
            arena = tensor._place.arena
            groups.setdefault(id(arena), []).append(tensor)
            if id(arena) not in kept:
                kept[id(arena)] = Kept(arena, len(self._kernel_rule.kept))
            if id(tensor) in self._places_kept:
                for new, old in zip(kept[id(arena)].of(tensor), self._kept_of(tensor), strict=True):
                    new[...] = old
        held = [Held(tensors, kept[arena_id]) for arena_id, tensors in groups.items()]
        places = {id(t): Where(t, kept[id(t._place.arena)], t._layout, t._place.offset) for t in parameters}
        put(self, _laid_out=[])  # Ctrl-C between any two lines: then all of it is laid out once more
        put(self, _places_kept=places, _held_arenas=held)
        self._unlink()
        put(self, _kinds_kept=self._kernel_rule.kept, _laid_out=parameters)

    def _kept_of(self, tensor: Tensor) -> list[np.ndarray]:
        where = self._places_kept[id(tensor)]
        return where.kept.at(where.layout, where.offset)

    def _kernel_held(self) -> Sequence[Held]:
        """Where the parameters are now, with what is kept of them."""
        if self._as_of != overrides.changes:
            self._follow_changes()
        return self._held_arenas

    def _follow_changes(self) -> None:
        """Lay out anew where parameters have come, gone or moved, or where it is no longer known whose methods run."""
        as_of, kinds = overrides.changes, self._kernel_rule.kept
        if kinds != self._kinds_kept:  # the optimizer was made one of another class, which finds nothing kept
            put(self, _places_kept={}, _laid_out=(), _kinds_kept=kinds)
        if self.parameters != self._laid_out or any(held.has_changed() for held in self._held_arenas):
            self._lay_out(check_parameters(type(self).__name__, "parameters", self.parameters))
        by_kernel = is_own(self, Optimizer, "get_decay") and all(held.plain for held in self._held_arenas)
        put(self, _by_kernel=by_kernel, _as_of=seen(self.parameters, as_of))

    # --- what is kept ---

    def _arrays_kept(self, name: str) -> list[np.ndarray]:
        self._kernel_held()
        kind = self._kernel_rule.kept.index(name)
        return [self._kept_of(tensor)[kind] for tensor in self.parameters]

    def _set_arrays_kept(self, name: str, values: Any) -> None:
        owner = type(self).__name__
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"{owner}: {name} must be a list of arrays, one for each parameter, got {shown(values)}")
        mine = self._arrays_kept(name)
        # Copies, for these may be the arrays themselves, in another order.
        new = [np.array(real_array(value, f"{owner}: {name}[{i}]")) for i, value in enumerate(values)]
        if [v.shape for v in new] != [v.shape for v in mine]:
            shapes, got = ([v.shape for v in arrays] for arrays in (mine, new))
            raise ValueError(f"{owner}: {name} needs arrays of the shapes {shapes}; got {got}")
        for array, value in zip(mine, new, strict=True):
            array[...] = value

    def bind(self, parameters: Iterable[Tensor]) -> None:
        kept = {name: self._arrays_kept(name) for name in self._kernel_rule.kept}
        super().bind(parameters)
        for name, arrays in kept.items():
            self._set_arrays_kept(name, arrays)

    # --- pickles ---

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in super().__getstate__().items() if key not in _OF_THIS_PROCESS}
        return state | {name: [array.copy() for array in self._arrays_kept(name)] for name in self._kernel_rule.kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = {name: state.pop(name) for name in self._kernel_rule.kept}
        put(self, _as_of=-1)  # it may have had other parameters
        super().__setstate__(state)
        for name, arrays in kept.items():
            self._set_arrays_kept(name, arrays)


_OF_THIS_PROCESS = (
    "_held_arenas", "_places_kept", "_laid_out", "_kinds_kept", "_by_kernel", "_as_of", "_linked_to", "_kernel_ready",
)  # fmt: skip
