"""Sizes, dtypes and backends that the tests of kernels run through."""

import platform

import bounds
import pytest
from cases import DTYPES, NETWORKS, build
from sizes import CASES

from fastnp.backend import BACKENDS, kernels_of
from fastnp.kernels.compiled import simd

NUMBA = kernels_of("numba")
TWINS = kernels_of("numpy")
BOOLS = (False, True)

# Without fused multiply-adds the last bits are others.
FUSED = platform.machine() not in ("x86_64", "AMD64", "i686") or "+fma" in simd._features.split(",")

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
