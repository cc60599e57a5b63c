"""Every kernel against a result of higher precision, and against its twin.

The cases and their guarded memory are in cases.py, the bounds in bounds.py.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import bounds
import numpy as np
import pytest
from cases import BUILDERS, CASES, DTYPES, NAN, NETWORKS, Network, build, exact, parameter_views, rows
from references import check_pads, forward_reference, input_reference, parameter_references

import fastnp
from fastnp import kernels as layout
from fastnp.backend import BACKENDS, kernels_of

NUMBA = kernels_of("numba")
TWINS = kernels_of("numpy")
BOOLS = (False, True)

# Elementwise kernels see only the shape (batch, n_out).
SHAPES = list({(case.batch, case.n_out): case for case in CASES if case.batch * case.n_out < 8192}.values())

backends = pytest.mark.parametrize("kernels", [NUMBA, TWINS], ids=BACKENDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
cases = pytest.mark.parametrize("case", CASES, ids=str)
shapes = pytest.mark.parametrize("case", SHAPES, ids=lambda case: f"{case.batch}x{case.n_out}")
networks = pytest.mark.parametrize("network", NETWORKS, ids=str)


def run_both(kernel, case, dtype, **options):
    """The calls of the kernel and of its twin, with equal arguments."""
    calls = build(kernel, case, dtype, **options), build(kernel, case, dtype, **options)
    for call, kernels in zip(calls, (NUMBA, TWINS), strict=True):
        call.run(kernels)
    return calls


def check_both(kernel, fast, twin, reference):
    """Both within the bounds, and within twice the hard bound of each other."""
    bounds.check(f"{kernel} numba", fast, reference)
    bounds.check(f"{kernel} numpy", twin, reference)
    bounds.check_twins(kernel, fast, twin, reference)


@dtypes
def test_padded_rows_are_whole_vectors_and_never_a_cache_stride_apart(dtype):
    itemsize = np.dtype(dtype).itemsize
    assert layout.padded(0, itemsize) == 0
    for n in range(1, 600):
        length = layout.padded(n, itemsize) * itemsize
        assert length % layout.PAD_BYTES == 0
        assert length % layout.CACHE_STRIDE != 0
        assert n * itemsize <= length < n * itemsize + 2 * layout.PAD_BYTES


# --- Linear ---


@dtypes
@cases
@pytest.mark.parametrize("relu", BOOLS)
def test_linear_forward(case, dtype, relu):
    fast, twin = run_both("linear_forward", case, dtype, relu=relu)
    reference = forward_reference(fast)
    check_both("linear_forward", fast["y"][: case.batch], twin["y"][: case.batch], reference)
    if relu:  # the masks agree wherever the sum is further from 0 than the bound
        linear = forward_reference(build("linear_forward", case, dtype))
        clear = np.abs(linear.value) > bounds.hard_bound(linear)
        for call in fast, twin:
            positive = call["y"][: case.batch] > 0
            assert np.array_equal(positive[clear], (linear.value > 0)[clear])


@dtypes
@cases
@pytest.mark.parametrize("relu_input", BOOLS)
def test_linear_backward_input(case, dtype, relu_input):
    fast, twin = run_both("linear_backward_input", case, dtype, relu_input=relu_input)
    results = [call["dx"][: case.batch, : case.n_in] for call in (fast, twin)]
    check_both("linear_backward_input", *results, input_reference(fast))
    for call in fast, twin:
        check_pads(call["dx"][: case.batch], case.n_in)
        if relu_input:
            assert not call["dx"][: case.batch, : case.n_in][~(call["x"][: case.batch, : case.n_in] > 0)].any()


@dtypes
@cases
@pytest.mark.parametrize("add_to", BOOLS)
def test_linear_backward_parameters(case, dtype, add_to):
    before = build("linear_backward_parameters", case, dtype, add_to=add_to)
    n_out = case.n_out
    old = [before[name][:, :n_out] for name in ("dw", "db")] if add_to else []
    fast, twin = run_both("linear_backward_parameters", case, dtype, add_to=add_to)
    for name, reference in zip(("dw", "db"), parameter_references(before, *old), strict=True):
        check_both(f"linear_backward_parameters {name}", fast[name][:, :n_out], twin[name][:, :n_out], reference)
        for call in fast, twin:
            check_pads(call[name], n_out)


@backends
@dtypes
@cases
def test_linear_on_integers_has_the_same_bits_in_any_order(case, dtype, kernels):
    batch, n_in, n_out = case
    for relu in BOOLS:
        call = build("linear_forward", case, dtype, draw=exact, relu=relu)
        call.run(kernels)
        assert np.array_equal(call["y"][:batch], forward_reference(call).value)
    for relu_input in BOOLS:
        call = build("linear_backward_input", case, dtype, draw=exact, relu_input=relu_input)
        call.run(kernels)
        assert np.array_equal(call["dx"][:batch, :n_in], input_reference(call).value)
    for add_to in BOOLS:
        call = build("linear_backward_parameters", case, dtype, draw=exact, add_to=add_to)
        references = parameter_references(call, *([call["dw"][:, :n_out], call["db"][:, :n_out]] if add_to else []))
        call.run(kernels)
        for name, reference in zip(("dw", "db"), references, strict=True):
            assert np.array_equal(call[name][:, :n_out], reference.value)


@dtypes
@pytest.mark.parametrize("power", [-20, 20])
def test_scaling_by_powers_of_two_changes_no_bit(dtype, power):
    for case in CASES:
        plain, scaled = build("linear_forward", case, dtype), build("linear_forward", case, dtype)
        for name in "w", "b":
            scaled[name][...] *= 2.0**power
        plain.run(NUMBA)
        scaled.run(NUMBA)
        assert bounds.same_bits(plain["y"][: case.batch] * dtype(2.0**power), scaled["y"][: case.batch])


@dtypes
@cases
def test_a_row_has_the_same_bits_in_any_batch(case, dtype):
    """Alone, and as the first of more, a row's numbers are those that it has among all."""
    whole = {}
    for kernel, output, options in (
        ("linear_forward", "y", {"relu": False}),
        ("linear_forward", "y", {"relu": True}),
        ("linear_backward_input", "dx", {"relu_input": False}),
        ("linear_backward_input", "dx", {"relu_input": True}),
    ):
        whole = build(kernel, case, dtype, **options)
        whole.run(NUMBA)
        width = case.n_out if output == "y" else case.n_in
        inputs = [name for name in ("x", "dy") if name in whole.arguments]
        counts = {1, 2, 3, 5, case.batch - 1} if case.batch < 64 else {1, 5}
        for count, first in itertools.product(sorted(counts), range(min(case.batch, 9))):
            if not 0 < count <= case.batch - first:
                continue
            part = build(kernel, case, dtype, **options)
            part[output][:] = NAN
            for name in inputs:
                part[name][:count] = whole[name][first : first + count]
                part[name][count:] = NAN
            part.arguments["batch"] = count
            part.run(NUMBA)
            assert bounds.same_bits(part[output][:count, :width], whole[output][first : first + count, :width])
            assert np.isnan(part[output][count:]).all()


