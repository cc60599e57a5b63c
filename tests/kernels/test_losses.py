"""Losses against higher precision, and against their twins."""

import bounds
import numpy as np
import pytest
from cases import NAN, build
from sizes import CASES
from twins import NUMBA, TWINS, backends, dtypes, shapes

from fastnp.kernels.table import MEAN, SUM


@dtypes
@shapes
@pytest.mark.parametrize("reduction", [MEAN, SUM])
def test_mse(case, dtype, reduction):
    if reduction == MEAN and not case.batch:
        pytest.skip("nothing to take a mean of")
    calls = [build("mse", case, dtype, reduction=reduction) for _ in range(2)]
    losses = [call.run(kernels) for call, kernels in zip(calls, (NUMBA, TWINS), strict=True)]
    pred, target = calls[0]["pred"], calls[0]["target"]
    difference = pred - target
    squares = difference.astype(np.longdouble).ravel() ** 2 / 2
    scale = 1 / pred.size if reduction == MEAN else 1.0
    squares *= scale
    m = difference.size + 4  # additions, and the rounding of a square, of the scale and by it; the halving is exact
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
        call = build("mse", case, dtype, reduction=SUM)
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
        call = build("mse", case, dtype, reduction=SUM)
        call["target"][:] = 0
        call["pred"][:] = 1
        call["pred"][0, 0] = 4096
        assert call.run(kernels) == (4096**2 + 1000) / 2
