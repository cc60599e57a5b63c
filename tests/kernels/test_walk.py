"""Whole programs: each operation in its place, and the same bits as one by one."""

import itertools

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import NETWORKS, build
from declared import activation
from program_cases import buffer, is_linear, linears, views
from references import check_pads
from twins import BOOLS, NUMBA, backends, dtypes, networks, run_both

from fastnp.backend import BACKENDS
from fastnp.kernels.alone import Alone
from fastnp.kernels.table import rows


def real(call, op, name):
    """A buffer of a row without its pads."""
    return buffer(call, op, name)[:, : op["n_in" if name in ("x", "dx") else "n_out"]]


@dtypes
@networks
def test_forward(network, dtype):
    """Each layer's output, given the input that stands in the workspace, within the bounds; ReLUs bitwise."""
    calls = run_both("forward", network, dtype)
    for kernels, call in zip(BACKENDS, calls, strict=True):
        x = real(call, call["table"][0], "x")
        for i, (op, layer) in enumerate(zip(call["table"], network.layers, strict=True)):
            y, behind = real(call, op, "y"), network.layers[i + 1 : i + 2]
            if is_linear(layer):
                w, b = (view[:, : op["n_out"]] for view in views(call["params"], op))
                reference = bounds.product(x, w, b)
                if behind and _overwrites(behind[0]):  # this is what is left of y
                    after = activation(behind[0], 0.25)
                    value = after._exact_value(reference.value).astype(reference.value.dtype)
                    reference = reference._replace(
                        value=value,
                        magnitude=after._passed_on(reference.magnitude) + np.maximum(abs(value), after._floor),
                        terms=reference.terms + int(np.ceil(2 * after._ulps)),
                    )
                bounds.check(f"forward {kernels}", y, reference)
            elif not (i and is_linear(network.layers[i - 1]) and _overwrites(layer)):
                bounds.check_ulps(f"forward {layer} {kernels}", y, *bounds.exact_value(activation(layer, 0.25), x))
            x = y


def _overwrites(layer):
    """Whether a layer behind a Linear writes its output in the place of its input."""
    return not is_linear(layer) and not activation(layer, 0.25)._kernel_kind.needs_input


def _activations_before(network, i):
    """The activations that stand between a layer and the Linear before it."""
    return list(itertools.takewhile(lambda layer: not is_linear(layer), reversed(network.layers[:i])))


@pytest.mark.pairs
@dtypes
@networks
@pytest.mark.parametrize("add_to", BOOLS)
def test_backward(network, dtype, add_to):
    """Each layer's gradients, given the output gradient that stands in the workspace, within the bounds."""
    before = build("backward", network, dtype, add_to=add_to)
    calls = run_both("backward", network, dtype, add_to=add_to)
    seed = real(before, before["table"][-1], "dy")
    for kernels, call in zip(BACKENDS, calls, strict=True):
        table = call["table"]
        for i, (op, layer) in reversed(list(enumerate(zip(table, network.layers, strict=True)))):
            check_pads(buffer(call, op, "dx"), op["n_in"])
            x, dx, dy, y = (real(call, op, name) for name in ("x", "dx", "dy", "y"))
            if not is_linear(layer):
                if layer == "relu":
                    assert not dx[~(y > 0)].any()
                if i == len(table) - 1:
                    value, ulps = bounds.exact_gradient(activation(layer, 0.25), seed, x, y)
                    bounds.check_ulps(f"backward {layer} {kernels}", dx, value, ulps)
                continue
            w, _ = (view[:, : op["n_out"]] for view in views(call["params"], op))
            if all(before == "relu" for before in _activations_before(network, i)):  # else they have changed it since
                reference = bounds.product(dy, w.T)
                if op["masked"]:
                    reference = reference._replace(value=reference.value * (x > 0))
                bounds.check(f"backward dx {kernels}", dx, reference)
            new, old = views(call["grads"], op), views(before["grads"], op)
            starts = [view[:, : op["n_out"]] if add_to else None for view in old]
            ones = np.ones((1, network.batch), dtype)
            for name, grad, a, start in zip("wb", new, (x.T, ones), starts, strict=True):
                bounds.check(f"backward d{name} {kernels}", grad[:, : op["n_out"]], bounds.product(a, dy, start))
                check_pads(grad, op["n_out"])


@networks
def test_programs_on_integers_have_the_same_bits_in_both_twins(network):
    """In float64 even the widest network's sums of small integers stay exact, layer behind layer."""
    if any(not is_linear(layer) and layer != "relu" for layer in network.layers):
        pytest.skip("leaves the integers")

    def small(rng, shape):
        return rng.integers(-2, 3, shape).astype(np.float64)

    fast, twin = run_both("forward", network, np.float64, draw=small)
    for op in fast["table"]:
        assert np.array_equal(real(fast, op, "y"), real(twin, op, "y"))
    for add_to in BOOLS:
        fast, twin = run_both("backward", network, np.float64, draw=small, add_to=add_to)
        assert np.array_equal(fast["grads"], twin["grads"], equal_nan=True)
        op = fast["table"][0]
        assert np.array_equal(buffer(fast, op, "dx"), buffer(twin, op, "dx"))