@dtypes
def test_the_neighbours_of_a_row_may_hold_anything(dtype):
    case = next(case for case in CASES if case.batch == 7)
    for kernel, output, name in ("linear_forward", "y", "x"), ("linear_backward_input", "dx", "dy"):
        plain, other = build(kernel, case, dtype), build(kernel, case, dtype)
        for row in 1, 3, 6:
            other[name][row, : case.n_in if name == "x" else case.n_out] = (NAN, np.inf, -np.inf)[row % 3]
        plain.run(NUMBA)
        other.run(NUMBA)
        for row in 0, 2, 4, 5:
            assert bounds.same_bits(plain[output][row], other[output][row])


@backends
@dtypes
@cases
def test_pads_of_gradients_stay_zero_when_numbers_are_not_finite(case, dtype, kernels):
    batch, n_in, n_out = case
    for value in np.inf, -np.inf, NAN:
        with np.errstate(all="ignore"):
            for name, relu_input in itertools.product(("dy", "w", "x"), BOOLS):
                call = build("linear_backward_input", case, dtype, relu_input=relu_input)
                call[name][:batch, : n_in if name == "x" else n_out] = value
                call.run(kernels)
                check_pads(call["dx"][:batch], n_in)
            for name, add_to in itertools.product(("dy", "x"), BOOLS):
                call = build("linear_backward_parameters", case, dtype, add_to=add_to)
                call[name][:batch, : n_in if name == "x" else n_out] = value
                call.run(kernels)
                for output in "dw", "db":
                    check_pads(call[output], n_out)


