"""The rules of optimizers against higher precision, and against their twins."""

import bounds
import mpmath
import numpy as np
import pytest
from calls import NAN
from cases import build
from draws import exact
from exact_rules import check_rule
from references import check_pads
from rule_cases import RULES, begun
from sizes import CASES
from twins import NUMBA, TWINS, backends, dtypes, shapes

from fastnp.kernels import padded
from fastnp.kernels.table import clipping

DECAYS = [(0.0, False), (0.03, False), (0.03, True)]
decays = pytest.mark.parametrize(("weight_decay", "l1"), DECAYS, ids=["none", "l2", "l1"])
rules = pytest.mark.parametrize("rule", RULES)
NINE = CASES[0]._replace(n_out=9)


def values(call, rule):
    """The parameters and what is kept of them."""
    return [call[name] for name in ("p", *RULES[rule].kept)]


@pytest.mark.triples
@backends
@dtypes
@shapes
@decays
@rules
def test_a_rule(case, dtype, kernels, rule, weight_decay, l1):
    settings = {"weight_decay": weight_decay, "l1": l1}
    call = build(f"{rule}_update", case, dtype, **settings)
    old = [array.copy() for array in values(call, rule)]
    call.run(kernels)
    check_rule(rule, begun(rule, dtype, **settings), values(call, rule), old, call["g"])
    for array in values(call, rule):
        check_pads(array.reshape(case.batch, padded(case.n_out, call.dtype.itemsize)), case.n_out)


SETTINGS = {
    "momentum": [{"momentum": 0.0}, {"momentum": 1.0}],
    "nesterov": [{"momentum": 0.0}, {"momentum": 1.0}],
    "rated_momentum": [{"momentum": 0.0}, {"momentum": 1.0}],
    "rated_nesterov": [{"momentum": 0.0}, {"momentum": 1.0}],
    "adam": [{"beta1": 0.0}, {"beta2": 0.0}, {"epsilon": 1.0}, {"apart": True, "weight_decay": 0.03},
             {"epsilon": 1e-3, "hat": True}, {"epsilon": 1.0, "beta2": 0.0, "hat": True},
             {"apart": True, "weight_decay": 0.03, "l1": True}, {"done": 0}, {"done": 10**6}],
    "rmsprop": [{"alpha": 0.0}, {"epsilon": 1.0}],
    "rmsprop_momentum": [{"alpha": 0.0}, {"momentum": 0.0}],
}  # fmt: skip


@backends
@dtypes
@pytest.mark.parametrize(("rule", "settings"), [
    (rule, {**settings, **rate}) for rule in RULES for settings in SETTINGS[rule]
    for rate in ({}, {"learning_rate": 0.0}, {"learning_rate": 0.3})
])  # fmt: skip
def test_settings_of_a_rule(dtype, kernels, rule, settings):
    case = CASES[0]._replace(batch=5, n_out=37)
    call = build(f"{rule}_update", case, dtype, **settings)
    old = [array.copy() for array in values(call, rule)]
    call.run(kernels)
    check_rule(rule, begun(rule, dtype, **settings), values(call, rule), old, call["g"])


def formulas(rule, rate, done, dtype, **settings):
    """The numbers of a rule as its docstring has them, by arithmetic of any precision."""
    given = [mpmath.mpf(float(number)) for number in RULES[rule].settings(**settings)]
    rate = mpmath.mpf(rate)
    if rule == "adam":
        beta1, beta2, epsilon, decay, l1, apart, hat = given
        step, scale = -rate / (1 - beta1 ** (done + 1)), 1 / mpmath.sqrt(1 - beta2 ** (done + 1))
        decays = (0, -rate * decay) if apart else (decay, 0)
        return step, beta1, 1 - beta1, beta2, 1 - beta2, scale, epsilon * (scale if hat else 1), *decays, l1
    return (rate, 1 - given[0], *given) if "rmsprop" in rule else (rate, *given)


