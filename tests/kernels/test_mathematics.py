"""Elementary functions of tiles, and activations made of them, against mpmath.

`pytest -s` shows the worst error of each, and where.
"""

import math

import bounds
import elementary
import numba
import numpy as np
import pytest
from twins import FUSED, dtypes

from fastnp.backend import BACKENDS, kernels_of
from fastnp.kernels.alone import Alone
from fastnp.kernels.compiled import mathematics
from fastnp.kernels.compiled.simd import at, load, pointer, power_of_two, root, scaled, splat, store, width, zeros

NAN = float("nan")


def applied(function):
    """A function of tiles as one of arrays."""

    @numba.njit
    def run(y, x):
        vector = zeros(pointer(x, 0), 1, 1)
        for i in range(0, x.size, width(vector)):
            store(function(load(vector, at(pointer(x, 0), i), 0)), at(pointer(y, 0), i), 0)

    def call(x):
        whole = np.append(x, np.ones(-len(x) % 64, x.dtype))
        y = np.full_like(whole, np.nan)
        run(y, whole)
        return y[: len(x)]

    return call


def activated(name, x, backend, role="forward"):
    """What an activation makes of numbers, or its slope there."""
    whole = np.append(x, np.ones(-len(x) % 64, x.dtype)).reshape(-1, 64)
    op = Alone(f"activations.{name}", len(whole), 64, 64, x.dtype, setting=1.0)
    op.x[...], op.dy[...] = whole, 1
    with np.errstate(all="ignore"):
        op.call(kernels_of(backend), "forward")
        if role == "input":
            op.call(kernels_of(backend), "input")
    return (op.dx if role == "input" else op.y).reshape(-1)[: len(x)].copy()