@backends
@dtypes
def test_linear_passes_on_what_is_not_finite(dtype, kernels):
    case = next(case for case in CASES if case.batch == 6)
    for value in np.inf, -np.inf, NAN:
        call = build("linear_forward", case, dtype)
        call["x"][2, 1], call["w"][1, 0], call["w"][1, 3] = value, 2, -2
        with np.errstate(all="ignore"):
            call.run(kernels)
        assert np.array_equal(call["y"][2, [0, 3]], [2 * value, -2 * value], equal_nan=True)
        assert np.isfinite(call["y"][[0, 1, 3, 4, 5], : case.n_out]).all()
        call = build("linear_backward_input", case, dtype, relu_input=True)
        call["x"][0, :3] = value, 1, 1
        call["x"][1, :3] = 0.0, -0.0, 1e-45
        call.run(kernels)
        passed = call["dx"][:2, :3] != 0
        assert passed.tolist() == [[value == np.inf, True, True], [False, False, dtype(1e-45) > 0]]


# --- elementwise: the same bits ---

SPECIAL = (0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 5e-324, -5e-324, 1e-38, -1e-38, 3e38, -3e38, np.inf, -np.inf, NAN, -NAN)


def special(rng, shape):
    """Zeros of both signs, subnormal numbers, infinities and NaN, in random places."""
    return rng.choice(SPECIAL, shape)


draws = pytest.mark.parametrize("draw", [exact, special], ids=lambda draw: draw.__name__)


@dtypes
@shapes
@draws
@pytest.mark.parametrize("in_place", BOOLS)
def test_relu_forward(case, dtype, draw, in_place):
    x = build("relu_forward", case, dtype, draw=draw)["x"][:, : case.n_out]
    expected = np.where(np.isnan(x) | (x > 0), x, dtype(0))
    for call in run_both("relu_forward", case, dtype, draw=draw, in_place=in_place):
        y = call["y"][:, : case.n_out]
        assert bounds.same_bits(y, expected)
        assert not np.signbit(y[y == 0]).any()


@dtypes
@shapes
@draws
@pytest.mark.parametrize("in_place", BOOLS)
def test_relu_backward(case, dtype, draw, in_place):
    with np.errstate(invalid="ignore"):
        before = build("relu_backward", case, dtype, draw=draw)
        dy, y = before["dy"][:, : case.n_out], before["y"][:, : case.n_out]
        expected = np.where(y > 0, dy, dtype(0))
        for call in run_both("relu_backward", case, dtype, draw=draw, in_place=in_place):
            assert bounds.same_bits(call["dx"][:, : case.n_out], expected)
            check_pads(call["dx"], case.n_out)


@backends
@dtypes
def test_relu_at_the_edges(dtype, kernels):
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, least, -least, np.inf, -np.inf, NAN, 1.0], dtype)
    call = build("relu_forward", CASES[0]._replace(n_out=8), dtype)
    call["x"][0, :8] = x
    call.run(kernels)
    y = call["y"][:, :8].copy()
    assert bounds.same_bits(y, np.array([[0, 0, least, 0, np.inf, 0, NAN, 1]], dtype))
    call = build("relu_backward", CASES[0]._replace(n_out=8), dtype)
    call["y"][:, :8], call["dy"][:, :8] = y, np.arange(1, 9)
    call.run(kernels)
    assert call["dx"][0, :8].tolist() == [0, 0, 3, 0, 5, 0, 0, 8]


@dtypes
@shapes
@pytest.mark.parametrize("scale", [1.0, 1 / 3, 1e-3])
def test_mse(case, dtype, scale):
    calls = [build("mse", case, dtype, scale=scale) for _ in range(2)]
    losses = [call.run(kernels) for call, kernels in zip(calls, (NUMBA, TWINS), strict=True)]
    pred, target = calls[0]["pred"], calls[0]["target"]
    difference = pred - target
    squares = difference.astype(np.longdouble).ravel() ** 2 / 2
    m = difference.size + 2  # additions, and the rounding of a square; the halving is exact
    gamma = m * 2.0**-53 / (1 - m * 2.0**-53)
    for call, loss in zip(calls, losses, strict=True):
        assert type(loss) is float
        assert bounds.fraction("mse hard", loss - squares.sum(), gamma * squares.sum() + np.finfo(float).tiny) <= 1
        assert bounds.same_bits(call["dpred"], dtype(scale) * difference)


