"""What an optimizer makes of parameters, and of what it keeps, beside what its class says."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..checks import shown
from ..optimizers.pace import rate_at
from ..program.op import Rule, own_of
from .exact import unit, wide
from .rounded import Rounded

Row = tuple[Any, str, np.ndarray, np.ndarray, np.ndarray]
SQUARES = 2.0**-1000, 2.0**1000  # what sums of squares, in double, are judged between


def rule_of(optimizer: Any) -> Rule | None:
    """The rule of an optimizer, or None where it is not fastnp's own."""
    rule: Rule | None = own_of(optimizer, "_kernel_rule", Rule)
    return rule


def check_holds(optimizer: Any, parameters: list[Any]) -> None:
    """Raise TypeError for what is no optimizer, ValueError for one that holds none of these tensors."""
    if isinstance(optimizer, type) or not hasattr(optimizer, "step"):
        raise TypeError(f"cross_check: optimizer must be an object with step(), got {shown(optimizer)}")
    of_model = {id(tensor) for tensor in parameters}
    if not any(id(tensor) in of_model for tensor in optimizer.parameters):
        raise ValueError(
            "cross_check: the optimizer holds none of the model's parameters, it would change nothing; "
            "make it with parameters=model.parameters(), or bind(model.parameters()) one that was copied alone"
        )


def update_rows(optimizer: Any) -> Iterator[Row]:
    """A few updates by the same gradients: of each tensor, what was got of it and of what is kept of it, the exact
    numbers, and how far apart they may be.

    The second update needs what the first has kept; in a third, what counts updates is told from what only knows the
    first. Numbers are those of the settings, in double. A parameter is judged by what was kept, for that is judged
    itself; what is kept may be 0 where it is below the smallest normal number.
    """
    rule, done = rule_of(optimizer), getattr(optimizer, "updates", 0)
    if rule is None:
        for _ in range(2):
            optimizer.step()
        return
    for step in range(1, 4 if rule.counts else 3):
        schedule, rate = optimizer.schedule, optimizer.learning_rate
        if schedule is not None:  # which is asked for what is the count here
            rate = rate_at(type(optimizer).__name__, schedule, done + step - 1)
        before = [_seen(optimizer, rule, i) for i in range(len(optimizer.parameters))]
        factor = _clipping(optimizer)
        optimizer.step()
        for i, tensor in enumerate(optimizer.parameters):
            p, *old = before[i]
            g = Rounded(wide(tensor.grad), tensor.dtype)
            numbers = Rounded.setting(rate), Rounded.setting(done + step)
            now, got = _seen(optimizer, rule, i), [*_kept(optimizer, rule, i), tensor.data]
            with np.errstate(all="ignore"):
                p, g = _decayed(optimizer, tensor, numbers[0], p, g if factor is None else g * factor)
                made = list(optimizer._exact_update(*numbers, p, g, old, now[1:]))
            for what, is_now, exact in zip((*rule.kept, "data"), got, made, strict=True):
                bound = exact.error + (0 if what == "data" else float(np.finfo(tensor.dtype).tiny))
                bound = np.broadcast_to(np.where(np.isnan(bound), np.inf, bound), is_now.shape)
                yield tensor, f"{what}, step {step}", is_now, np.broadcast_to(exact.value, is_now.shape), bound


def _kept(optimizer: Any, rule: Rule, i: int) -> list[np.ndarray]:
    return [getattr(optimizer, name)[i] for name in rule.kept]


def _seen(optimizer: Any, rule: Rule, i: int) -> list[Rounded]:
    """A parameter and what is kept of it, as they are now."""
    tensor = optimizer.parameters[i]
    return [Rounded(wide(array), tensor.dtype) for array in (tensor.data, *_kept(optimizer, rule, i))]


def _clipping(optimizer: Any) -> Rounded | None:
    """What all gradients are multiplied by, or None where they stay as they are."""
    clip_norm = optimizer.clip_norm
    if clip_norm is None:
        return None
    gradients = [np.asarray(wide(tensor.grad), np.longdouble) for tensor in optimizer.parameters]
    squares, double = sum(np.sum(np.square(g)) for g in gradients), unit(np.float64)
    # In double, of so many terms, each of them rounded.
    error = (sum(g.size for g in gradients) + 2) * double * squares
    norm = Rounded.setting(squares, error if squares == 0 or SQUARES[0] < squares < SQUARES[1] else np.inf) ** 0.5
    if norm.value + norm.error <= clip_norm:
        return None
    factor = clip_norm / norm
    return Rounded.setting(np.minimum(factor.value, 1), factor.error)


def _decayed(optimizer: Any, tensor: Any, rate: Rounded, p: Rounded, g: Rounded) -> tuple[Rounded, Rounded]:
    """The parameter, where it decays by itself, and else the gradient, with the decay."""
    if not (optimizer.weight_decay and (optimizer.decay_bias or tensor.decays)):
        return p, g
    of = p.sign() if optimizer.decay_type == "l1" else p
    if optimizer._decays_apart:
        return p - rate * optimizer.weight_decay * of, g
    return p, g + optimizer.weight_decay * of
