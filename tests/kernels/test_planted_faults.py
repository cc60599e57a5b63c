"""Faults planted in the NumPy kernels: `cross_check` must report each, and so must the bounds of the kernel tests."""

from functools import partial
from types import SimpleNamespace

import bounds
import numpy as np
import pytest
from cases import DTYPES, build
from declared import LOSSES
from judged import judge
from models import build as network
from planted import plant, sound
from references import check_pads, forward_reference, input_reference, parameter_references
from sizes import Case

import fastnp as nn
from fastnp.backend import kernels_of
from fastnp.kernels.reference import walk

# Faults are written as functions of arrays and numbers. Of each part: its name, and what they are called with.
PARTS = {
    "linear_forward": ("linear.linear.forward", "y x weights bias batch n_in rectified"),
    "linear_input": ("linear.linear.input", "dx dy weights x batch n_in n_out masked"),
    "linear_parameters": (
        "linear.linear.parameters.gradients", "weights_kept bias_kept dy x batch n_in n_out weight_numbers",
    ),
    "relu_forward": ("activations.relu.forward", "y x"),
    "relu_input": ("activations.relu.input", "dx dy y"),
    **{of: (f"{part}.sum", None) for of, (_, part) in LOSSES.items()},
}  # fmt: skip


def _sound(name):
    """A sound part, as a function of arrays and numbers."""
    part, names = PARTS[name]
    right = sound(part)
    if names is None:
        return right

    def called(*values):
        given = dict(zip(names.split(), values, strict=True))
        op = SimpleNamespace(**({"setting": 0.0, "x": values[0], "n_out": values[0].shape[1]} | given))
        if hasattr(op, "batch"):
            for buffer in {"x", "y", "dx", "dy"} & vars(op).keys():
                setattr(op, buffer, getattr(op, buffer)[: op.batch])
        for kept in {"weights_kept", "bias_kept"} & vars(op).keys():
            setattr(op, kept, getattr(op, kept)[np.newaxis])
        if "weights_kept" in vars(op):
            op.weights, op.bias = op.weights_kept[0], op.bias_kept[0]  # which keeping a gradient does not look at
            op.bias_numbers = op.weight_numbers
        right(op)

    return called


SOUND = {name: _sound(name) for name in PARTS}
FAULTS = {}  # name: (kernel, faulty kernel, where cross_check shall see it, whether a kernel test shall see it)


def fault(kernel, seen, bounds=True):
    """Plant the decorated function in the place of `kernel`."""

    def planted(function):
        FAULTS[function.__name__] = kernel, function, set(seen), bounds
        return function

    return planted


def ten_bits(array):
    """The leading 10 bits of each mantissa, as tensor cores take them."""
    mantissa, exponent = np.frexp(array)
    return np.ldexp(np.trunc(mantissa * 2.0**11) / 2.0**11, exponent).astype(array.dtype)


def half(array):
    return array.astype(np.float16).astype(array.dtype)


# --- linear_forward ---


@fault("linear_forward", ["output"])
def forward_drops_a_term(y, x, w, b, batch, n_in, rectified):
    SOUND["linear_forward"](y, x, w[: n_in - 1], b, batch, n_in - 1, rectified)


@fault("linear_forward", ["output"])
def forward_swaps_two_rows_of_weights(y, x, w, b, batch, n_in, rectified):
    w = w.copy()
    w[[0, 1]] = w[[1, 0]]
    SOUND["linear_forward"](y, x, w, b, batch, n_in, rectified)


@fault("linear_forward", ["output"])
def forward_adds_the_bias_twice(y, x, w, b, batch, n_in, rectified):
    SOUND["linear_forward"](y, x, w, 2 * b, batch, n_in, rectified)


@fault("linear_forward", ["output"])
def forward_forgets_the_bias(y, x, w, b, batch, n_in, rectified):
    SOUND["linear_forward"](y, x, w, 0 * b, batch, n_in, rectified)


@fault("linear_forward", ["output"])
def forward_takes_inputs_in_half_precision(y, x, w, b, batch, n_in, rectified):
    x = x[:batch, :n_in]
    SOUND["linear_forward"](y, half(x), half(w), b, batch, n_in, rectified)


