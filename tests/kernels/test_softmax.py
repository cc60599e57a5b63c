"""Softmax, which is of rows, against higher precision."""

import bounds
import numpy as np
import pytest
from cases import build
from references import check_pads
from sizes import Case
from twins import backends, dtypes


def rows(n, spread, dtype, count=37):
    return (np.random.default_rng(n).standard_normal((count, n)) * spread).astype(dtype)


def check(name, error, bound):
    assert bounds.fraction(name, error, bound) <= 1


@pytest.mark.pairs
@backends
@dtypes
@pytest.mark.parametrize("n", [1, 2, 10, 15, 16, 17, 33, 100, 1000])
@pytest.mark.parametrize("spread", [0.1, 1, 5, 20])
def test_values_and_gradients(kernels, dtype, n, spread):
    """A value may be off by 5 ulp, by one more for each 1 that its x is below the largest, and by what the sum is."""
    x, info, high = rows(n, spread, dtype), np.finfo(dtype), bounds.HIGHER[np.dtype(dtype)]
    call = build("softmax_forward", Case(len(x), n, n), dtype)
    call["x"][:, :n] = x
    call.run(kernels)
    y = call["y"][:, :n]
    below = x.max(axis=1, keepdims=True).astype(high) - x
    e = np.exp(-below)
    exact = e / e.sum(axis=1, keepdims=True)
    ulps = 5 + below + (n / 32 if dtype == np.float64 else 0)
    check(f"softmax {n} value", y - exact, ulps * np.spacing(exact.astype(dtype)).astype(high))

    call = build("softmax_input", Case(len(x), n, n), dtype)
    call["y"][:, :n] = y
    call.run(kernels)
    dy, y = call["dy"][:, :n].astype(high), y.astype(high)
    mean = (y * dy).sum(axis=1, keepdims=True)
    size = y * (abs(dy) + (y * abs(dy)).sum(axis=1, keepdims=True))
    terms = 2 + (n / 32 if dtype == np.float64 else 0)
    check(f"softmax {n} gradient", call["dx"][:, :n] - y * (dy - mean), terms * info.eps * size + info.tiny)
    check_pads(call["dx"], n)


@backends
@dtypes
def test_a_row_does_not_depend_on_the_others(kernels, dtype):
    x = rows(21, 3, dtype)
    call = build("softmax_forward", Case(len(x), 21, 21), dtype)
    call["x"][:, :21] = x
    call["x"][1:3, 4] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        call.run(kernels)
    y = call["y"][:, :21]
    assert np.isnan(y[1:3]).all() and not np.isnan(np.delete(y, (1, 2), axis=0)).any()
    for i in 0, 5, 36:
        alone = build("softmax_forward", Case(1, 21, 21), dtype)
        alone["x"][:, :21] = x[i]
        alone.run(kernels)
        assert bounds.same_bits(alone["y"][0, :21], y[i])