@backends
@dtypes
def test_mse_of_special_values(dtype, kernels):
    case = CASES[0]._replace(n_out=4)
    for value, expected in (np.inf, np.inf), (NAN, NAN):
        call = build("mse", case, dtype, scale=1.0)
        call["pred"][0, 1] = value
        with np.errstate(all="ignore"):
            loss = call.run(kernels)
        assert np.array_equal(loss, expected, equal_nan=True)
        assert np.array_equal(call["dpred"][0, 1], value, equal_nan=True)
        assert np.isfinite(call["dpred"][0, [0, 2, 3]]).all()


@dtypes
def test_mse_sums_in_double(dtype):
    """In float32, 4096² + 1 is 4096²: the small squares would vanish."""
    case = CASES[0]._replace(n_out=1001)
    for kernels in NUMBA, TWINS:
        call = build("mse", case, dtype, scale=1.0)
        call["target"][:] = 0
        call["pred"][:] = 1
        call["pred"][0, 0] = 4096
        assert call.run(kernels) == (4096**2 + 1000) / 2


# --- momentum ---

DECAYS = [(0.0, False), (0.03, False), (0.03, True)]
decays = pytest.mark.parametrize(("weight_decay", "l1"), DECAYS, ids=["none", "l2", "l1"])


@backends
@dtypes
@shapes
@decays
@pytest.mark.parametrize(("learning_rate", "momentum"), [(0.01, 0.9), (0.3, 0.0), (0.0, 0.5)])
def test_momentum_update(case, dtype, kernels, learning_rate, momentum, weight_decay, l1):
    options = {"learning_rate": learning_rate, "momentum": momentum, "weight_decay": weight_decay, "l1": l1}
    call = build("momentum_update", case, dtype, **options)
    old = call["p"].copy(), call["v"].copy()
    call.run(kernels)
    bounds.check_update("momentum_update", (call["p"], call["v"]), old, call["g"], **options)
    for name in "pv":
        ld = layout.padded(case.n_out, call.dtype.itemsize)
        check_pads(call[name].reshape(case.batch, ld), case.n_out)


@backends
@dtypes
@pytest.mark.parametrize(("weight_decay", "l1"), [(0.0, False), (0.25, False), (0.25, True)], ids=["none", "l2", "l1"])
def test_momentum_update_on_exact_numbers(dtype, kernels, weight_decay, l1):
    case = CASES[0]._replace(batch=5, n_out=37)
    options = {"learning_rate": 0.125, "momentum": 0.5, "weight_decay": weight_decay, "l1": l1}
    call = build("momentum_update", case, dtype, draw=exact, **options)
    p, v, g = (call[name].copy() for name in "pvg")
    call.run(kernels)
    v = v / 2 + g + weight_decay * (np.sign(p) if l1 else p)
    assert np.array_equal(call["v"], v)
    assert np.array_equal(call["p"], p - v / 8)


@backends
@dtypes
def test_momentum_flushes_subnormal_velocities(dtype, kernels):
    tiny = np.finfo(dtype).tiny
    below = np.nextafter(tiny, dtype(0))
    values = np.array([tiny, below, -below, -tiny, np.finfo(dtype).smallest_subnormal, 0, -0.0, 2 * tiny], dtype)
    kept = np.array([tiny, 0, 0, -tiny, 0, 0, 0, 2 * tiny], dtype)
    for source in "vg":
        call = build("momentum_update", CASES[0]._replace(n_out=8), dtype, momentum=1.0, learning_rate=1.0)
        for name in "pvg":
            call[name][:] = 0
        call[source][:8] = values
        call.run(kernels)
        assert np.array_equal(call["v"][:8], kept)
        assert np.array_equal(call["p"][:8], -kept)


@backends
@dtypes
@decays
def test_momentum_keeps_what_is_not_finite(dtype, kernels, weight_decay, l1):
    case = CASES[0]._replace(n_out=9)
    options = {"weight_decay": weight_decay, "l1": l1}
    call = build("momentum_update", case, dtype, **options)
    call["p"][:9] = 1
    call["v"][:9] = (NAN, 0, np.inf, -np.inf, 0, 0, np.inf, 1, 1)
    call["g"][:9] = (0, NAN, 0, 0, np.inf, -np.inf, -np.inf, 1, 1)
    call["p"][7] = NAN
    with np.errstate(all="ignore"):
        call.run(kernels)
    inf = np.inf
    v, p = call["v"][:9], call["p"][:9]
    assert np.array_equal(v[:7], [NAN, NAN, inf, -inf, inf, -inf, NAN], equal_nan=True)
    assert np.array_equal(p[:8], [NAN, NAN, -inf, inf, -inf, inf, NAN, NAN], equal_nan=True)
    assert np.isnan(v[7]) == bool(weight_decay)
    assert np.isfinite(v[8])
    assert np.isfinite(p[8])


