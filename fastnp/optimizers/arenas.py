"""Optimizers whose rule kernels know: what they keep of the parameters is laid out as these are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import backend, overrides
from ..backend import kernels, local
from ..checks import check_flag, check_positive
from ..kernels.blocks import STALE
from ..kernels.table import SOON
from ..overrides import Checks, put
from ..program.op import Rule, own_of
from ..tensor import Tensor
from .kept import Held, Names, sums_of_squares
from .laid_out import LaidOut
from .optimizer import Optimizer
from .pace import rates_ahead
from .singly import SQUARES_PART, step_by_tensor

# What the next steps need: the backend that plans are made for, settings as an array, and what sums up squares.
_NOT_LINKED = None, None, None
NOT_READY = -1, "", (), None
_set = object.__setattr__


def _check_norm(owner: str, name: str, value: Any) -> float | None:
    return None if value is None else check_positive(owner, name, value)


class ArenaOptimizer(LaidOut):
    """An optimizer whose class declares, in `_kernel_rule`, a rule of the kernels and what it keeps.

    The class has a `KeptArrays` for each name of what is kept, `_kernel_settings`, and `_exact_update`, by which
    `cross_check` judges it.
    """

    _checks: ClassVar[Checks] = {"decay_bias": check_flag, "clip_norm": _check_norm}
    _decays_apart = False  # not by the gradients, but before the step
    decay_bias = True
    clip_norm: float | None = None

    # Of this process:
    _linked_to: tuple[Any, Any, Any] = _NOT_LINKED
    # Where nothing has changed, the next step takes these, a tuple that is set at once: as of when that is, the name of
    # the backend, what to call for each arena, with what, and what that names; and the flags of the arenas, where all
    # that is in these is cleared together, or None.
    _kernel_ready: tuple[Any, ...] = NOT_READY

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

    # --- stepping ---

    def _kernel_plan(self, held: Held, running: Any, *roles: str) -> np.ndarray:
        """How a backend updates what is held in one arena: with what makes the numbers, and parts of these roles."""
        names = {role: f"updates.{self._rule_name()}.{role}" for role in ("begin", *roles) if role != "squares"}
        if self.clip_norm is not None and "squares" in roles:
            names["squares"] = SQUARES_PART
        return held.plan(running, Names(**names), self._kernel_rule.counts, not self.decay_bias)

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

    def _link_to(self, running: Any) -> tuple[Any, Any, Any]:
        """Find out what the next steps need of a backend."""
        put(self, _kernel_ready=NOT_READY)
        for held in self._held_arenas:
            held.next_plan = self._kernel_plan(held, running, "flat", "squares")
        clips = self.clip_norm is not None
        sums = sums_of_squares(running, SQUARES_PART, self._held_arenas, list(self.parameters)) if clips else ()
        linked = running, self._kernel_sets(), sums
        if own_of(self, "_kernel_rule", Rule) is not None:  # else settings may be what a method gives
            put(self, _linked_to=linked)
        return linked

    def _unlink(self) -> None:
        put(self, _kernel_ready=NOT_READY, _linked_to=_NOT_LINKED)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "learning_rate":
            self._unlink()  # first, for Ctrl-C may come in between
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._unlink()
        super().__delattr__(name)

    def step(self) -> None:
        paced = self._paced_by is not None
        rate = self.learning_rate if paced else self._fixed_rate  # first, for a schedule of the user's may do anything
        as_of, name, steps, _ = self._kernel_ready
        if as_of == overrides.changes and (local() or backend.process) is name:
            done = self.updates
            for step, kept, block, held, _ in steps:
                if step(kept, block, rate, done):
                    held.arena.write_cleared()
                    stopped = step(kept, block, rate, done)
                    assert not stopped
            _set(self, "updates", done + 1)
        else:
            self._step_carefully(rate if paced else self.learning_rate)

    step.counts_updates = step.is_of_kernels = True  # type: ignore[attr-defined]

    def _step_carefully(self, rate: Any) -> None:
        running, all_held, done, linked = kernels(), self._kernel_held(), self.updates, self._linked_to
        if not self._by_kernel:
            step_by_tensor(self, running, rate)
            _set(self, "updates", done + 1)
            return
        if linked[0] is not running:
            linked = self._link_to(running)
        for held in all_held:
            held.arena.write_cleared()
        if self.clip_norm is not None:
            self._step_clipped(running, linked, rate)
            return
        steps = self._kernel_steps(running, linked[1])
        for step, kept, block, _, _ in steps:
            stopped = step(kept, block, rate, done)
            assert not stopped
        _set(self, "updates", done + 1)
        if self._linked_to is linked and type(self).learning_rate is Optimizer.learning_rate:
            self._get_ready(steps)

    def _step_clipped(self, running: Any, linked: tuple[Any, Any, Any], rate: float) -> None:
        """A step by gradients that may be clipped by the norm of all together."""
        _, settings, sums = linked
        clip_norm, squares, done = self.clip_norm or 0.0, 0.0, self.updates
        for plan, gradients in sums:
            squares += running.squares(plan, gradients)
        for held in self._held_arenas:
            arrays = held.data, held.kept, held.grad, settings
            running.update(held.next_plan, *arrays, rate, done, squares, clip_norm)
        _set(self, "updates", done + 1)

    def _kernel_steps(self, running: Any, settings: np.ndarray) -> list[tuple[Any, ...]]:
        """For each arena what to call, with what, and what that names."""
        steps = [running.steps["update", held.char, held.data.size <= SOON] for held in self._held_arenas]
        return [
            (step, *held.block(settings), held, settings) for step, held in zip(steps, self._held_arenas, strict=True)
        ]

    def _get_ready(self, steps: Sequence[tuple[Any, ...]]) -> None:
        """From now on steps are made by these, if nothing changes."""
        flags = [held.arena.flags for held in self._held_arenas if held.is_all and held.plain]
        of_all = flags if len(flags) == len(steps) else None
        put(self, _kernel_ready=(self._as_of, local() or backend.process, steps, of_all))

    def clear_grad(self) -> None:
        as_of, _, _, of_all = self._kernel_ready
        if as_of == overrides.changes and of_all is not None:
            for flags in of_all:
                flags[STALE] = 1
            return
        for held in self._kernel_held():
            if held.is_all and held.plain:
                held.arena.clear_gradients()
            else:
                for tensor in held.tensors:
                    tensor.clear_grad()
