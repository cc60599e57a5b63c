"""The rules of optimizers against higher precision, and against their twins."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import build
from draws import exact
from references import check_pads
from sizes import CASES
from twins import backends, dtypes, shapes

from fastnp.kernels import padded

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
        ld = padded(case.n_out, call.dtype.itemsize)
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