@backends
@dtypes
def test_l1_decay_of_zero_is_zero(dtype, kernels):
    call = build("momentum_update", CASES[0]._replace(n_out=4), dtype, weight_decay=0.5, l1=True)
    call["p"][:4], call["v"][:], call["g"][:] = (0.0, -0.0, 1e-45, -3), 0, 0
    expected = 0.5 * np.sign(call["p"])
    call.run(kernels)
    assert np.array_equal(call["v"], expected)


# --- memory ---

# Arrays that end, or start, at a page that may not be touched: reading there kills the process. NaN around
# the arrays does not show a read whose result is thrown away.
PROTECTED = """
import ctypes
import mmap
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])
from cases import BUILDERS, CASES, DTYPES, NETWORKS, build
from fastnp.backend import kernels_of

libc = ctypes.CDLL(None, use_errno=True)
pages = []


def protected(array, at_end):
    page = mmap.PAGESIZE
    room = (array.nbytes + page - 1) // page * page
    memory = mmap.mmap(-1, room + 2 * page)
    pages.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for address in start, start + page + room:
        assert libc.mprotect(ctypes.c_void_p(address), page, 0) == 0
    offset = page + (room - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


for kernel in sys.argv[2:]:
    takes_table = kernel.startswith(("program", "train"))
    for case in NETWORKS if takes_table else CASES:
        if not case.batch or (kernel == "train_batches" and not case.trains):
            continue
        for dtype in DTYPES:
            for at_end in True, False:
                call = build(kernel, case, dtype, offset=0)
                arguments = []
                for name, value in call.arguments.items():
                    if isinstance(value, np.ndarray) and value.size:
                        spare = name in ("x", "y", "dx", "dy") and value.shape[0] == case.batch + 3
                        value = protected(value[: case.batch] if spare else value, at_end)
                    arguments.append(value)
                print(kernel, case, dtype.__name__, "end" if at_end else "start", flush=True)
                getattr(kernels_of("numba"), kernel)(*arguments)
                del arguments[:]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_nothing_outside_the_arrays_is_read():
    here = Path(__file__).parents[1] / "support"
    path = os.pathsep.join(filter(None, [str(Path(fastnp.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", PROTECTED, str(here), *BUILDERS]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stderr}\nthe last call: {done.stdout.splitlines()[-1:]}"


# --- programs ---


@dtypes
@networks
def test_program_forward(network, dtype):
    """Each layer's output, given the input that stood in the workspace, within the bounds; ReLUs bitwise."""
    calls = run_both("program_forward", network, dtype)
    batch, layers = network.batch, network.layers
    for kernels, call in zip(BACKENDS, calls, strict=True):
        work, table = call["work"], call["table"].tolist()
        state = build("program_forward", network, dtype)["work"]
        first = table[0]
        x = rows(state, first[layout.X], batch, first[layout.LD_IN])[:, : network.n_in]
        for i, op in enumerate(table):
            y = rows(work, op[layout.Y], batch, op[layout.LD_OUT])[:, : op[layout.N_OUT]]
            behind = layers[i + 1 :]
            clipped = bool(behind) and behind[0] == "relu"  # in place, so this is what is left of y
            if op[layout.OP] == layout.LINEAR:
                w, b = (view[:, : op[layout.N_OUT]] for view in parameter_views(call["params"], op))
                reference = bounds.product(x, w, b)
                reference = bounds.positive_part(reference) if clipped else reference
                bounds.check(f"program_forward {kernels}", y, reference)
            else:
                assert bounds.same_bits(y, np.where(x <= 0, dtype(0), x))
            x = y


