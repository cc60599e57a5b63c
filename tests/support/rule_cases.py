"""Cases of the rules of optimizers, which `RULES` lists: a new rule is a row of it.

From a row follow four cases: the rule in both parts of `Linear` and in that of layer normalization, and by itself on
gradients that were kept. `train` in `program_cases` takes any of the rules.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from calls import fill
from operation_cases import after_forward, fill_weights, layer_norm, linear, runs_part

from fastnp.kernels import padded
from fastnp.kernels.reference import updates
from fastnp.kernels.table import RULE_NUMBERS
from fastnp.optimizers.kept import Names, planned


class Rule(NamedTuple):
    """What a rule keeps of each parameter, and its settings.

    `kept` has a letter for each kind, in their order, with what makes it from numbers of any sign, for those that
    have one sign only. `settings` gives those of the rule, all of which have defaults. It may be one that `counts`.
    """

    kept: dict[str, Callable[[np.ndarray], np.ndarray]]
    settings: Callable[..., tuple[float, ...]]
    counts: bool = False


def _momentum(momentum=0.9, weight_decay=0.0, l1=False):
    return momentum, weight_decay, l1


def _adam(beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, l1=False, apart=False, hat=False):
    return beta1, beta2, epsilon, weight_decay, l1, apart, hat


def _rmsprop(alpha=0.99, epsilon=1e-8, momentum=0.9, weight_decay=0.0, l1=False):
    return alpha, epsilon, momentum, weight_decay, l1


RULES = {
    "momentum": Rule({"v": np.asarray}, _momentum),
    "nesterov": Rule({"v": np.asarray}, _momentum),
    "rated_momentum": Rule({"v": np.asarray}, _momentum),
    "rated_nesterov": Rule({"v": np.asarray}, _momentum),
    "adam": Rule({"m": np.asarray, "v": np.square}, _adam, counts=True),
    "rmsprop": Rule({"v": np.square, "b": np.asarray}, _rmsprop),
    "rmsprop_momentum": Rule({"v": np.square, "b": np.asarray}, _rmsprop),
}


def begun(rule, dtype, learning_rate=0.01, done=4, **settings):
    """The numbers that the twin of a rule makes of these settings."""
    numbers = np.zeros(RULE_NUMBERS, dtype)
    getattr(updates, rule).begin(numbers, np.array(RULES[rule].settings(**settings), float), learning_rate, done)
    return numbers


def plan_of(kernels, rule, char, far, ranges, tensors=None):
    """The plan of a rule for ranges (start, size, offset of numbers), and tensors (start, size) that are clipped."""
    squares, tensors = ("", ()) if tensors is None else ("norm.gradients.squares", tensors)
    names = Names(f"updates.{rule}.begin", f"updates.{rule}.flat", squares)
    return planned(kernels, names, char, far, RULES[rule].counts, ranges, tensors)


def _linear(call, case, rng, draw, rule, of="linear", numbers=None):
    """As `linear_parameters`, and the update of w and b by these gradients at once."""
    op, case = linear(call, of, case, len(RULES[rule].kept))
    for name, shape in ("w", (case.n_in, case.n_out)), ("b", (1, case.n_out)):
        _fill(call, name, call[name], draw(rng, shape))
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


def _fill(call, name, view, values):
    fill_weights(call, view, values) if name == "w" else fill(view, values, 0)


def _keep(call, op, rule, name, rng, draw, shape):
    """Draw what is kept of w or b, as `vw` where its letter is v; parameter and kept may be written."""
    call.allow(call[name])
    kinds = op.padded("weights_kept" if name == "w" else "bias_kept")
    for (letter, made), kind in zip(RULES[rule].kept.items(), kinds, strict=True):
        _fill(call, name, kind, made(draw(rng, shape)))
        call.allow(kind)
        call.arguments[letter + name] = kind


def _updates(call, rule, numbers):
    call.arguments["numbers"] = begun(rule, call.dtype) if numbers is None else numbers
    runs_part(call, "parameters", rule)


def _flat(call, case, rng, draw, rule, learning_rate=0.01, done=4, squares=0.0, clip_norm=0.0, **settings):
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
    of_rule = np.array([RULES[rule].settings(**settings)], float)

    def make(kernels):
        plan = plan_of(kernels, rule, call.dtype.char, size + gap, [(0, size, 0)])
        kernels.update(plan, call["p"], call["kept"], call["g"], of_rule, learning_rate, done, squares, clip_norm)

    call.make = make


def squares(call, case, rng, draw):
    """Σ g² over the rows of g, each taken for a tensor of its own."""
    batch, _, n = case
    ld = padded(n, call.dtype.itemsize)
    call.arguments["g"] = call.array(draw(rng, (batch, n)), ld)

    def make(kernels):
        tensors = [(i * ld, ld) for i in range(batch)]
        return kernels.squares(plan_of(kernels, "momentum", call.dtype.char, 0, (), tensors), call["g"].reshape(-1))

    call.make = make


OF_RULES = {
    name: partial(builder, rule=rule)
    for rule in RULES
    for name, builder in (
        (f"linear_{rule}", _linear), (f"column_{rule}", partial(_linear, of="column")),
        (f"layer_norm_{rule}", _layer_norm), (f"{rule}_update", _flat),
    )
} | {"squares": squares}  # fmt: skip