@dtypes
@rules
@pytest.mark.parametrize("done", [0, 1, 6, 999, 10**5, 10**9])
@pytest.mark.parametrize("decay", [{}, {"weight_decay": 0.01}, {"weight_decay": 0.01, "l1": True}])
def test_the_numbers_of_a_rule(dtype, rule, done, decay):
    for settings in [decay] + [{**decay, **each} for each in SETTINGS[rule] if "done" not in each]:
        exact_ = formulas(rule, 0.001, done, dtype, **settings)
        got = begun(rule, dtype, 0.001, done, **settings)[: len(exact_)]
        rounded = np.array([float(number) for number in exact_]).astype(dtype)
        np.testing.assert_allclose(got, rounded, rtol=4 * np.finfo(dtype).eps + 1e-15 * (done + 1) ** 0.5, atol=0)


@dtypes
@rules
@pytest.mark.parametrize("done", [0, 6, 999, 10**9])
def test_both_backends_make_the_same_numbers(dtype, rule, done):
    """Seen by what an update makes of parameters that are powers of 2, of which nothing is kept."""
    calls = [build(f"{rule}_update", CASES[0]._replace(n_out=8), dtype, done=done) for _ in range(2)]
    for call, kernels in zip(calls, (NUMBA, TWINS), strict=True):
        for array in (*values(call, rule), call["g"]):
            array[:] = 0
        call["g"][:8] = 2.0 ** np.arange(8)
        call.run(kernels)
    for one, other in zip(*(values(call, rule) for call in calls), strict=True):
        np.testing.assert_allclose(one, other, rtol=4 * np.finfo(dtype).eps)


@backends
@dtypes
@rules
@pytest.mark.parametrize("squares", [1e-4, 0.09, 7.3, np.inf])
def test_clipped_gradients_are_multiplied_by_a_factor_first(dtype, kernels, rule, squares):
    clipped = build(f"{rule}_update", CASES[20], dtype, weight_decay=0.1, squares=squares, clip_norm=0.3)
    scaled = build(f"{rule}_update", CASES[20], dtype, weight_decay=0.1)
    scaled["g"][...] *= np.dtype(dtype).type(0.3 / max(np.sqrt(squares), 0.3))
    for call in clipped, scaled:
        call.run(kernels)
    for one, other in zip(values(clipped, rule), values(scaled, rule), strict=True):
        assert bounds.same_bits(one, other)


@backends
@dtypes
@pytest.mark.parametrize(("weight_decay", "l1"), [(0.0, False), (0.25, False), (0.25, True)], ids=["none", "l2", "l1"])
@pytest.mark.parametrize("rule", ["momentum", "nesterov", "rated_momentum", "rated_nesterov"])
def test_momentum_on_exact_numbers(rule, dtype, kernels, weight_decay, l1):
    case = CASES[0]._replace(batch=5, n_out=37)
    options = {"learning_rate": 0.125, "momentum": 0.5, "weight_decay": weight_decay, "l1": l1}
    call = build(f"{rule}_update", case, dtype, draw=exact, **options)
    p, v, g = (call[name].copy() for name in "pvg")
    call.run(kernels)
    inside, outside = (0.125, 1) if "rated" in rule else (1, 0.125)  # where the rate stands
    g = inside * (g + weight_decay * (np.sign(p) if l1 else p))
    v = v / 2 + g
    assert np.array_equal(call["v"], v)
    assert np.array_equal(call["p"], p - outside * (g + v / 2 if "nesterov" in rule else v))


@backends
@dtypes
@rules
def test_what_is_kept_is_flushed_below_the_smallest_normal_number(dtype, kernels, rule):
    tiny = np.finfo(dtype).tiny
    below = np.nextafter(tiny, dtype(0))
    numbers = np.array(
        [4 * tiny, below, -below, -4 * tiny, np.finfo(dtype).smallest_subnormal, 0, -0.0, 8 * tiny], dtype
    )
    call = build(f"{rule}_update", CASES[0]._replace(n_out=8), dtype)
    for letter, made in RULES[rule].kept.items():
        call[letter][:8] = abs(numbers) if made is np.square else numbers
    call["p"][:8] = call["g"][:8] = 0
    call.run(kernels)
    for letter in RULES[rule].kept:
        if (rule, letter) != ("rmsprop", "b"):  # which is left alone
            assert np.array_equal(abs(call[letter][:8]) >= tiny, abs(numbers) >= 4 * tiny)
            assert not call[letter][:8][abs(numbers) < tiny].any()
    assert np.isfinite(call["p"]).all()