@dtypes
@networks
@pytest.mark.parametrize("add_to", BOOLS)
def test_program_backward(network, dtype, add_to):
    """Each layer's gradients, given the output gradient that stood in the workspace, within the bounds."""
    before = build("program_backward", network, dtype, add_to=add_to)
    calls = run_both("program_backward", network, dtype, add_to=add_to)
    batch = network.batch
    for kernels, call in zip(BACKENDS, calls, strict=True):
        work, table = call["work"], call["table"].tolist()
        last = table[-1]
        seed = rows(before["work"], last[layout.DY], batch, last[layout.LD_OUT])[:, : last[layout.N_OUT]]
        for i, op in reversed(list(enumerate(table))):
            n_in, n_out, ld_in, ld_out = op[layout.N_IN : layout.LD_OUT + 1]
            dx, x = (rows(work, op[k], batch, ld_in) for k in (layout.DX, layout.X))
            dy, y = (rows(work, op[k], batch, ld_out)[:, :n_out] for k in (layout.DY, layout.Y))
            check_pads(dx, n_in)
            if op[layout.OP] == layout.RELU:
                assert not dx[:, :n_in][~(y > 0)].any()
                if i == len(table) - 1:
                    assert bounds.same_bits(dx[:, :n_in], np.where(y > 0, seed, dtype(0)))
                continue
            w, _ = (view[:, :n_out] for view in parameter_views(call["params"], op))
            reference = bounds.product(dy, w.T)
            if i and network.layers[i - 1] == "relu":
                mask = x[:, :n_in] > 0
                reference = reference._replace(value=reference.value * mask)
            bounds.check(f"program_backward dx {kernels}", dx[:, :n_in], reference)
            new, old = parameter_views(call["grads"], op), parameter_views(before["grads"], op)
            starts = [view[:, :n_out] if add_to else None for view in old]
            ones = np.ones((1, batch), dtype)
            for name, grad, a, start in zip("wb", new, (x[:, :n_in].T, ones), starts, strict=True):
                bounds.check(f"program_backward d{name} {kernels}", grad[:, :n_out], bounds.product(a, dy, start))
                check_pads(grad, n_out)


@networks
def test_program_on_integers_has_the_same_bits_in_both_twins(network):
    """In float64 even the widest network's sums of small integers stay exact, layer behind layer."""

    def small(rng, shape):
        return rng.integers(-2, 3, shape).astype(np.float64)

    fast, twin = run_both("program_forward", network, np.float64, draw=small)
    for op in fast["table"].tolist():
        y, z = (rows(call["work"], op[layout.Y], network.batch, op[layout.LD_OUT]) for call in (fast, twin))
        assert np.array_equal(y[:, : op[layout.N_OUT]], z[:, : op[layout.N_OUT]])
    for add_to in BOOLS:
        fast, twin = run_both("program_backward", network, np.float64, draw=small, add_to=add_to)
        assert np.array_equal(fast["grads"], twin["grads"], equal_nan=True)
        op = fast["table"][0]
        dx, dz = (rows(call["work"], op[layout.DX], network.batch, op[layout.LD_IN]) for call in (fast, twin))
        assert np.array_equal(dx, dz)


def _layer_by_layer_forward(call, kernels):
    work, batch = call["work"], call["batch"]
    for op in call["table"][call["first"] : call["last"]].tolist():
        y, x = (rows(work, op[a], batch, op[ld]) for a, ld in ((layout.Y, layout.LD_OUT), (layout.X, layout.LD_IN)))
        if op[layout.OP] == layout.LINEAR:
            kernels.linear_forward(y, x, *parameter_views(call["params"], op), batch, op[layout.N_IN], False)
        else:
            kernels.relu_forward(y, x)


def _layer_by_layer_backward(call, kernels):
    work, batch = call["work"], call["batch"]
    for op in reversed(call["table"][call["first"] : call["last"]].tolist()):
        n_in, n_out, ld_in, ld_out = op[layout.N_IN : layout.LD_OUT + 1]
        dx, x = (rows(work, op[k], batch, ld_in) for k in (layout.DX, layout.X))
        dy, y = (rows(work, op[k], batch, ld_out) for k in (layout.DY, layout.Y))
        if op[layout.OP] == layout.LINEAR:
            w, _ = parameter_views(call["params"], op)
            numbers = layout.SCRATCH_ROW_BYTES // work.itemsize
            scratch = rows(work, op[layout.SCRATCH], ld_out, numbers)
            kernels.linear_backward_input(dx, dy, w, scratch, x, batch, n_in, n_out, False)
            dw, db = parameter_views(call["grads"], op)
            kernels.linear_backward_parameters(dw, db, dy, x, batch, n_in, n_out, call["add_to"])
        else:
            kernels.relu_backward(dx, dy, y)


