"""Activations against higher precision, and against their twins."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import build
from declared import ACTIVATIONS, activation
from draws import exact
from references import check_pads
from sizes import CASES, Case
from twins import BOOLS, NUMBA, TWINS, backends, dtypes, run_both, shapes

SPECIAL = (0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 5e-324, -5e-324, 1e-38, -1e-38, 3e38, -3e38, np.inf, -np.inf, NAN, -NAN)


def special(rng, shape):
    """Zeros of both signs, subnormal numbers, infinities and NaN, in random places."""
    return rng.choice(SPECIAL, shape)


def dense(dtype, count=4096):
    """Numbers of all exponents and both signs, many around 1, and the special ones."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    exponents = rng.uniform(info.minexp - info.nmant, info.maxexp, count)
    with np.errstate(all="ignore"):
        wide = np.exp2(exponents) * rng.uniform(1, 2, count)
        around = [rng.uniform(0, top, count) for top in (0.01, 1, 10, 100)]
        numbers = np.concatenate([wide, *around, [1.0, info.max, info.tiny, info.smallest_subnormal]])
        return np.concatenate([numbers, -numbers, SPECIAL]).astype(dtype)


def columns(numbers):
    """The numbers as rows of 64, the last filled up with ones."""
    return np.append(numbers, np.ones(-len(numbers) % 64, numbers.dtype)).reshape(-1, 64)


def settings():
    """Each activation, with some numbers where it has a setting."""
    for name, make in ACTIVATIONS.items():
        for setting in (0.25, 0.01, 0.0) if make()._kernel_settings() else (0.25,):
            if (name, setting) != ("elu", 0.0):  # which it refuses
                yield pytest.param(name, setting, id=f"{name}-{setting}")


activations = pytest.mark.parametrize(("name", "setting"), list(settings()))


@dtypes
@activations
def test_values(name, dtype, setting):
    x = columns(dense(dtype))
    layer = activation(name, setting)
    value, ulps = bounds.exact_value(layer, x)
    for kernels in NUMBA, TWINS:
        call = build(f"{name}_forward", Case(len(x), 64, 64), dtype, setting=setting)
        call["x"][:, :64] = x
        with np.errstate(all="ignore"):
            call.run(kernels)
        y = call["y"][:, :64]
        bounds.check_ulps(f"{name} value", y, value, ulps)
        zeros = x == 0
        if not layer._exact_value(np.zeros(2)).any():
            kept = np.signbit(x[zeros]) if layer._keeps_zeros else np.zeros(zeros.sum(), bool)
            assert not y[zeros].any() and np.array_equal(np.signbit(y[zeros]), kept)
        vanished = (y == 0) & ~zeros  # such as SiLU at −∞
        assert np.array_equal(np.signbit(y[vanished]), np.signbit(value[vanished]))


@dtypes
@activations
def test_gradients(name, dtype, setting):
    """dx for the values that the kernel itself gives, which may be off, and for random gradients."""
    x = columns(dense(dtype))
    layer, case = activation(name, setting), Case(len(x), 64, 64)
    forward = build(f"{name}_forward", case, dtype, setting=setting)
    forward["x"][:, :64] = x
    with np.errstate(all="ignore"):
        forward.run(NUMBA)
    y = forward["y"][:, :64]
    dy = np.random.default_rng(1).standard_normal(x.shape).astype(dtype)
    value, bound = bounds.exact_gradient(layer, dy, x, y)
    for kernels in NUMBA, TWINS:
        call = build(f"{name}_input", case, dtype, setting=setting)
        for field, numbers in ("x", x), ("y", y), ("dy", dy):
            call[field][:, :64] = numbers
        with np.errstate(all="ignore"):
            call.run(kernels)
        bounds.check_ulps(f"{name} gradient", call["dx"][:, :64], value, bound)


draws = pytest.mark.parametrize("draw", [exact, special], ids=lambda draw: draw.__name__)


@pytest.mark.pairs
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


@pytest.mark.pairs
@dtypes
@shapes
@draws
@pytest.mark.parametrize("in_place", BOOLS)
def test_relu_input(case, dtype, draw, in_place):
    with np.errstate(invalid="ignore"):
        before = build("relu_input", case, dtype, draw=draw)
        dy, y = before["dy"][:, : case.n_out], before["y"][:, : case.n_out]
        expected = np.where(y > 0, dy, dtype(0))
        for call in run_both("relu_input", case, dtype, draw=draw, in_place=in_place):
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
    call = build("relu_input", CASES[0]._replace(n_out=8), dtype)
    call["y"][:, :8], call["dy"][:, :8] = y, np.arange(1, 9)
    call.run(kernels)
    assert call["dx"][0, :8].tolist() == [0, 0, 3, 0, 5, 0, 0, 8]
