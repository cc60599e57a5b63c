"""Faults planted in the NumPy kernels of dropout and layer normalization: checks and kernel tests must report each."""

import numpy as np
import pytest
from cases import DTYPES, build
from planted import Changed, plant, sound
from sizes import Case

import fastnp as nn
from fastnp.backend import kernels_of
from fastnp.kernels.reference import dropout, normalization
from fastnp.program.op import Noise
from fastnp.trust.exact import sum_bound, wide
from fastnp.trust.masks import factors
from fastnp.trust.normalized import Normalized

FAULTS = {}  # name: (part, faulty part, where cross_check shall see it)
TWINS = kernels_of("numpy")
SOUND = {
    part: sound(part)
    for part in (
        "dropout.dropout.forward", "dropout.dropout.input", "normalization.layer_norm.forward",
        "normalization.layer_norm.input", "normalization.layer_norm.parameters.gradients",
    )
}  # fmt: skip


def fault(part, *seen):
    """Plant the decorated function in the place of a part."""

    def planted(function):
        FAULTS[function.__name__] = part, function, set(seen)
        return function

    return planted


# --- dropout ---


def masked(out, z, op, key=None, places=None, compare=np.greater_equal, scale=None):
    """A sound mask, but for what is given."""
    p, low, high = op.memory(3).tolist()
    n = op.n_out
    key = dropout._mix(dropout._mix(op.seed) + int(low) + 2**24 * int(high)) if key is None else key
    bits = dropout._random_bits(key, np.arange(op.batch * op.y.shape[1], dtype=np.uint32))
    places = np.arange(op.batch * n).reshape(-1, n) if places is None else places
    kept = compare(bits[places], int(p * 2**32))
    out[:, :n] = np.where(kept, z[:, :n] * out.dtype.type(1 / (1 - p) if scale is None else scale), 0)


def counted(op):
    op.memory(3)[1] += 1


@fault("dropout.dropout.forward")  # the mask is that of the count; `test_dropout` looks at the count
def forward_does_not_count(op):
    masked(op.y, op.x, op)


@fault("dropout.dropout.forward", "output")
def forward_counts_by_two(op):
    counted(op)
    masked(op.y, op.x, op)
    counted(op)


@fault("dropout.dropout.forward", "output")
def forward_does_not_mix_its_key(op):
    counted(op)
    masked(op.y, op.x, op, key=op.seed + int(op.memory(3)[1]))


@fault("dropout.dropout.forward", "output")
def forward_forgets_the_scale(op):
    counted(op)
    masked(op.y, op.x, op, scale=1)


@fault("dropout.dropout.forward", "output")
def forward_scales_in_half_precision(op):
    counted(op)
    masked(op.y, op.x, op, scale=np.float16(1 / 0.7))


@fault("dropout.dropout.forward", "output")
def forward_leaves_out_the_others(op):
    counted(op)
    masked(op.y, op.x, op, compare=np.less)


@fault("dropout.dropout.forward", "output")
def forward_has_one_mask_for_all_rows(op):
    counted(op)
    masked(op.y, op.x, op, places=np.tile(np.arange(op.n_out), (op.batch, 1)))


@fault("dropout.dropout.forward", "output")
def forward_counts_pads_as_places(op):
    counted(op)
    masked(op.y, op.x, op, places=np.arange(op.y.size).reshape(op.y.shape)[:, : op.n_out])


@fault("dropout.dropout.forward", "output")
def forward_leaves_nothing_out(op):
    counted(op)
    op.y[...] = op.x


@fault("dropout.dropout.input", "input gradient")
def input_draws_anew(op):
    counted(op)
    masked(op.dx, op.dy, op)


@fault("dropout.dropout.input", "input gradient")
def input_forgets_the_scale(op):
    masked(op.dx, op.dy, op, scale=1)


@fault("dropout.dropout.input", "input gradient")
def input_passes_everything(op):
    op.dx[...] = op.dy


# --- layer normalization ---


def forward_with(op, x=None, epsilon=0.0, ddof=0, low=1, outside=0.0, **changes):
    """A sound forward, but for what is given."""
    n, memory = op.n_out, normalization._memory(op)
    x = (op.x[:, :n] if x is None else x).astype(np.float64)
    high = x.mean(1, keepdims=True).astype(op.x.dtype)
    left = (x - high).mean(1, keepdims=True)
    var = np.var(x - high, axis=1, ddof=ddof)
    memory[:] = np.stack([high[:, 0], low * left[:, 0], 1 / (np.sqrt(var + epsilon) + outside)], 1)
    op = Changed(op, **changes)
    op.y[:, :n] = normalization._normalized(op) * op.weight_row[:, :n] + op.bias[:, :n]


@fault("normalization.layer_norm.forward", "output", "input gradient")
def forward_forgets_epsilon(op):
    forward_with(op)


@fault("normalization.layer_norm.forward", "output")
def forward_adds_epsilon_to_the_root(op):
    forward_with(op, outside=op.setting)


@fault("normalization.layer_norm.forward", "output", "input gradient")
def forward_divides_the_variance_by_one_less(op):
    forward_with(op, epsilon=op.setting, ddof=1)


@fault("normalization.layer_norm.forward", "output")
def forward_keeps_the_mean_in_one_number(op):
    forward_with(op, epsilon=op.setting, low=0)


@fault("normalization.layer_norm.forward", "output")
def forward_has_the_statistics_of_half_precision(op):
    with np.errstate(over="ignore"):
        forward_with(op, x=op.x[:, : op.n_out].astype(np.float16), epsilon=op.setting)


