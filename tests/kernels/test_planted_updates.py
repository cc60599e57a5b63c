"""Faults planted in the NumPy kernels of optimizers: `cross_check` and the kernel tests' bounds must report each."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from bounds import fraction
from cases import DTYPES, build
from exact_rules import check_rule
from models import build as network
from planted import plant, sound
from rule_cases import RULES, begun
from sizes import Case

import fastnp as nn
from fastnp.backend import kernels_of
from fastnp.kernels.reference import run
from fastnp.kernels.table import PLAN_COLUMNS, RANGES, TENSORS, clipping

RATE, CLIP = 0.1, 0.01
DECAY = {"weight_decay": 0.1}
SQUARES = "norm.gradients.squares"

OPTIMIZERS = {  # of each rule: the class, its arguments, and where its settings and numbers have the decay
    "momentum": (nn.SGD, {}, 1, 2),
    "nesterov": (nn.SGD, {"nesterov": True}, 1, 2),
    "rated_momentum": (nn.SGD, {"rate_in_velocity": True}, 1, 2),
    "rated_nesterov": (nn.SGD, {"rate_in_velocity": True, "nesterov": True}, 1, 2),
    "adam": (nn.Adam, {}, 3, 7),
    "rmsprop": (nn.RMSprop, {}, 3, 5),
    "rmsprop_momentum": (nn.RMSprop, {"momentum": 0.9}, 3, 5),
}
KEPT = {rule: cls._kernel_rule.kept for rule, (cls, *_) in OPTIMIZERS.items()}


class Fault(NamedTuple):
    rule: str
    part: str  # "begin" or "flat" of the rule, SQUARES, or a function of `run`
    function: object  # called with the sound part, and with what that is called with
    options: dict  # of the optimizer
    seen: set  # where cross_check shall see it
    settings: dict  # of the rule by itself


FAULTS = {}


def fault(rule, part, *seen, settings=None, name=None, **options):
    """Plant the decorated function; settings of the rule are the options, but where they are given."""

    def planted(function):
        given = options if settings is None else settings
        FAULTS[f"{name or function.__name__}-{rule}"] = Fault(rule, part, function, options, set(seen), given)
        return function

    return planted


def half(array):
    return array.astype(np.float16).astype(array.dtype)


def with_number(numbers, *places, values):
    numbers = numbers.copy()
    numbers[list(places)] = values
    return numbers


# --- what may be wrong in any rule ---


def leaves_the_tail(sound, g, p, kept, numbers, factor):
    stop = len(p) - len(p) % 64 - 16
    sound(g[:stop], p[:stop], [array[:stop] for array in kept], numbers, factor)


def gradients_in_half_precision(sound, g, p, kept, numbers, factor):
    sound(half(g), p, kept, numbers, factor)


def loses_what_was_kept(kind, sound, g, p, kept, numbers, factor):
    kept[kind][:] = 0
    sound(g, p, kept, numbers, factor)


def is_applied_twice(sound, g, p, kept, numbers, factor):
    for _ in range(2):
        sound(g, p, kept, numbers, factor)


def moves_the_parameters_twice(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p += p - before


def rate_in_half_precision(sound, numbers, settings, rate, before):
    sound(numbers, settings, float(np.float16(rate)), before)


def decay_is_forgotten(place, sound, numbers, settings, rate, before):
    sound(numbers, with_number(settings, place, values=0), rate, before)


def decay_is_the_other(place, sound, numbers, settings, rate, before):
    sound(numbers, with_number(settings, place + 1, values=1 - settings[place + 1]), rate, before)


def decay_by_the_gradient(place, sound, g, p, kept, numbers, factor):
    sound(g * (1 + numbers[place]), p, kept, with_number(numbers, place, values=0), factor)


for _rule, (_, _, _setting, _number) in OPTIMIZERS.items():
    _kept, _where = KEPT[_rule], [f"{KEPT[_rule][0]}, step 1"]
    fault(_rule, "flat", *_where)(leaves_the_tail)
    fault(_rule, "flat", *_where)(gradients_in_half_precision)
    fault(_rule, "flat", *_where)(is_applied_twice)
    fault(_rule, "flat", "data, step 1")(moves_the_parameters_twice)
    fault(_rule, "begin", *(_where if _rule == "rated_momentum" else ["data, step 1"]))(rate_in_half_precision)
    for _kind, _name in enumerate(_kept if _rule != "rmsprop" else _kept[:1]):  # which has no velocity to lose
        fault(_rule, "flat", f"{_name}, step 2", name=f"loses_{_name}")(partial(loses_what_was_kept, _kind))
    for _function in decay_is_forgotten, decay_is_the_other:
        fault(_rule, "begin", *_where, name=_function.__name__, **DECAY)(partial(_function, _setting))
    fault(_rule, "flat", *_where, name="decay_by_the_gradient", **DECAY)(partial(decay_by_the_gradient, _number))


# --- momentum ---


@fault("momentum", "flat", "velocity, step 2")
def momentum_in_half_precision(sound, g, p, kept, numbers, factor):
    sound(g, p, kept, with_number(numbers, 1, values=half(numbers)[1]), factor)


@fault("momentum", "flat", "velocity, step 1")
def gradient_is_weighted_by_one_minus_momentum(sound, g, p, kept, numbers, factor):
    sound(g * (1 - numbers[1]), p, kept, numbers, factor)


@fault("momentum", "flat", "data, step 2")
def parameters_move_by_the_gradient(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * g


@fault("nesterov", "flat", "data, step 1")
def nesterov_is_momentum(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * kept[0]


@fault("momentum", "flat", "data, step 1")
def momentum_is_nesterov(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * (g + numbers[1] * kept[0])


@fault("nesterov", "flat", "data, step 1", "data, step 2")
def nesterov_with_the_old_velocity(sound, g, p, kept, numbers, factor):
    before, velocity = p.copy(), kept[0].copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * (g + numbers[1] * velocity)


@fault("nesterov", "flat", "data, step 2", **DECAY)
def nesterov_without_the_decay_in_its_step(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * (g + numbers[1] * kept[0])


@fault("rated_momentum", "flat", "velocity, step 1")
def rate_is_not_in_the_velocity(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, with_number(numbers, 0, values=1), factor)
    p[:] = before - numbers[0] * kept[0]


@fault("rated_momentum", "flat", "data, step 1")
def rate_is_applied_twice(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * kept[0]


@fault("rated_momentum", "flat", "velocity, step 2")
def rate_of_all_that_was_kept(sound, g, p, kept, numbers, factor):
    kept[0][:] *= numbers[0]
    sound(g, p, kept, numbers, factor)


@fault("rated_nesterov", "flat", "data, step 1")
def rated_nesterov_is_momentum(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - kept[0]


@fault("rated_nesterov", "flat", "data, step 1")
def rated_nesterov_without_the_rate_in_its_step(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - (g + numbers[1] * kept[0])


# --- Adam ---


@fault("adam", "begin", "data, step 2")
def correction_is_one_behind(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, max(before - 1, 0))


@fault("adam", "begin", "data, step 1")
def correction_is_one_ahead(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before + 1)


@fault("adam", "begin", "data, step 2", "data, step 3")
def correction_stays_that_of_the_first(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, 0)


@fault("adam", "begin", "data, step 1")
def nothing_is_corrected(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, 10**9)


@fault("adam", "begin", "data, step 1")
def correction_of_the_first_alone(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[5] = 1


@fault("adam", "begin", "data, step 1")
def correction_without_the_root(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[5] **= 2


@fault("adam", "begin", "first_moment, step 1", "second_moment, step 1")
def betas_are_swapped(sound, numbers, settings, rate, before):
    sound(numbers, settings[[1, 0, 2, 3, 4, 5, 6]], rate, before)


@fault("adam", "begin", "second_moment, step 1")
def second_moment_without_its_share(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[4] = 1


@fault("adam", "begin", "first_moment, step 1")
def first_moment_without_its_share(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[2] = 1


def _adam_again(sound, g, p, kept, numbers, factor, step):
    """A sound update, but for how p follows from what is kept."""
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before + step(*kept, numbers)


@fault("adam", "flat", "data, step 1", epsilon=1e-4)
def epsilon_inside_the_root(sound, g, p, kept, numbers, factor):
    def step(m, v, numbers):
        return numbers[0] * m / np.sqrt(v * numbers[5] ** 2 + numbers[6])

    _adam_again(sound, g, p, kept, numbers, factor, step)


@fault("adam", "flat", "data, step 1", epsilon=1e-4)
def epsilon_before_the_correction(sound, g, p, kept, numbers, factor):
    def step(m, v, numbers):
        return numbers[0] * m / ((np.sqrt(v) + numbers[6]) * numbers[5])

    _adam_again(sound, g, p, kept, numbers, factor, step)


@fault("adam", "flat", "data, step 1", epsilon=1e-4)
def epsilon_is_left_out(sound, g, p, kept, numbers, factor):
    sound(g, p, kept, with_number(numbers, 6, values=0), factor)


HAT = {"epsilon": 1e-4, "hat": True}


@fault("adam", "begin", "data, step 1", settings=HAT, epsilon=1e-4, epsilon_hat=True)
def epsilon_hat_is_epsilon(sound, numbers, settings, rate, before):
    sound(numbers, with_number(settings, 6, values=0), rate, before)


@fault("adam", "begin", "data, step 1", epsilon=1e-4)
def epsilon_is_epsilon_hat(sound, numbers, settings, rate, before):
    sound(numbers, with_number(settings, 6, values=1), rate, before)


@fault("adam", "begin", "data, step 2", settings=HAT, epsilon=1e-4, epsilon_hat=True)
def epsilon_hat_by_the_other_moment(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[6] = settings[2] / np.sqrt(1 - numbers[1] ** (before + 1))


APART = DECAY | {"apart": True}


@fault("adam", "flat", "data, step 1", settings=APART, cls=nn.AdamW, **DECAY)
def decay_comes_after_the_step(sound, g, p, kept, numbers, factor):
    sound(g, p, kept, with_number(numbers, 8, values=0), factor)
    p += numbers[8] * p


@fault("adam", "begin", "first_moment, step 1", "data, step 1", settings=APART, cls=nn.AdamW, **DECAY)
def decay_is_coupled_that_shall_be_apart(sound, numbers, settings, rate, before):
    sound(numbers, with_number(settings, 5, values=0), rate, before)


@fault("adam", "begin", "first_moment, step 1", "data, step 1", **DECAY)
def decay_is_apart_that_shall_be_coupled(sound, numbers, settings, rate, before):
    sound(numbers, with_number(settings, 5, values=1), rate, before)


@fault("adam", "begin", "data, step 1", settings=APART, cls=nn.AdamW, **DECAY)
def decay_apart_without_the_rate(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[8] = -settings[3]


# --- RMSprop ---


@fault("rmsprop", "begin", "mean_square, step 1")
def mean_square_without_its_share(sound, numbers, settings, rate, before):
    sound(numbers, settings, rate, before)
    numbers[1] = 1


@fault("rmsprop", "flat", "data, step 1", epsilon=1e-4)
def rmsprop_with_epsilon_inside_the_root(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * g / np.sqrt(kept[0] + numbers[3])


@fault("rmsprop", "flat", "data, step 2")
def rmsprop_by_the_old_mean(sound, g, p, kept, numbers, factor):
    before, mean = p.copy(), kept[0].copy()
    sound(g, p, kept, numbers, factor)
    p[:] = before - numbers[0] * g / (np.sqrt(mean) + numbers[3])


@fault("rmsprop_momentum", "flat", "velocity, step 1")
def rate_is_in_the_velocity(sound, g, p, kept, numbers, factor):
    before = p.copy()
    sound(g * factor, p, kept, numbers, 1)
    kept[1] *= numbers[0]
    p[:] = before - kept[1]


@fault("rmsprop", "flat", "velocity, step 1")
def rmsprop_writes_a_velocity_without_momentum(sound, g, p, kept, numbers, factor):
    sound(g, p, kept, numbers, factor)
    kept[1][:] = g


# --- clipping ---


@fault("momentum", SQUARES, "velocity, step 1", clip_norm=CLIP)
def norm_of_the_mean(sound, g):
    return sound(g) / g.size


@fault("momentum", SQUARES, "velocity, step 1", clip_norm=CLIP)
def norm_of_magnitudes(sound, g):
    return float(np.sum(abs(g), dtype=np.float64))


@fault("momentum", SQUARES, "velocity, step 1", clip_norm=CLIP)
def norm_in_half_precision(sound, g):
    return sound(half(g))


@fault("momentum", SQUARES, "velocity, step 1", clip_norm=CLIP)
def norm_leaves_the_last_number(sound, g):
    last = np.flatnonzero(g)[-1]
    return sound(g[:last])


@fault("momentum", "flat", "velocity, step 1", clip_norm=CLIP)
def clips_each_number(sound, g, p, kept, numbers, factor):
    sound(np.clip(g, -CLIP, CLIP) if factor != 1 else g, p, kept, numbers, 1)


@fault("momentum", "flat", "velocity, step 1", clip_norm=CLIP)
def does_not_clip(sound, g, p, kept, numbers, factor):
    sound(g, p, kept, numbers, 1)


@fault("momentum", "flat", "velocity, step 1", clip_norm=CLIP, **DECAY)
def clips_the_decay_too(sound, g, p, kept, numbers, factor):
    sound(g, p, kept, with_number(numbers, 2, values=numbers[2] * factor), factor)


# --- what goes through a plan ---


@fault("momentum", "_update", "velocity, step 1", clip_norm=CLIP)
def clips_each_tensor_by_itself(sound, plan, p, kept, g, squares, clip_norm, numbers):
    scaled, first = g.copy(), PLAN_COLUMNS + 3 * int(plan[RANGES])
    for start, size in plan[first : first + 2 * int(plan[TENSORS])].reshape(-1, 2):
        here = slice(start, start + size)
        scaled[here] *= g.dtype.type(clipping(float(np.sum(g[here].astype(np.float64) ** 2)), clip_norm))
    sound(plan, p, kept, scaled, 0.0, 0.0, numbers)


@fault("momentum", "squares", "velocity, step 1", clip_norm=CLIP)
def norm_of_the_largest_tensor(sound, plan, g):
    first = PLAN_COLUMNS + 3 * int(plan[RANGES])
    tensors = plan[first : first + 2 * int(plan[TENSORS])].reshape(-1, 2).tolist()
    return max(float(np.sum(g[start : start + size].astype(np.float64) ** 2)) for start, size in tensors)


for _rule, (_, _, _setting, _) in OPTIMIZERS.items():

    @fault(_rule, "_begun", f"{KEPT[_rule][0]}, step 1", decay_bias=False, **DECAY)
    def decays_what_shall_not(sound, plan, settings, *others):
        return sound(plan, settings[[0, 0]], *others)

    @fault(_rule, "_begun", f"{KEPT[_rule][0]}, step 1", decay_bias=False, **DECAY)
    def decays_nothing_but_biases(sound, plan, settings, *others):
        return sound(plan, settings[::-1], *others)


OF_RUN = "_begun", "_update", "squares"


def planted(monkeypatch, name):
    """Plant a fault; in that part, or in `run`."""
    rule, part, function, *_ = FAULTS[name]
    if part in OF_RUN:
        where = kernels_of("numpy") if part == "squares" else run  # the one has what Python calls
        monkeypatch.setattr(where, part, partial(function, getattr(where, part)))
    else:
        full = part if part == SQUARES else f"updates.{rule}.{part}"
        plant(monkeypatch, full, partial(function, sound(full)))


def run_cross_check(rule, dtype, options):
    model = network(3, 9, 5, 2, dtype=dtype)
    cls, own, *_ = OPTIMIZERS[rule]
    options = own | {"learning_rate": RATE} | options
    optimizer = options.pop("cls", cls)(parameters=model.parameters(), **options)
    return nn.cross_check(model, np.random.default_rng(2).normal(size=(6, 3)), optimizer=optimizer)


dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@dtypes
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_without_a_fault_nothing_is_reported(rule, dtype):
    given = {repr(fault.options): fault.options for fault in FAULTS.values() if fault.rule == rule}
    assert len(given) >= 3
    for options in given.values():
        assert run_cross_check(rule, dtype, options).passed


@dtypes
@pytest.mark.parametrize("name", FAULTS)
def test_cross_check_reports(name, dtype, monkeypatch):
    rule, _, _, options, seen, _ = FAULTS[name]
    planted(monkeypatch, name)
    failed = [row for row in run_cross_check(rule, dtype, options).rows if not row.passed]
    assert {row.backend for row in failed} == {"numpy"}  # and nothing is said against the sound kernels
    assert all(", step " in row.what for row in failed)
    assert seen <= {row.what for row in failed}


# --- the bounds of the kernel tests ---


def examine(rule, part, dtype, kernels, settings):
    """What the kernel tests demand of one call; AssertionError where it is not met."""
    case = Case(6, 9, 5)
    if part == SQUARES:
        call = build("squares", case, dtype)
        squares = call["g"][:, : case.n_out].astype(np.longdouble) ** 2
        bound = 2.0**-53 * squares.size * float(squares.sum())
        assert fraction("planted squares", call.run(kernels) - squares.sum(), bound) <= 1
        return
    clip_norm = settings.get("clip_norm", 0.0)
    given = {"learning_rate": RATE, "done": 1} | {key: settings[key] for key in settings if key != "clip_norm"}
    call = build(f"{rule}_update", case, dtype, squares=7.3, clip_norm=clip_norm, **given)
    names = "p", *RULES[rule].kept
    old = [call[name].copy() for name in names]
    call.run(kernels)
    g = call["g"] * np.dtype(dtype).type(clip_norm / np.sqrt(7.3) if clip_norm else 1)
    check_rule(rule, begun(rule, dtype, **given), [call[name] for name in names], old, g)


OF_PARTS = [name for name, fault in FAULTS.items() if fault.part not in OF_RUN]


@dtypes
@pytest.mark.parametrize("name", OF_PARTS)
def test_the_bounds_of_the_kernel_tests_catch(name, dtype, monkeypatch):
    rule, part, _, _, _, settings = FAULTS[name]
    examine(rule, part, dtype, kernels_of("numpy"), settings)
    planted(monkeypatch, name)
    with pytest.raises(AssertionError):
        examine(rule, part, dtype, kernels_of("numpy"), settings)


def test_there_are_faults_of_every_rule():
    assert {fault.rule for fault in FAULTS.values()} == set(RULES)
