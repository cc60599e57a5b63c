"""Optimizers whose rule kernels know: what they keep of the parameters is laid out as these are."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import overrides
from ..arrays import aligned_zeros, real_array
from ..backend import kernels
from ..checks import shown
from ..overrides import is_own, put, seen
from ..program.op import Rule
from ..tensor import Tensor
from .kept import Kept, Range, Where, side_by_side
from .optimizer import Optimizer, check_parameters


class KeptArrays:
    """An attribute: the list of the arrays of one kind that an optimizer keeps, one for each parameter."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        return self if optimizer is None else optimizer._arrays(self._name)

    def __set__(self, optimizer: Any, values: Any) -> None:
        optimizer._set_arrays(self._name, values)


class ArenaOptimizer(Optimizer):
    """An optimizer whose class declares, in `_kernel_rule`, a rule of the kernels and what it keeps.

    The class has a `KeptArrays` for each name of what is kept, and `_kernel_numbers`.
    """

    _kernel_rule: ClassVar[Rule]
    _flat: ClassVar[str]  # the part that applies the rule to gradients that were kept

    # Of this process: where things are, and when that was seen.
    _ranges: Sequence[Range] = ()
    _places_kept: Mapping[int, Where] = MappingProxyType({})  # by the id of a tensor
    _laid_out: Sequence[Tensor] = ()
    _by_kernel = False
    _as_of = -1
    _linked: tuple[Any, tuple[float, ...]] = None, ()  # what the ranges are ready for: a backend, and numbers

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._flat = f"updates.{cls._kernel_rule.name}.flat"

    def __init__(self, parameters: Iterable[Tensor], *settings: Any):
        super().__init__(parameters, *settings)
        self._lay_out(list(self.parameters))

    def _kernel_numbers(self, decayed: bool = False) -> tuple[float, ...]:
        """The numbers of the rule for the next step; where the gradients are `decayed` already, without the decay."""
        raise NotImplementedError

    # --- where things are ---

    def _lay_out(self, parameters: list[Tensor]) -> None:
        """Find the ranges of these parameters anew, taking what is kept along."""
        kept: dict[int, Kept] = {}
        for tensor in parameters:
            arena = tensor._place.arena
            if id(arena) not in kept:
                kept[id(arena)] = Kept(arena, len(self._kernel_rule.kept))
            if id(tensor) in self._places_kept:
                for new, old in zip(kept[id(arena)].of(tensor), self._kept_of(tensor), strict=True):
                    new[...] = old
        ranges = [Range(tensors, kept[id(tensors[0]._place.arena)]) for tensors in side_by_side(parameters)]
        places = {id(t): Where(t, kept[id(t._place.arena)], t._layout, t._place.offset) for t in parameters}
        put(self, _laid_out=[])  # Ctrl-C between any two lines: then all of it is laid out once more
        put(self, _places_kept=places, _ranges=ranges, _linked=(None, ()))
        put(self, _laid_out=parameters)

    def _kept_of(self, tensor: Tensor) -> list[np.ndarray]:
        where = self._places_kept[id(tensor)]
        return where.kept.at(where.layout, where.offset)

    def ranges(self) -> Sequence[Range]:
        """Where the parameters are now, with what is kept of them."""
        if self._as_of != overrides.changes:
            self._follow()
        return self._ranges

    def _follow(self) -> None:
        """Lay out anew where parameters have come, gone or moved, or where it is no longer known whose methods run."""
        as_of = overrides.changes
        if self.parameters != self._laid_out or any(r.has_changed() for r in self._ranges):
            self._lay_out(check_parameters(type(self).__name__, "parameters", self.parameters))
        by_kernel = is_own(self, Optimizer, "get_decay") and all(r.plain for r in self._ranges)
        put(self, _by_kernel=by_kernel, _as_of=seen(self.parameters, as_of))

    # --- what is kept ---

    def _arrays(self, name: str) -> list[np.ndarray]:
        self.ranges()
        kind = self._kernel_rule.kept.index(name)
        return [self._kept_of(tensor)[kind] for tensor in self.parameters]

    def _set_arrays(self, name: str, values: Any) -> None:
        owner = type(self).__name__
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"{owner}: {name} must be a list of arrays, one for each parameter, got {shown(values)}")
        mine = self._arrays(name)
        # Copies, for these may be the arrays themselves, in another order.
        new = [np.array(real_array(value, f"{owner}: {name}[{i}]")) for i, value in enumerate(values)]
        if [v.shape for v in new] != [v.shape for v in mine]:
            shapes, got = ([v.shape for v in arrays] for arrays in (mine, new))
            raise ValueError(f"{owner}: {name} needs arrays of the shapes {shapes}; got {got}")
        for array, value in zip(mine, new, strict=True):
            array[...] = value

    def bind(self, parameters: Iterable[Tensor]) -> None:
        kept = {name: self._arrays(name) for name in self._kernel_rule.kept}
        super().bind(parameters)
        for name, arrays in kept.items():
            self._set_arrays(name, arrays)

    # --- stepping ---

    def _link(self, backend: Any, numbers: tuple[float, ...]) -> None:
        """Give each range the part that updates it, and the numbers of the next step as that takes them."""
        for r in self._ranges:
            r.part, r.numbers = backend.parts[self._flat, r.char], np.array(numbers, r.char)
        put(self, _linked=(backend, numbers))

    def _numbers_as(self, dtype: np.dtype) -> np.ndarray:
        """The numbers of the next step as a kernel takes them."""
        return np.array(self._kernel_numbers(), dtype)

    def step(self) -> None:
        ranges, backend, numbers = self.ranges(), kernels(), self._kernel_numbers()
        if not self._by_kernel:
            self._step_by_tensor()
            return
        linked = self._linked
        if linked[0] is not backend or linked[1] != numbers:
            self._link(backend, numbers)
        for r in ranges:
            r.arena.write_cleared()
            backend.update(r.part, r.data, r.kept, r.far, r.grad, r.numbers)

    def _step_by_tensor(self) -> None:
        """The update where `get_decay` or a tensor is of the user's own: both are asked for what they give."""
        own_decay = is_own(self, Optimizer, "get_decay")
        for tensor in self.parameters:
            layout, dtype = tensor._layout, tensor.dtype
            p, g = aligned_zeros(layout.size, dtype), aligned_zeros(layout.size, dtype)
            kept = aligned_zeros(layout.size * len(self._kernel_rule.kept), dtype)
            data, gradient = layout.view(p), layout.view(g)
            arrays = [layout.view(kept, kind * layout.size) for kind in range(len(self._kernel_rule.kept))]
            data[...], gradient[...] = tensor.data, tensor.grad
            for array, value in zip(arrays, self._kept_of(tensor), strict=True):
                array[...] = value
            if not own_decay:
                gradient += self.get_decay(tensor.data)
            numbers = np.array(self._kernel_numbers(decayed=not own_decay), dtype)
            part = kernels().parts[self._flat, dtype.char]
            kernels().update(part, p, kept, layout.size, g, numbers)
            for array, value in zip(self._kept_of(tensor), arrays, strict=True):
                array[...] = value
            tensor.data = data

    def clear_grad(self) -> None:
        for r in self.ranges():
            if r.whole_arena and r.plain:
                r.arena.clear_gradients()
            else:
                for tensor in r.tensors:
                    tensor.clear_grad()

    # --- pickles ---

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in super().__getstate__().items() if key not in _OF_THIS_PROCESS}
        return state | {name: [array.copy() for array in self._arrays(name)] for name in self._kernel_rule.kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kept = {name: state.pop(name) for name in self._kernel_rule.kept}
        super().__setstate__(state)
        for name, arrays in kept.items():
            self._set_arrays(name, arrays)


_OF_THIS_PROCESS = ("_ranges", "_places_kept", "_laid_out", "_by_kernel", "_as_of", "_linked")
