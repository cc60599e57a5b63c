"""Calls of the steps of a loop, by blocks of addresses."""

import contextlib

import numpy as np
from calls import NAN
from program_cases import backward, forward, linked
from rule_cases import RULES, plan_of

from fastnp.kernels import padded
from fastnp.kernels.table import MEAN

with contextlib.suppress(ImportError):  # benchmarks read this on commits that had no blocks
    from fastnp.kernels.blocks import ARENA_FLAGS, STALE, block_of_loss, block_of_pass, block_of_update


def given(call, values, dtype, strided):
    """An array as users give them: of a dtype of its own, and where it is strided with NaN between its numbers."""
    array = np.full((2 * len(values), 3 * values.shape[1]), NAN, dtype or call.dtype)
    array = array[::-2, 1::3] if strided else np.zeros(values.shape, array.dtype)
    array[...] = values
    return array


def _step(kernels, call, name, *others):
    return kernels.steps[name, "".join(array.dtype.char for array in others), call.holds]


def _of_pass(call, kernels, network, whole):
    """The block of a pass; also held, with it, is what it names."""
    table = linked(kernels, network, call["table"], call.dtype.char)
    gradients = call.arguments.get("grads", call["params"])
    return block_of_pass(table, call["work"], call["params"], gradients, call["flags"], whole)


def step_forward(call, network, rng, draw, strided=False, given_as=None, holds=True):
    forward(call, network, rng, draw)
    op, call.holds = call["table"][0], holds
    x = given(call, draw(rng, (network.batch, network.n_in)), given_as, strided)
    n_out = int(call["table"][-1]["n_out"])
    out = call.array(np.full((network.batch, n_out), NAN), written=network.batch)
    call.arguments.update(flags=np.zeros(ARENA_FLAGS, np.int64), out=out, given=x)
    start = int(op["x"])
    call.allow(call["work"][start : start + network.batch * int(op["ld_in"])])

    def make(kernels):
        step = _step(kernels, call, "forward", call["out"], call["given"])
        return step(call["out"], call["given"], call.block(kernels))

    call.make, call.block = make, lambda kernels: _of_pass(call, kernels, network, True)


def step_backward(call, network, rng, draw, add_to=False, strided=False, whole=True, holds=True):
    backward(call, network, rng, draw, add_to=add_to)
    last, call.holds = call["table"][-1], holds
    gradient = given(call, draw(rng, (network.batch, int(last["n_out"]))), None, strided)
    dx = call.array(np.full((network.batch, network.n_in), NAN), written=network.batch)
    flags = np.zeros(ARENA_FLAGS, np.int64)
    flags[STALE] = not add_to
    call.arguments.update(flags=flags, dx=dx, given=gradient)
    start = int(last["dy"])
    call.allow(call["work"][start : start + network.batch * int(last["ld_out"])])

    def make(kernels):
        step = _step(kernels, call, "backward", call["dx"], call["given"])
        return step(call["dx"], call["given"], _of_pass(call, kernels, network, whole))

    call.make = make


def step_loss(call, case, rng, draw, strided=False, given_as=None, holds=True):
    """The mean of squared errors."""
    batch, n = case.batch, case.n_out
    pred, target = (given(call, draw(rng, (batch, n)), of, strided) for of in (None, given_as))
    kept = call.array(np.full((3, batch * n), NAN), written=3)
    call.holds, numbers = holds, np.zeros(0, call.dtype)
    call.arguments.update(kept=kept, pred=pred, target=target)

    def make(kernels):
        part = kernels.parts["losses.mse.sum", call.dtype.char]
        arrays = call["kept"], call["pred"], call["target"]
        return _step(kernels, call, "loss", *arrays)(*arrays, block_of_loss(part, MEAN, numbers, (batch, n)))

    call.make = make


def step_update(call, case, rng, draw, rule="momentum", holds=True):
    size = padded(case.n_in * case.n_out, call.dtype.itemsize)
    p, g = (call.array(draw(rng, (1, size)), written=written)[0] for written in (1, 0))
    made = [make(draw(rng, (1, size)) / 100) for make in RULES[rule].kept.values()]
    kept = call.array(np.concatenate(made, axis=1), written=1)
    flags, settings = np.zeros(ARENA_FLAGS, np.int64), np.array([RULES[rule].settings()] * 2, float)
    call.holds = holds
    call.arguments.update(p=p, g=g, kept=kept, flags=flags)

    def make(kernels):
        plan = plan_of(kernels, rule, call.dtype.char, size, [(0, size, 0)], [(0, size)])
        block = block_of_update(plan, call["p"], call["g"], call["flags"], settings)
        return _step(kernels, call, "update", call["kept"])(call["kept"], block, 0.01, 3)

    call.make = make


STEPS_OF_NETWORKS = {"step_forward": step_forward, "step_backward": step_backward}
STEPS_OF_SIZES = {"step_loss": step_loss, "step_update": step_update}