def _results(call):
    """Everything that a program leaves: activations, their gradients, parameters' gradients; no pads, no scratch."""
    batch = call["batch"]
    for op in call["table"].tolist():
        for k, ld, n in (
            (layout.X, layout.LD_IN, layout.N_IN),
            (layout.Y, layout.LD_OUT, layout.N_OUT),
            (layout.DX, layout.LD_IN, layout.N_IN),
            (layout.DY, layout.LD_OUT, layout.N_OUT),
        ):
            yield rows(call["work"], op[k], batch, op[ld])[:, : op[n]]
    if "grads" in call.arguments:
        yield call["grads"]


def assert_same_results(a, b):
    assert all(bounds.same_bits(x, y) for x, y in zip(_results(a), _results(b), strict=True))


@backends
@dtypes
@networks
def test_program_has_the_bits_of_its_layers_one_by_one(network, dtype, kernels):
    whole, layers = (build("program_forward", network, dtype) for _ in range(2))
    whole.run(kernels)
    _layer_by_layer_forward(layers, kernels)
    assert_same_results(whole, layers)
    for add_to in BOOLS:
        whole, layers = (build("program_backward", network, dtype, add_to=add_to) for _ in range(2))
        whole.run(kernels)
        _layer_by_layer_backward(layers, kernels)
        assert_same_results(whole, layers)


@backends
@dtypes
@networks
def test_program_cut_in_two_has_the_same_bits(network, dtype, kernels):
    n = len(network.layers)
    for kernel, by_layer, order in (
        ("program_forward", _layer_by_layer_forward, 1),
        ("program_backward", _layer_by_layer_backward, -1),
    ):
        whole = build(kernel, network, dtype)
        whole.run(kernels)
        for cut in range(n + 1):
            parts, layers = (build(kernel, network, dtype) for _ in range(2))
            for first, last in [(0, cut), (cut, n)][::order]:
                for call in parts, layers:
                    call.arguments.update(first=first, last=last)
                parts.run(kernels)
                by_layer(layers, kernels)
                assert_same_results(parts, layers)
            assert_same_results(whole, parts)


@backends
def test_program_runs_no_row_outside_its_range(kernels):
    network = NETWORKS[0]
    for first, last in (0, 0), (2, 2), (2, 5), (1, 2), (6, 7):
        call = build("program_backward", network, np.float32)
        call.arguments.update(first=first, last=last)
        for row in range(last):  # a gradient to start from
            op = call["table"][row]
            rows(call["work"], op[layout.DY], network.batch, op[layout.LD_OUT])[:, : op[layout.N_OUT]] = row
        before = call["work"].copy(), call["grads"].copy()
        call.run(kernels)
        for row, op in enumerate(call["table"]):
            if op[layout.OP] == layout.LINEAR:
                new, old = (parameter_views(grads, op)[0] for grads in (call["grads"], before[1]))
                assert bounds.same_bits(new, old) == (not first <= row < last)
        if first == last:
            assert bounds.same_bits(call["work"], before[0])


@dtypes
@networks
def test_program_rows_do_not_depend_on_the_batch(network, dtype):
    whole = build("program_forward", network, dtype)
    whole.run(NUMBA)
    first, last = whole["table"][0], whole["table"][-1]
    inputs = rows(build("program_forward", network, dtype)["work"], first[layout.X], network.batch, first[layout.LD_IN])
    outputs = rows(whole["work"], last[layout.Y], network.batch, last[layout.LD_OUT])[:, : last[layout.N_OUT]]
    for row in range(network.batch):
        alone = build("program_forward", network, dtype)
        alone.arguments["batch"] = 1
        rows(alone["work"], first[layout.X], network.batch, first[layout.LD_IN])[:] = NAN
        rows(alone["work"], first[layout.X], 1, first[layout.LD_IN])[:] = inputs[row]
        alone.run(NUMBA)
        y = rows(alone["work"], last[layout.Y], 1, last[layout.LD_OUT])[:, : last[layout.N_OUT]]
        assert bounds.same_bits(y, outputs[row : row + 1])


# --- training ---

trainable = pytest.mark.parametrize("network", [network for network in NETWORKS if network.trains], ids=str)
TRAININGS = [
    {},
    {"stride": 0, "epochs": 3, "rates": (0.001, 0.5, 0.03), "mean": False},
    {"rates": (0.05, 0.9, 0.01), "l1": True, "short": False},
]
trainings = pytest.mark.parametrize("options", TRAININGS, ids=["mean", "sum-l2", "mean-l1"])