@backends
@dtypes
@decays
def test_momentum_keeps_what_is_not_finite(dtype, kernels, weight_decay, l1):
    options = {"weight_decay": weight_decay, "l1": l1}
    call = build("momentum_update", NINE, dtype, **options)
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
@rules
def test_a_gradient_that_is_not_a_number_is_seen_in_its_parameter_alone(dtype, kernels, rule):
    call = build(f"{rule}_update", NINE, dtype)
    call["g"][3] = NAN
    with np.errstate(all="ignore"):
        call.run(kernels)
    for letter in ("p", *RULES[rule].kept):
        expected = (np.arange(9) == 3) & ((rule, letter) != ("rmsprop", "b"))
        assert np.array_equal(np.isnan(call[letter][:9]), expected)
        check_pads(call[letter].reshape(1, -1), 9)


@backends
@dtypes
@pytest.mark.parametrize("rule", ["adam", "rmsprop"])
def test_a_gradient_whose_square_overflows_leaves_its_parameter(dtype, kernels, rule):
    call = build(f"{rule}_update", NINE, dtype)
    call["g"][3], old = np.finfo(dtype).max / 4, call["p"].copy()
    with np.errstate(all="ignore"):
        call.run(kernels)
    assert call["v"][3] == np.inf
    assert np.array_equal(call["p"] == old, np.isin(np.arange(call["p"].size), [3, *range(9, call["p"].size)]))


@backends
@dtypes
@pytest.mark.parametrize("rule", ["adam", "rmsprop", "rmsprop_momentum"])
def test_gradients_of_all_sizes(dtype, kernels, rule):
    """Also those whose squares are tiny, or 0, beside others."""
    n, info = 400, np.finfo(dtype)
    sizes = np.exp2(np.linspace(info.minexp / 2 - 9, info.maxexp / 2 - 9, n))
    for order in (1, 7, 63):  # side by side, or mixed
        call = build(f"{rule}_update", CASES[0]._replace(n_out=n), dtype)
        for array in (call["g"], *values(call, rule)):
            array[:] = 0
        call["g"][:n] = np.where(np.arange(n) % 3, sizes, -sizes)[np.arange(n) * order % n]
        old = [array.copy() for array in values(call, rule)]
        call.run(kernels)
        check_rule(rule, begun(rule, dtype), values(call, rule), old, call["g"])


@backends
@dtypes
def test_l1_decay_of_zero_is_zero(dtype, kernels):
    call = build("momentum_update", CASES[0]._replace(n_out=4), dtype, weight_decay=0.5, l1=True)
    call["p"][:4], call["v"][:], call["g"][:] = (0.0, -0.0, 1e-45, -3), 0, 0
    expected = 0.5 * np.sign(call["p"])
    call.run(kernels)
    assert np.array_equal(call["v"], expected)


# --- the norm of gradients ---


@backends
@dtypes
@shapes
def test_squares_are_summed_in_double(case, dtype, kernels):
    call = build("squares", case, dtype)
    squares = call["g"][:, : case.n_out].astype(np.longdouble) ** 2
    bound = 2.0**-53 * squares.size * float(squares.sum()) + 1e-300
    assert abs(call.run(kernels) - squares.sum()) <= bound


@backends
@dtypes
def test_squares_of_integers_are_exact(dtype, kernels):
    call = build("squares", CASES[-1], dtype, draw=exact)
    assert call.run(kernels) == float(np.sum(call["g"][:, : CASES[-1].n_out].astype(np.int64) ** 2))


@backends
def test_squares_that_overflow_float32_do_not(kernels):
    call = build("squares", NINE, np.float32)
    call["g"][0, :9] = 1e30
    assert call.run(kernels) == pytest.approx(9e60)


@pytest.mark.parametrize(("squares", "clip_norm", "factor"), [
    (4.0, 3.0, 1.0), (4.0, 2.0, 1.0), (4.0, 1.0, 0.5), (0.0, 1.0, 1.0), (np.inf, 1.0, 0.0), (NAN, 1.0, NAN),
])  # fmt: skip
def test_clipping(squares, clip_norm, factor):
    assert np.array_equal(clipping(squares, clip_norm), factor, equal_nan=True)