def sample(dtype, low, high, count):
    """Numbers of all exponents between low and high, many in between, the bounds, and 0 and −0."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    least = info.minexp - info.nmant
    parts = [rng.uniform(low, high, count), np.clip(rng.uniform(-4, 4, count), low, high), [0.0, -0.0, low, high]]
    for sign, end in (-1, -low), (1, high):
        if end > 0:
            parts.append(sign * np.exp2(rng.uniform(least, np.log2(end), count)))
    return np.concatenate(parts).astype(dtype)


def check(name, x, error, bound):
    """AssertionError where an error is beyond its bound; tells the largest."""
    worst = int(np.argmax(error))
    print(f"{name}: {error[worst]:.2f} at {x[worst]!r}; bound {bound}")
    assert bounds.fraction(name, error, np.asarray(bound)) <= 1


counts = pytest.mark.parametrize("count", [400, pytest.param(30_000, marks=pytest.mark.slow)])

# Of each function: from where to where, in float32 and in float64, and how many ulp it may be off.
RANGES = {
    "exp": ((-103, 88.7), (-745, 709.7), 1.5),
    "expm1": ((-80, 43), (-700, 43), 2),
    "log1p": ((0, 1), (0, 1), 2),
    "tanh": ((-30, 30), (-30, 30), 3),
    "sigmoid": ((-103, 103), (-745, 745), 3),
    "softplus": ((-103, 1000), (-745, 1000), 3.5),
}


@counts
@dtypes
@pytest.mark.parametrize("name", RANGES)
def test_functions(name, dtype, count):
    *ranges, bound = RANGES[name]
    x = sample(dtype, *ranges[dtype == np.float64], count)
    y = applied(getattr(mathematics, name))(x)
    _, ulps = elementary.errors(y, elementary.exact(elementary.FUNCTIONS[name], x))
    check(f"{name} {np.dtype(dtype)} ulp", x, ulps, bound)


SPECIAL = {  # of ∞, −∞, NaN, 0 and −0
    "exp": (np.inf, 0, NAN, 1, 1),
    "tanh": (1, -1, NAN, 0, -0.0),
    "sigmoid": (1, 0, NAN, 0.5, 0.5),
    "softplus": (np.inf, 0, NAN, np.log(2), np.log(2)),
}


@dtypes
@pytest.mark.parametrize("name", SPECIAL)
def test_special_numbers(name, dtype):
    y = applied(getattr(mathematics, name))(np.array([np.inf, -np.inf, NAN, 0.0, -0.0], dtype))
    assert bounds.same_bits(y, np.array(SPECIAL[name], dtype))


@dtypes
def test_expm1_beyond_its_range(dtype):
    low = -80 if dtype == np.float32 else -700
    edges = np.array([0, 43, 44, np.inf, low, low - 1, -np.inf, np.nan], dtype)
    expected = np.expm1(np.array([0, 43, 43, 43, low, low, low, np.nan], np.float64))
    np.testing.assert_allclose(applied(mathematics.expm1)(edges), expected, rtol=4 * np.finfo(dtype).eps)


@dtypes
def test_exp_overflows_and_underflows_where_it_must(dtype):
    """The last numbers whose powers are finite, normal, and not 0, and the next ones."""
    info, exp = np.finfo(dtype), applied(mathematics.exp)
    last = {
        np.float32: (88.72283, -87.33654, -103.97207),
        np.float64: (709.782712893384, -708.3964185322641, -745.13321),
    }
    top, normal, bottom = (dtype(x) for x in last[dtype])
    step = dtype(1e-5)
    assert np.isfinite(exp(np.array([top], dtype)))[0]
    assert np.isinf(exp(np.array([top + 2 * step, 1000, info.max], dtype))).all()
    assert exp(np.array([normal], dtype))[0] >= info.tiny > exp(np.array([normal - 2 * step], dtype))[0] > 0
    assert exp(np.array([bottom], dtype))[0] == info.smallest_subnormal
    assert not exp(np.array([bottom - 1e-4, -1000, -info.max], dtype)).any()


# Of each activation: how many ulp its value may be off, and its slope in eps·max(1, |slope|); None: see below.
ACTIVATIONS = {
    "elu": (2, 0.75), "tanh": (3, 2.5), "sigmoid": (3, 0.75), "silu": (3.5, 1.4), "softplus": (3.5, 0.75),
    "gelu": (None, 1.1), "gelu_tanh": (None, 1.5),
}  # fmt: skip
backends = pytest.mark.parametrize("backend", BACKENDS)


@counts
@dtypes
@backends
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype, backend, count):
    """Also where eˣ is subnormal, but x·eˣ is not. Of GELU, what is left of −4 may be off by so many ulp of 1."""
    x, eps = sample(dtype, *((-110, 110) if dtype == np.float32 else (-760, 760)), count), np.finfo(dtype).eps
    label, (bound, slope_bound) = f"{name} {np.dtype(dtype)} {backend}", ACTIVATIONS[name]
    values = elementary.exact(elementary.FUNCTIONS[name], x)
    error, ulps = elementary.errors(activated(name, x, backend), values)
    if bound is not None:
        check(f"{label} ulp", x, ulps, bound)
    else:
        sizes = np.maximum(1, np.abs(np.array([float(value) for value in values])))
        check(f"{label} eps", x, error / sizes / eps, 1.5 if dtype == np.float32 else 2)
    if name == "gelu":
        near = abs(x) < 4
        check(f"{label} ulp, |x| < 4", x[near], ulps[near], 4 if dtype == np.float32 or FUSED else 8)
    slopes = elementary.exact(elementary.SLOPES[name], x)
    error, _ = elementary.errors(activated(name, x, backend, "input"), slopes)
    sizes = np.maximum(1, np.abs(np.array([float(slope) for slope in slopes])))
    check(f"{label} slope", x, error / sizes / eps, slope_bound)


@numba.njit(inline="always")
def _power(n):
    return power_of_two(n)


@numba.njit(inline="always")
def _three_scaled(n):
    return scaled(splat(n, 3.0), n)


@dtypes
def test_powers_of_two_are_exact(dtype):
    info = np.finfo(dtype)
    n = np.arange(info.minexp, info.maxexp, dtype=dtype)
    assert np.array_equal(applied(_power)(n), np.ldexp(dtype(1), n.astype(int)))


@dtypes
def test_what_is_scaled_is_rounded_once(dtype):
    """Also beyond the powers of two that are normal numbers, down to 0 and up to ∞."""
    info = np.finfo(dtype)
    n = np.arange(info.minexp - info.nmant - 9, info.maxexp + 9, dtype=dtype)
    with np.errstate(over="ignore"):
        assert np.array_equal(applied(_three_scaled)(n), np.ldexp(dtype(3), n.astype(int)))


# --- roots, to the bit ---


@numba.njit(inline="always")
def _root(x):
    return root(x)


def exact_root(x):
    """The root of a float64, rounded once: by integers."""
    mantissa, exponent = math.frexp(x)
    exponent -= 200 + exponent % 2
    square = int(math.ldexp(mantissa, 53)) << (math.frexp(x)[1] - 53 - exponent)
    found = math.isqrt(square)
    return math.ldexp(2 * found + (found * found != square), exponent // 2 - 1)


def root_of_square(k, bits):
    """One of the four odd x below 2 to the power of `bits` for which x² − k is a multiple of that."""
    x = 1
    for bit in range(3, bits):
        if (x * x - k) >> bit & 1:
            x += 1 << bit - 1
    return x


def hard_to_round(count):
    """Numbers from 1 to 4 that are few times 2⁻¹⁰⁶ away from the square of a middle of two numbers."""
    found = []
    for k in range(1 - 8 * count, 8 * count, 8):
        for bits in 54, 55:  # those of x² behind the last of a number below 2, or below 4
            x, modulus = root_of_square(k, bits), 1 << bits
            for middle in {(sign * x + half) % modulus for sign in (-1, 1) for half in (0, modulus // 2)}:
                number = (middle * middle - k) >> bits
                if middle >> 53 == 1 and number >> 52 == 1:
                    found.append(math.ldexp(number, bits - 106))
    return np.array(found)


def check_roots(x):
    got = applied(_root)(x)
    with np.errstate(all="ignore"):
        expected = np.array([exact_root(float(number)) for number in x]).astype(x.dtype)
    wrong = np.flatnonzero(got != expected)
    assert not wrong.size, (x[wrong[0]], got[wrong[0]], expected[wrong[0]])


@pytest.mark.parametrize("exponent", [-472, -1, 0, 255, 510])
def test_roots_that_are_hard_to_round(exponent):
    x = hard_to_round(300)
    assert {1 + 2.0**-52, 4 - 2.0**-51} <= set(x)
    assert len(x) > 300
    check_roots(np.ldexp(x, 2 * exponent))


@dtypes
def test_roots_are_rounded_correctly(dtype):
    rng, info, count = np.random.default_rng(0), np.finfo(dtype), 20_000
    least = -946 if dtype == np.float64 else info.minexp
    near = [np.arange(-99, 99) * float(info.eps) + number for number in (1, 2, 4)]
    ends = [np.ldexp(1.0, least), float(info.max), float(np.nextafter(info.max, dtype(0)))]
    sizes = np.ldexp(rng.uniform(1, 2, count), rng.integers(least, info.maxexp, count))
    check_roots(np.concatenate([*near, ends, rng.uniform(1, 4, count), sizes]).astype(dtype))


@dtypes
@pytest.mark.parametrize("among", [0.0, 1.0, 2.0, 3.0])
def test_roots_of_special_numbers(dtype, among):
    """Also where the numbers beside them have roots that are made otherwise."""
    x = np.full(64, among, dtype)
    x[1::4], x[3::8], x[7] = 0, np.inf, NAN
    x[32:34] = -1, -np.inf
    expected = np.full(64, exact_root(among), dtype)
    expected[1::4], expected[3::8], expected[[7, 32, 33]] = 0, np.inf, NAN
    assert np.array_equal(applied(_root)(x), expected, equal_nan=True)


def test_roots_of_less_than_a_rule_can_see():
    """Beside an epsilon of 2⁻¹²⁶ or more."""
    x = np.ldexp(np.random.default_rng(0).uniform(1, 2, 4096), np.arange(4096) % 76 - 1022)
    x[::5] = 0
    got = applied(_root)(x)
    assert ((got >= 0) & (got < 2.0**-470)).all()
    assert not got[::5].any()
