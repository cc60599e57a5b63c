"""Layer normalization against higher precision, and against its twin."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import build
from exact_rules import check_rule
from references import check_pads
from rule_cases import RULES, begun
from twins import NUMBA, SHAPES, backends, dtypes, run_both, shapes

from fastnp.trust.exact import sum_bound, wide
from fastnp.trust.normalized import Normalized

EPSILON = 1e-5
far_away = pytest.mark.parametrize("far", [0.0, 1.0, 1e4, 1e6])


def check(name, fast, twin, exact, bound):
    """Both within the bound; together they are then within twice of it."""
    for wing, result in ("numba", fast), ("numpy", twin):
        assert bounds.fraction(f"{name} {wing}", result - exact, bound) <= 1


def judged(call, n):
    x, dy, w, b = (call[field][:, :n] for field in ("x", "dy", "w", "b"))
    return Normalized(x, EPSILON), wide(dy), wide(w), wide(b)


@pytest.mark.pairs
@dtypes
@shapes
@far_away
def test_forward(case, dtype, far):
    n = case.n_out
    fast, twin = run_both("layer_norm_forward", case, dtype, far=far)
    exact, _, w, b = judged(fast, n)
    check("layer norm", fast["y"][:, :n], twin["y"][:, :n], *exact.output(w, b))
    if case.batch:
        for call in fast, twin:
            high, low, scale = wide(call["memory"].reshape(-1, 3)).T
            assert np.all(abs(high + low - wide(call["x"][:, :n]).mean(1)) <= 1e-13 * (1 + far))
            assert np.all(abs(scale / exact.scale[:, 0] - 1) <= exact.scale_error[:, 0])


@pytest.mark.pairs
@dtypes
@shapes
@far_away
def test_input_gradient(case, dtype, far):
    n = case.n_out
    fast, twin = run_both("layer_norm_input", case, dtype, far=far)
    exact, dy, w, _ = judged(fast, n)
    check("layer norm input", fast["dx"][:, :n], twin["dx"][:, :n], *exact.input_gradient(dy, w))
    for call in fast, twin:
        check_pads(call["dx"], n)


@pytest.mark.pairs
@dtypes
@shapes
@far_away
@pytest.mark.parametrize("add_to", [False, True])
def test_gradients_of_weights_and_bias(case, dtype, far, add_to):
    n = case.n_out
    before = build("layer_norm_parameters", case, dtype, far=far, add_to=add_to)
    fast, twin = run_both("layer_norm_parameters", case, dtype, far=far, add_to=add_to)
    exact, dy, *_ = judged(fast, n)
    of_weights = exact.weights_gradient(dy)
    of_bias = dy.sum(0, keepdims=True), sum_bound(max(case.batch, 1), dtype, abs(dy).sum(0, keepdims=True))
    for name, (value, bound) in ("dw", of_weights), ("db", of_bias):
        if add_to:
            value = value + wide(before[name][:, :n])
            bound = bound * 1.01 + np.finfo(dtype).eps * abs(value)
        check(f"layer norm {name}", fast[name][:, :n], twin[name][:, :n], value, bound)
        for call in fast, twin:
            check_pads(call[name], n)


@pytest.mark.pairs
@dtypes
@shapes
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("weight_decay", "l1"), [(0.0, False), (0.01, False), (0.01, True)])
def test_an_update_is_that_by_the_gradients(case, dtype, rule, weight_decay, l1):
    n, numbers = case.n_out, begun(rule, dtype, weight_decay=weight_decay, l1=l1)
    before = build(f"layer_norm_{rule}", case, dtype, numbers=numbers)
    gradients = build("layer_norm_parameters", case, dtype)
    gradients.run(NUMBA)
    call = build(f"layer_norm_{rule}", case, dtype, numbers=numbers)
    call.run(NUMBA)
    for name in "w", "b":
        names = name, *(letter + name for letter in RULES[rule].kept)
        old, new = ([of[each][:, :n] for each in names] for of in (before, call))
        check_rule(rule, numbers, new, old, gradients[f"d{name}"][:, :n])


@dtypes
@backends
def test_rows_that_do_not_vary(kernels, dtype):
    """var is 0, whatever the rounding of the mean: y is the bias."""
    case = next(case for case in SHAPES if case.n_out == 33)
    for number in 0.1, 1e5, -1 / 3, 1e-30, 0.0:
        call = build("layer_norm_forward", case, dtype)
        call["x"][:, :33] = number
        call.run(kernels)
        assert np.array_equal(call["y"][:, :33], np.broadcast_to(call["b"][:, :33], (case.batch, 33)))


@dtypes
@backends
def test_what_is_not_finite_stays_in_its_row(kernels, dtype):
    case = next(case for case in SHAPES if case.n_out == 17 and case.batch > 2)
    sound = build("layer_norm_forward", case, dtype)
    sound.run(kernels)
    for number in NAN, np.inf, -np.inf:
        call = build("layer_norm_forward", case, dtype)
        call["x"][1, 3] = number
        with np.errstate(invalid="ignore"):
            call.run(kernels)
        y = call["y"][:, :17]
        assert np.isnan(y[1]).all()
        others = np.arange(case.batch) != 1
        assert bounds.same_bits(y[others], sound["y"][others][:, :17])