def _alone(call, op, layer):
    """One operation of a program by itself, with its buffers as they are."""
    name = "linear.linear" if is_linear(layer) else f"activations.{layer}"
    alone = Alone(name, call["batch"], op["n_in"], op["n_out"], call.dtype, setting=0.25)
    for field in "x", "y", "dx", "dy":
        alone.padded(field)[...] = buffer(call, op, field)
    if is_linear(layer):
        for arena, fields in ("params", ("weights", "bias")), ("grads", ("weights_kept", "bias_kept")):
            if arena in call.arguments:
                for field, view in zip(fields, views(call[arena], op), strict=True):
                    alone.padded(field)[...] = view
    return alone


def _one_by_one_forward(call, kernels):
    for op, layer in zip(call["table"], call.network.layers, strict=True):
        alone = _alone(call, op, layer)
        alone.call(kernels, "forward")
        buffer(call, op, "y")[...] = alone.padded("y")


def _one_by_one_backward(call, kernels):
    for op, layer in reversed(list(zip(call["table"], call.network.layers, strict=True))):
        alone = _alone(call, op, layer)
        alone.call(kernels, "input")
        if is_linear(layer):
            alone.call(kernels, "parameters", "gradients", [call["add_to"]])
            for field, view in zip(("weights_kept", "bias_kept"), views(call["grads"], op), strict=True):
                view[...] = alone.padded(field)[0]
        buffer(call, op, "dx")[...] = alone.padded("dx")


def _results(call):
    """Everything that a program leaves: activations, their gradients, parameters' gradients; no pads, no scratch."""
    for op in call["table"]:
        yield from (real(call, op, name) for name in ("x", "y", "dx", "dy"))
    if "grads" in call.arguments:
        for op in linears(call):
            yield from views(call["grads"], op)


def assert_same_results(a, b, kernels):
    """The same bits; on NumPy only nearly, for a BLAS may sum otherwise where arrays lie otherwise in memory."""
    for x, y in zip(_results(a), _results(b), strict=True):
        if kernels is NUMBA:
            assert bounds.same_bits(x, y)
        else:
            tolerance = 100 * float(np.finfo(x.dtype).eps)
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.nanmax(np.abs(y), initial=0))


@pytest.mark.pairs
@backends
@dtypes
@networks
@pytest.mark.parametrize("fused", BOOLS)
def test_a_program_has_the_bits_of_its_operations_one_by_one(network, dtype, kernels, fused):
    whole, layers = build("forward", network, dtype, fused=fused), build("forward", network, dtype, fused=False)
    whole.run(kernels)
    _one_by_one_forward(layers, kernels)
    assert_same_results(whole, layers, kernels)
    for add_to in BOOLS:
        whole, layers = (build("backward", network, dtype, add_to=add_to, fused=f) for f in (fused, False))
        whole.run(kernels)
        _one_by_one_backward(layers, kernels)
        assert_same_results(whole, layers, kernels)


@pytest.mark.pairs
@backends
@dtypes
@pytest.mark.parametrize("network", [n for n in NETWORKS if n.batch], ids=str)
def test_rows_without_a_part_do_nothing(network, dtype, kernels):
    """A table whose rows name no part leaves everything as it is; each part alone changes its own outputs only."""
    for name in "forward", "backward":
        call = build(name, network, dtype)
        nothing = np.zeros_like(call["table"])
        for field in call["table"].dtype.names[3:]:
            nothing[field] = call["table"][field]
        before = call["work"].copy(), call["params"].copy()
        table = nothing.view(np.int64).reshape(len(nothing), -1)
        if name == "forward":
            kernels.forward(call["work"], call["params"], table, call["batch"])
        else:
            kernels.backward(call["work"], call["params"], call["grads"], np.zeros(1, dtype), table, call["batch"])
        assert bounds.same_bits(call["work"], before[0])
        assert bounds.same_bits(call["params"], before[1])


@dtypes
@networks
def test_the_rows_of_a_batch_do_not_depend_on_it(network, dtype):
    whole = build("forward", network, dtype)
    whole.run(NUMBA)
    first, last = whole["table"][0], whole["table"][-1]
    inputs, outputs = buffer(build("forward", network, dtype), first, "x"), real(whole, last, "y")
    for row in range(network.batch):
        alone = build("forward", network, dtype)
        alone.arguments["batch"] = 1
        rows(alone["work"], first["x"], network.batch, first["ld_in"])[:] = NAN
        rows(alone["work"], first["x"], 1, first["ld_in"])[:] = inputs[row]
        alone.run(NUMBA)
        assert bounds.same_bits(real(alone, last, "y"), outputs[row : row + 1])