@fault("linear_forward", ["output"])
def forward_takes_ten_bits_of_inputs(y, x, w, b, batch, n_in, rectified):
    x = x[:batch, :n_in]
    SOUND["linear_forward"](y, ten_bits(x), ten_bits(w), b, batch, n_in, rectified)


@fault("linear_forward", ["output"])
def forward_sums_in_half_precision(y, x, w, b, batch, n_in, rectified):
    total = np.zeros(y[:batch].shape, np.float16)
    for k in range(n_in):
        total += (x[:batch, k : k + 1] * w[k]).astype(np.float16)
    y[:batch] = total + b


@fault("linear_forward", ["output"])
def forward_leaves_the_last_row(y, x, w, b, batch, n_in, rectified):
    SOUND["linear_forward"](y, x, w, b, batch - 1, n_in, rectified)


@fault("linear_forward", ["output"])
def forward_leaves_the_last_column(y, x, w, b, batch, n_in, rectified):
    result = np.empty_like(y[:batch])
    SOUND["linear_forward"](result, x, w, b, batch, n_in, rectified)
    last = np.flatnonzero(np.any(w, axis=0)).max()  # the pads of weights are zero
    result[:, last] = y[:batch, last]
    y[:batch] = result


@fault("linear_forward", ["output"])
def forward_fills_pads_and_sums_them(y, x, w, b, batch, n_in, rectified):
    leak = x[:batch, n_in:].sum(1, keepdims=True)
    SOUND["linear_forward"](y, x, w, b, batch, n_in, rectified)
    y[:batch] += leak
    y[:batch, np.flatnonzero(np.any(w, axis=0)).max() + 1 :] = 1


# --- linear_input ---


@fault("linear_input", ["input gradient"])
def input_gradient_drops_a_term(dx, dy, w, x, batch, n_in, n_out, masked):
    SOUND["linear_input"](dx, dy, w, x, batch, n_in, n_out - 1, masked)


@fault("linear_input", ["input gradient"])
def input_gradient_swaps_two_columns(dx, dy, w, x, batch, n_in, n_out, masked):
    w = w.copy()
    w[:, [0, 1]] = w[:, [1, 0]]
    SOUND["linear_input"](dx, dy, w, x, batch, n_in, n_out, masked)


@fault("linear_input", ["input gradient"])
def input_gradient_in_half_precision(dx, dy, w, x, batch, n_in, n_out, masked):
    SOUND["linear_input"](dx, half(dy), half(w), x, batch, n_in, n_out, masked)


@fault("linear_input", ["input gradient"])
def input_gradient_of_ten_bits(dx, dy, w, x, batch, n_in, n_out, masked):
    SOUND["linear_input"](dx, ten_bits(dy), ten_bits(w), x, batch, n_in, n_out, masked)


@fault("linear_input", ["input gradient"])
def input_gradient_leaves_the_last_row(dx, dy, w, x, batch, n_in, n_out, masked):
    SOUND["linear_input"](dx, dy, w, x, batch - 1, n_in, n_out, masked)


@fault("linear_input", ["input gradient"])
def input_gradient_leaves_the_last_column(dx, dy, w, x, batch, n_in, n_out, masked):
    last = dx[:batch, n_in - 1].copy()
    SOUND["linear_input"](dx, dy, w, x, batch, n_in, n_out, masked)
    dx[:batch, n_in - 1] = last


@fault("linear_input", [])  # no view shows a pad: left to the kernel tests
def input_gradient_leaves_ones_in_pads(dx, dy, w, x, batch, n_in, n_out, masked):
    SOUND["linear_input"](dx, dy, w, x, batch, n_in, n_out, masked)
    dx[:batch, n_in:] = 1


# --- linear_parameters ---


@fault("linear_parameters", ["weights.grad", "bias.grad"])
def parameter_gradients_drop_a_row(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw, db, dy, x, batch - 1, n_in, n_out, numbers)


@fault("linear_parameters", ["weights.grad"])
def parameter_gradients_swap_two_rows(dw, db, dy, x, batch, n_in, n_out, numbers):
    x = x.copy()
    x[[0, 1]] = x[[1, 0]]
    SOUND["linear_parameters"](dw, db, dy, x, batch, n_in, n_out, numbers)


@fault("linear_parameters", ["weights.grad", "bias.grad"])
def parameter_gradients_in_half_precision(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw, db, half(dy), half(x[:batch, :n_in]), batch, n_in, n_out, numbers)


