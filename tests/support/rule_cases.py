"""Cases of the rules of optimizers, which `RULES` lists: a new rule is a row of it.

From a row follow three cases: the rule in the part of `Linear` and in that of layer normalization, and by itself on
gradients that were kept. `train` in `program_cases` takes any of the rules.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from calls import fill
from operation_cases import after_forward, alone, layer_norm, runs_part

from fastnp.kernels import padded


class Rule(NamedTuple):
    """What a rule keeps of each parameter, and its numbers.

    `kept` has a letter for each kind, in their order, with what makes it from numbers of any sign, for those that
    have one sign only. `numbers` gives those of the rule by its settings, all of which have defaults.
    """

    kept: dict[str, Callable[[np.ndarray], np.ndarray]]
    numbers: Callable[..., tuple[float, ...]]


def _momentum(learning_rate=0.01, momentum=0.9, weight_decay=0.0, l1=False):
    return learning_rate, momentum, weight_decay, l1


RULES = {
    "momentum": Rule({"v": np.asarray}, _momentum),
}


def _linear(call, case, rng, draw, rule, numbers=None):
    """As `linear_parameters`, and the update of w and b by these gradients at once."""
    op = alone(call, "linear.linear", case, len(RULES[rule].kept))
    for name, shape in ("w", (case.n_in, case.n_out)), ("b", (1, case.n_out)):
        fill(call[name], draw(rng, shape), 0)
        _keep(call, op, rule, name, rng, draw, shape)
    fill(call["dy"], draw(rng, (case.batch, case.n_out)), 0)
    fill(call["x"], draw(rng, (case.batch, case.n_in)))
    _updates(call, rule, numbers)


def _layer_norm(call, case, rng, draw, rule, numbers=None, far=1.0):
    """As `layer_norm_parameters`, and the update of w and b by these gradients at once."""
    op, shape = layer_norm(call, case, rng, draw, far, len(RULES[rule].kept))
    fill(call["dy"], draw(rng, shape), 0)
    after_forward(call, case)
    for name in "w", "b":
        _keep(call, op, rule, name, rng, draw, (1, case.n_out))
    _updates(call, rule, numbers)


def _keep(call, op, rule, name, rng, draw, shape):
    """Draw what is kept of w or b, as `vw` where its letter is v; parameter and kept may be written."""
    call.allow(call[name])
    kinds = op.padded("weights_kept" if name == "w" else "bias_kept")
    for (letter, made), kind in zip(RULES[rule].kept.items(), kinds, strict=True):
        fill(kind, made(draw(rng, shape)), 0)
        call.allow(kind)
        call.arguments[letter + name] = kind


def _updates(call, rule, numbers):
    call.arguments["numbers"] = RULES[rule].numbers() if numbers is None else numbers
    runs_part(call, "parameters", rule)


def _flat(call, case, rng, draw, rule, **settings):
    """The rule by itself: p, g and, under its letter, each kind of what is kept, all flat; between kinds are NaNs."""
    batch, _, n = case
    ld, kept = padded(n, call.dtype.itemsize), RULES[rule].kept
    size, gap = batch * ld, 64 // call.dtype.itemsize
    call.arguments["p"] = call.array(draw(rng, (batch, n)), ld, written=batch).reshape(-1)
    call.arguments["kept"] = flat = call.flat(len(kept) * (size + gap) - gap)
    for kind, (letter, made) in enumerate(kept.items()):
        call.arguments[letter] = flat[kind * (size + gap) :][:size]
        fill(call[letter].reshape(batch, ld), made(draw(rng, (batch, n))), 0)
        call.allow(call[letter])
    call.arguments["g"] = call.array(draw(rng, (batch, n)), ld).reshape(-1)
    numbers = np.array(RULES[rule].numbers(**settings), call.dtype)

    def make(kernels):
        part = kernels.parts[f"updates.{rule}.flat", call.dtype.char]
        kernels.update(part, call["p"], call["kept"], size + gap, call["g"], numbers)

    call.make = make


OF_RULES = {
    name: partial(builder, rule=rule)
    for rule in RULES
    for name, builder in (
        (f"linear_{rule}", _linear), (f"layer_norm_{rule}", _layer_norm), (f"{rule}_update", _flat),
    )
}  # fmt: skip
