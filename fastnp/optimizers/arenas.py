"""Optimizers whose rule kernels know: what they keep of the parameters is laid out as these are."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .. import overrides
from ..arrays import real_array
from ..backend import kernels
from ..checks import check_flag, check_positive, shown
from ..overrides import Checks, is_own, put, seen
from ..program.op import Rule, own_of
from ..tensor import Tensor
from .kept import Held, Kept, Names, Where, sums_of_squares
from .optimizer import Optimizer, check_parameters
from .pace import rates_ahead
from .singly import SQUARES_PART, step_by_tensor

# What the next steps need: the backend that plans are made for, settings as an array, and what sums up squares.
_NOT_LINKED = None, None, None
_set = object.__setattr__


def _check_norm(owner: str, name: str, value: Any) -> float | None:
    return None if value is None else check_positive(owner, name, value)


class KeptArrays:
    """An attribute: the list of the arrays of one kind that an optimizer keeps, one for each parameter."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        return self if optimizer is None else optimizer._arrays_kept(self._name)

    def __set__(self, optimizer: Any, values: Any) -> None:
        optimizer._set_arrays_kept(self._name, values)


class ArenaOptimizer(Optimizer):
    """An optimizer whose class declares, in `_kernel_rule`, a rule of the kernels and what it keeps.

    The class has a `KeptArrays` for each name of what is kept, `_kernel_settings`, and `_exact_update`, by which
    `cross_check` judges it.
    """

    _checks: ClassVar[Checks] = {"decay_bias": check_flag, "clip_norm": _check_norm}
    _kernel_rule: ClassVar[Rule]
    _decays_apart = False  # not by the gradients, but before the step
    decay_bias = True
    clip_norm: float | None = None

    # Of this process: where things are, and when that was seen.
    _held_arenas: Sequence[Held] = ()
    _places_kept: Mapping[int, Where] = MappingProxyType({})  # by the id of a tensor
    _laid_out: Sequence[Tensor] = ()
    _kinds_kept: tuple[str, ...] = ()
    _by_kernel = False
    _as_of = -1
    _linked_to: tuple[Any, Any, Any] = _NOT_LINKED

    def __init__(
        self,
        parameters: Iterable[Tensor],
        learning_rate: float | Callable[[int], float],
        weight_decay: float,
        decay_type: str,
        decay_bias: bool,
        clip_norm: float | None,
    ):
        super().__init__(parameters, learning_rate, weight_decay, decay_type)
        self.decay_bias, self.clip_norm = decay_bias, clip_norm
        self._lay_out(list(self.parameters))

    def _rule_name(self) -> str:
        """The name of the rule, or of the variant of it that the settings ask for."""
        return self._kernel_rule.name

    def _kernel_settings(self, weight_decay: float) -> tuple[float, ...]:
        """The settings as the rule takes them, with this weight decay."""
        raise NotImplementedError

    def _exact_update(self, rate: Any, t: Any, p: Any, g: Any, before: Any, now: Any) -> Iterator[Any]:
        """What update t makes of each kind of what is kept, and then of the parameters p, in any precision.

        Clipping and decay have been seen to. `before` and `now` have what is kept; p follows from what is there now.
        """
        raise NotImplementedError

    # --- where things are ---

    def _lay_out(self, parameters: list[Tensor]) -> None:
        """Find out anew what lies in which arena, taking what is kept along."""
        kept: dict[int, Kept] = {}
        groups: dict[int, list[Tensor]] = {}
        for tensor in parameters:
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
        put(self, _places_kept=places, _held_arenas=held, _linked_to=_NOT_LINKED)
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

    # --- stepping ---

    def _kernel_plan(self, held: Held, backend: Any, *roles: str) -> np.ndarray:
        """How a backend updates what is held in one arena: with what makes the numbers, and parts of these roles."""
        names = {role: f"updates.{self._rule_name()}.{role}" for role in ("begin", *roles) if role != "squares"}
        if self.clip_norm is not None and "squares" in roles:
            names["squares"] = SQUARES_PART
        return held.plan(backend, Names(**names), self._kernel_rule.counts, not self.decay_bias)

    def _kernel_sets(self) -> np.ndarray:
        """The settings of the rule, once for what decays and once for what does not, as kernels take them."""
        return np.array([self._kernel_settings(weight_decay) for weight_decay in (self.weight_decay, 0.0)])

    def _kernel_rates(self, count: int) -> tuple[np.ndarray, Exception | None]:
        """The learning rates of the next updates, or of those before one that has none, and the error of that.

        Where there is no schedule, one number stands for all.
        """
        if self._paced_by is None:
            return np.array([self.learning_rate]), None
        return rates_ahead(type(self).__name__, self._paced_by, self.updates, count)

    def _link_to(self, backend: Any) -> tuple[Any, Any, Any]:
        """Find out what the next steps need of a backend."""
        for held in self._held_arenas:
            held.next_plan = self._kernel_plan(held, backend, "flat", "squares")
        clips = self.clip_norm is not None
        sums = sums_of_squares(backend, SQUARES_PART, self._held_arenas, list(self.parameters)) if clips else ()
        linked = backend, self._kernel_sets(), sums
        if own_of(self, "_kernel_rule", Rule) is not None:  # else settings may be what a method gives
            put(self, _linked_to=linked)
        return linked

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        put(self, _linked_to=_NOT_LINKED)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        put(self, _linked_to=_NOT_LINKED)

    def step(self) -> None:
        rate, backend = self.learning_rate, kernels()  # first, for a schedule of the user's may do anything
        all_held, done, linked = self._kernel_held(), self.updates, self._linked_to
        if self._by_kernel:
            if linked[0] is not backend:
                linked = self._link_to(backend)
            clip_norm = self.clip_norm or 0.0
            squares = self._squares_together(backend, linked[2]) if clip_norm else 0.0
            for held in all_held:
                held.arena.write_cleared()
                backend.update(
                    held.next_plan, held.data, held.kept, held.grad, linked[1], rate, done, squares, clip_norm
                )
        else:
            step_by_tensor(self, backend, rate)
        _set(self, "updates", done + 1)

    step.counts_updates = step.is_of_kernels = True  # type: ignore[attr-defined]

    def _squares_together(self, backend: Any, sums: Any) -> float:
        """The square of the norm of all gradients together."""
        for held in self._held_arenas:
            held.arena.write_cleared()
        squares = 0.0
        for plan, gradients in sums:
            squares += backend.squares(plan, gradients)
        return squares

    def clear_grad(self) -> None:
        for held in self._kernel_held():
            if held.is_all and held.plain:
                held.arena.clear_gradients()
            else:
                for tensor in held.tensors:
                    tensor.clear_grad()

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


_OF_THIS_PROCESS = ("_held_arenas", "_places_kept", "_laid_out", "_kinds_kept", "_by_kernel", "_as_of", "_linked_to")
