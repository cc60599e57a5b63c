"""Elementary functions of tiles, against long double."""

import bounds
import numba
import numpy as np
import pytest
from twins import dtypes

from fastnp.kernels.compiled import mathematics
from fastnp.kernels.compiled.simd import at, load, pointer, store, width, zeros


def applied(function):
    """A function of tiles as one of arrays."""

    @numba.njit
    def run(y, x):
        vector = zeros(pointer(x, 0), 1, 1)
        for i in range(0, x.size, width(vector)):
            store(function(load(vector, at(pointer(x, 0), i), 0)), at(pointer(y, 0), i), 0)

    def call(x):
        y = np.full_like(x, np.nan)
        run(y, x)
        return y

    return call


def sample(dtype, low, high, count=1 << 16):
    """Numbers of all exponents between low and high, and many in between."""
    rng = np.random.default_rng(0)
    tiny = float(np.finfo(dtype).tiny)
    numbers = np.concatenate([
        np.exp2(rng.uniform(np.log2(tiny), np.log2(high), count // 4)),
        -np.exp2(rng.uniform(np.log2(tiny), np.log2(-low), count // 4)),
        rng.uniform(low, high, count // 4), rng.uniform(-1, 1, count // 4),
    ])  # fmt: skip
    return numbers.astype(dtype)


@dtypes
def test_expm1(dtype):
    expm1, low = applied(mathematics.expm1), -80 if dtype == np.float32 else -700
    x = sample(dtype, low, 43)
    exact = np.expm1(x.astype(bounds.HIGHER[np.dtype(dtype)]))
    bounds.check_ulps("expm1", expm1(x), exact, 2)
    edges = np.array([0, 43, 44, np.inf, low, low - 1, -np.inf, np.nan] * 2, dtype)
    expected = np.expm1(np.array([0, 43, 43, 43, low, low, low, np.nan] * 2, np.float64))
    np.testing.assert_allclose(expm1(edges), expected, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_two_are_exact(dtype):
    from fastnp.kernels.compiled.simd import power_of_two

    info = np.finfo(dtype)
    n = np.arange(info.minexp, info.maxexp, dtype=dtype)
    n = np.append(n, np.zeros(-len(n) % 64, dtype))

    @numba.njit(inline="always")
    def power(x):
        return power_of_two(x)

    assert np.array_equal(applied(power)(n), np.ldexp(dtype(1), n.astype(int)))