@fault("linear_parameters", ["weights.grad", "bias.grad"])
def parameter_gradients_of_ten_bits(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw, db, ten_bits(dy), ten_bits(x[:batch, :n_in]), batch, n_in, n_out, numbers)


@fault("linear_parameters", ["weights.grad"])
def weight_gradient_leaves_the_last_row(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw[: n_in - 1], db, dy, x, batch, n_in - 1, n_out, numbers)


@fault("linear_parameters", ["weights.grad", "bias.grad"])
def parameter_gradients_leave_the_last_column(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw, db, dy, x, batch, n_in, n_out - 1, numbers)


@fault("linear_parameters", ["bias.grad"])
def bias_gradient_is_added_twice(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw, db, dy, x, batch, n_in, n_out, numbers)
    db[:, :n_out] += dy[:batch, :n_out].sum(0)


@fault("linear_parameters", ["bias.grad"])
def bias_gradient_is_the_mean(dw, db, dy, x, batch, n_in, n_out, numbers):
    SOUND["linear_parameters"](dw, db, dy, x, batch, n_in, n_out, numbers)
    db[:, :n_out] -= dy[:batch, :n_out].sum(0) * (1 - 1 / batch)


# --- ReLU ---


@fault("relu_forward", ["output"])
def relu_passes_everything(y, x):
    np.copyto(y, x)


@fault("relu_forward", ["output"])
def relu_is_the_magnitude(y, x):
    np.abs(x, out=y)


@fault("relu_forward", ["output"])
def relu_leaves_the_last_row(y, x):
    SOUND["relu_forward"](y[:-1], x[:-1])


@fault("relu_input", ["input gradient"])
def relu_mask_by_not_less(dx, dy, y):
    np.copyto(dx, np.where(y >= 0, dy, 0))


@fault("relu_input", ["input gradient"])
def relu_mask_leaves_the_last_row(dx, dy, y):
    SOUND["relu_input"](dx[:-1], dy[:-1], y[:-1])


@fault("relu_input", ["input gradient"])
def relu_mask_of_the_neighbour(dx, dy, y):
    SOUND["relu_input"](dx, dy, np.roll(y, 1, axis=0))


# --- losses ---


def loss_gradient_of_the_sum(sound, results, pred, target, numbers, reduction):
    loss = sound(results, pred, target, numbers, reduction)
    results[0] *= pred.size
    return loss


def loss_gradient_of_the_other_sign(sound, results, pred, target, numbers, reduction):
    loss = sound(results, pred, target, numbers, reduction)
    np.negative(results[0], out=results[0])
    return loss


def loss_gradient_leaves_the_last_column(sound, results, pred, target, numbers, reduction):
    loss = sound(results, pred, target, numbers, reduction)
    results[0][:, -1] = 0  # as in memory that is new: elsewhere, the right number may stand there from a run before
    return loss


def loss_is_doubled(sound, results, pred, target, numbers, reduction):
    return 2 * sound(results, pred, target, numbers, reduction)


def loss_in_half_precision(sound, results, pred, target, numbers, reduction):
    return sound(results, half(pred), target, numbers, reduction)


def loss_drops_the_last_row(sound, results, pred, target, numbers, reduction):
    sound(results, pred, target, numbers, reduction)
    return sound(np.empty_like(results[:, :-1]), pred[:-1], target[:-1], numbers, reduction)


def loss_of_the_neighbours_target(sound, results, pred, target, numbers, reduction):
    return sound(results, pred, np.roll(target, 1, axis=0), numbers, reduction)


for _of in LOSSES:
    for _fault, _seen in (
        (loss_gradient_of_the_sum, ["gradient"]),
        (loss_gradient_of_the_other_sign, ["gradient"]),
        (loss_gradient_leaves_the_last_column, ["gradient"]),
        (loss_is_doubled, ["value"]),
        (loss_in_half_precision, ["value"] if _of in ("mae", "quantile") else ["value", "gradient"]),
        (loss_drops_the_last_row, ["value"]),
        (loss_of_the_neighbours_target, ["value", "gradient"]),
    ):
        FAULTS[f"{_fault.__name__}-{_of}"] = _of, partial(_fault, SOUND[_of]), set(_seen), True


