"""Activations against higher precision, and against their twins."""

import bounds
import numpy as np
import pytest
from cases import NAN, build, exact
from references import check_pads
from sizes import CASES
from twins import BOOLS, backends, dtypes, run_both, shapes

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