@fault("normalization.layer_norm.forward", "output")
def forward_forgets_the_weights(op):
    forward_with(op, epsilon=op.setting, weight_row=np.ones_like(op.weight_row))


@fault("normalization.layer_norm.forward", "output")
def forward_forgets_the_bias(op):
    forward_with(op, epsilon=op.setting, bias=0 * op.bias)


def input_with(op, weights=True, mean=True, slope=True, scale=True):
    n = op.n_out
    x, g = normalization._normalized(op), op.dy[:, :n] * (op.weight_row[:, :n] if weights else 1)
    result = g - mean * g.mean(1, keepdims=True) - slope * x * (g * x).mean(1, keepdims=True)
    op.dx[:, :n] = result * (normalization._memory(op)[:, 2:] if scale else 1)


@fault("normalization.layer_norm.input", "input gradient")
def input_forgets_the_weights(op):
    input_with(op, weights=False)


@fault("normalization.layer_norm.input", "input gradient")
def input_forgets_the_mean(op):
    input_with(op, mean=False)


@fault("normalization.layer_norm.input", "input gradient")
def input_forgets_the_variance(op):
    input_with(op, slope=False)


@fault("normalization.layer_norm.input", "input gradient")
def input_is_not_scaled(op):
    input_with(op, scale=False)


def parameters_with(op, **changes):
    SOUND["normalization.layer_norm.parameters.gradients"](Changed(op, **changes))


@fault("normalization.layer_norm.parameters.gradients", "weights.grad", "bias.grad")
def parameters_take_a_gradient_in_half_precision(op):
    parameters_with(op, dy=op.dy.astype(np.float16).astype(op.dy.dtype))


@fault("normalization.layer_norm.parameters.gradients", "weights.grad")
def parameters_take_the_input_as_it_is(op):
    memory = np.tile(np.array([0, 0, 1], op.x.dtype), op.batch)
    parameters_with(op, memory=lambda count: memory)


@fault("normalization.layer_norm.parameters.gradients", "weights.grad", "bias.grad")
def parameters_leave_the_last_row(op):
    dy = op.dy.copy()
    dy[-1] = 0
    parameters_with(op, dy=dy)


@fault("normalization.layer_norm.parameters.gradients", "weights.grad", "bias.grad")
def parameters_change_places(op):
    parameters_with(op, weight_row_kept=op.bias_kept, bias_kept=op.weight_row_kept)


# --- who must see them ---

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)


def run_cross_check(dtype):
    rng = np.random.default_rng(2)
    layers = [nn.LayerNorm(9, dtype=dtype), nn.Dropout(0.3, rng), nn.Linear(9, 9, weight_attr=nn.HeNormal(rng=rng))]
    for tensor in layers[0].parameters() + layers[2].parameters():
        tensor.convert(dtype)
    layers[0].weights.data, layers[0].bias.data = rng.normal(size=(2, 1, 9))
    x = 1000 + rng.normal(size=(6, 9))
    return nn.cross_check(nn.Sequential(*layers, nn.Dropout(0.3, rng), nn.LayerNorm(9, dtype=dtype)), x)


@dtypes
def test_without_a_fault_nothing_is_reported(dtype):
    assert run_cross_check(dtype).passed


@dtypes
@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name][2]])
def test_cross_check_reports(name, dtype, monkeypatch):
    part, faulty, seen = FAULTS[name]
    plant(monkeypatch, part, faulty)
    failed = [row for row in run_cross_check(dtype).rows if not row.passed]
    assert {row.backend for row in failed} == {"numpy"}  # and nothing is said against the sound kernels
    assert seen <= {row.what for row in failed}


def examine(part, dtype):
    """What the kernel tests demand of one call; AssertionError where it is not met."""
    room, _, role, *_ = part.split(".")
    builder = ("dropout_" if room == "dropout" else "layer_norm_") + role
    far = {} if room == "dropout" else {"far": 1000.0}
    call = build(builder, Case(6, 9, 9), dtype, **far)
    x, dy, w, b = (call[field][:, :9].copy() for field in ("x", "dy", "w", "b"))
    call.run(TWINS)
    if room == "dropout":
        noise = Noise(2**62 + 5, 0.3)
        noise.count = 4 + 2 * 2**24 + (role == "forward")
        got, given = (call["y"], x) if role == "forward" else (call["dx"], dy)
        assert np.array_equal(got[:, :9], given * factors(noise, given.shape, dtype))
        assert call["memory"][1] == 4 + (role == "forward")
        return
    exact, dy = Normalized(x, 1e-5), wide(dy)
    if role == "forward":
        judged = [("y", *exact.output(wide(w), wide(b)))]
    elif role == "input":
        judged = [("dx", *exact.input_gradient(dy, wide(w)))]
    else:
        judged = [("dw", *exact.weights_gradient(dy)), ("db", dy.sum(0), sum_bound(6, dtype, abs(dy).sum(0)))]
    for name, value, bound in judged:
        assert (abs(call[name][:, :9] - value) <= bound).all()


@dtypes
@pytest.mark.parametrize("part", SOUND)
def test_sound_kernels_are_within_the_bounds(part, dtype):
    examine(part, dtype)


@dtypes
@pytest.mark.parametrize("name", FAULTS)
def test_the_bounds_of_the_kernel_tests_catch(name, dtype, monkeypatch):
    part, faulty, _ = FAULTS[name]
    plant(monkeypatch, part, faulty)
    with pytest.raises(AssertionError):
        examine(part, dtype)