# --- whole programs ---


@fault("linear_forward", ["output"], bounds=False)
def program_skips_its_relu(y, x, w, b, batch, n_in, rectified):
    SOUND["linear_forward"](y, x, w, b, batch, n_in, False)


@fault("walk", ["weights.grad, whole model", "bias.grad, whole model"], bounds=False)
def whole_backward_stops_before_the_first_layer(inputs, work, params, target, numbers, table, batch):
    walked = table.copy()
    if len(table) > 1:
        walked[: np.flatnonzero(table[:, 2])[0] + 1, :3] = 0
    WALK(inputs, work, params, target, numbers, walked, batch)


WALK = walk.backward


def planted(monkeypatch, name):
    of, function, *_ = FAULTS[name]
    if of == "walk":
        monkeypatch.setattr(walk, "backward", function)
        return
    part, names = PARTS[of]

    def faulty(op):
        values = {name: getattr(op, name) for name in names.split()}
        function(*(value[0] if name.endswith("_kept") else value for name, value in values.items()))

    plant(monkeypatch, part, function if names is None else faulty)


def run_cross_check(dtype, of="mse"):
    model = network(3, 9, 5, 2, dtype=dtype)
    model = nn.Sequential(nn.ReLU(), *model.graphs)  # the first is not done in the same pass as a Linear
    rng = np.random.default_rng(2)
    cls, part = LOSSES[of]
    target = rng.dirichlet(np.ones(2), 6) if part in cls._kernel_kind.variants else None
    return nn.cross_check(model, rng.normal(size=(6, 3)), target, cls())


dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


@dtypes
@pytest.mark.parametrize("of", LOSSES)
def test_without_a_fault_nothing_is_reported(of, dtype):
    """Also the kernels as they are called here."""
    assert run_cross_check(dtype, of).passed


@dtypes
@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name][2]])
def test_cross_check_reports(name, dtype, monkeypatch):
    planted(monkeypatch, name)
    report = run_cross_check(dtype, FAULTS[name][0] if FAULTS[name][0] in LOSSES else "mse")
    failed = [row for row in report.rows if not row.passed]
    assert {row.backend for row in failed} == {"numpy"}  # and nothing is said against the sound kernels
    assert FAULTS[name][2] <= {row.what for row in failed}
    with pytest.raises(nn.CheckFailed, match="WRONG on numpy"):
        report.raise_if_failed()


# --- the bounds of the kernel tests ---


def examine(kernel, dtype, kernels):
    """What the kernel tests demand of one call; AssertionError where it is not met."""
    case = Case(6, 9, 5)
    batch, n_in, n_out = case
    call = build(kernel, case, dtype)
    if kernel == "linear_forward":
        call.run(kernels)
        bounds.check("planted", call["y"][:batch, :n_out], _cut(forward_reference(call), n_out))
    elif kernel == "linear_input":
        call.run(kernels)
        bounds.check("planted", call["dx"][:batch, :n_in], input_reference(call))
        check_pads(call["dx"][:batch], n_in)
    elif kernel == "linear_parameters":
        call.run(kernels)
        for name, exact in zip(("dw", "db"), parameter_references(call), strict=True):
            bounds.check("planted", call[name][:, :n_out], exact)
    elif kernel in LOSSES:
        judge(call, call.run(kernels), "planted")
    else:
        call.run(kernels)
        result, source = (call["y"], call["x"]) if kernel == "relu_forward" else (call["dx"], call["dy"])
        mask = source > 0 if kernel == "relu_forward" else call["y"] > 0
        assert bounds.same_bits(result[:, :n_out], np.where(mask, source, 0)[:, :n_out])


def _cut(exact, n):
    return exact._replace(value=exact.value[:, :n], magnitude=exact.magnitude[:, :n])


@dtypes
@pytest.mark.parametrize("kernel", list(SOUND))
def test_sound_kernels_are_within_the_bounds(kernel, dtype):
    for backend in "numba", "numpy":
        examine(kernel, dtype, kernels_of(backend))


@dtypes
@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name][3]])
def test_the_bounds_of_the_kernel_tests_catch(name, dtype, monkeypatch):
    planted(monkeypatch, name)
    with pytest.raises(AssertionError):
        examine(FAULTS[name][0], dtype, kernels_of("numpy"))