def _train_step_by_step(call, kernels, steps=None):
    """What `train_batches` does, one kernel call a phase; at most so many steps."""
    work, params, velocity, table = (call[name] for name in ("work", "params", "velocity", "table"))
    first, last = table[0].tolist(), table[-1].tolist()
    n = len(table)
    grads = np.zeros_like(params)
    count, size, done = call["rows"], call["batch_size"], 0
    for epoch in range(len(call["losses"])):
        for start in range(epoch * call["stride"], epoch * call["stride"] + count, size):
            if done == steps:
                return done
            batch = min(size, epoch * call["stride"] + count - start)
            rows(work, first[layout.X], batch, first[layout.LD_IN])[:] = call["x"][start : start + batch]
            kernels.program_forward(work, params, table, batch, 0, n)
            pred = rows(work, last[layout.Y], batch, last[layout.LD_OUT])[:, : last[layout.N_OUT]].copy()
            dpred = np.empty_like(pred)
            scale = 1 / pred.size if call["mean"] else 1.0
            target = call["y"][start : start + batch].copy()
            call["losses"][epoch] += kernels.mse(dpred, pred, target, scale) * scale
            dy = rows(work, last[layout.DY], batch, last[layout.LD_OUT])
            dy[:] = 0
            dy[:, : last[layout.N_OUT]] = dpred
            kernels.program_backward(work, grads, params, table, batch, 0, n, False)
            kernels.momentum_update(params, velocity, grads, *call["rates"].tolist(), call["l1"])
            done += 1
    return done


@backends
@dtypes
@trainable
@trainings
def test_train_batches_has_the_bits_of_the_steps_one_by_one(network, dtype, kernels, options):
    whole, steps = (build("train_batches", network, dtype, **options) for _ in range(2))
    before = whole["params"].copy()
    assert whole.run(kernels) == _train_step_by_step(steps, kernels)
    for name in "losses", "params", "velocity":
        assert bounds.same_bits(whole[name], steps[name])
        assert np.isfinite(whole[name][~np.isnan(before)] if name != "losses" else whole[name]).all()
    assert not bounds.same_bits(whole["params"], before)
    for op in whole["table"]:
        if op[layout.OP] == layout.LINEAR:
            for name in "params", "velocity":
                for view in parameter_views(whole[name], op):
                    check_pads(view, op[layout.N_OUT])


@trainable
@trainings
def test_train_batches_and_its_twin_stay_together(network, options):
    """In float64, over a few steps: each is off by some 1e-14 of its numbers."""
    fast, twin = run_both("train_batches", network, np.float64, **options)
    for name in "losses", "params", "velocity":
        np.testing.assert_allclose(fast[name], twin[name], rtol=1e-9, atol=1e-9 * np.nanmax(np.abs(twin[name])))


@backends
@dtypes
@pytest.mark.parametrize("value", [NAN, np.inf, -np.inf])
def test_train_batches_stops_before_a_loss_that_is_not_finite(dtype, kernels, value):
    network = NETWORKS[0]
    whole, steps = (build("train_batches", network, dtype) for _ in range(2))
    row = whole["rows"] + network.batch  # in the second batch of the second epoch
    whole["y"][row] = value
    with np.errstate(all="ignore"):
        assert whole.run(kernels) == 4
    assert _train_step_by_step(steps, kernels, steps=4) == 4
    for name in "params", "velocity":
        assert bounds.same_bits(whole[name], steps[name])
    assert whole["losses"][0] == steps["losses"][0]
    assert np.array_equal(whole["losses"][1], abs(value), equal_nan=True)


@backends
@dtypes
def test_train_batches_keeps_pads_zero_when_an_input_is_not_finite(dtype, kernels):
    """Behind weights below 0, a ReLU turns an infinite input into a finite loss; its gradient is NaN."""
    network = Network("", 1, (3, "relu", 2), 2)
    call = build("train_batches", network, dtype)
    weights, _ = parameter_views(call["params"], call["table"][0])
    weights[0, :3] = -1
    call["x"][0, 0] = np.inf
    with np.errstate(all="ignore"):
        assert call.run(kernels) == 1
    assert np.isnan(weights[0, :3]).all()
    for op in call["table"][[0, 2]]:
        for name in "params", "velocity":
            for view in parameter_views(call[name], op):
                check_pads(view, op[layout.N_OUT])
