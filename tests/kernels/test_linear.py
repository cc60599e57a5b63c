"""The three products of Linear against a result of higher precision, and against their twins."""

import itertools

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import build
from draws import exact
from references import check_pads, forward_reference, input_reference, parameter_references
from sizes import CASES
from twins import BOOLS, NUMBA, backends, cases, check_both, dtypes, run_both


@dtypes
@cases
@pytest.mark.parametrize("relu", BOOLS)
def test_linear_forward(case, dtype, relu):
    fast, twin = run_both("linear_forward", case, dtype, rectified=relu)
    reference = forward_reference(fast)
    check_both("linear_forward", fast["y"][: case.batch], twin["y"][: case.batch], reference)
    if relu:  # the masks agree wherever the sum is further from 0 than the bound
        linear = forward_reference(build("linear_forward", case, dtype))
        clear = np.abs(linear.value) > bounds.hard_bound(linear)
        for call in fast, twin:
            positive = call["y"][: case.batch] > 0
            assert np.array_equal(positive[clear], (linear.value > 0)[clear])


@dtypes
@cases
@pytest.mark.parametrize("relu_input", BOOLS)
def test_linear_input(case, dtype, relu_input):
    fast, twin = run_both("linear_input", case, dtype, masked=relu_input)
    results = [call["dx"][: case.batch, : case.n_in] for call in (fast, twin)]
    check_both("linear_input", *results, input_reference(fast))
    for call in fast, twin:
        check_pads(call["dx"][: case.batch], case.n_in)
        if relu_input:
            assert not call["dx"][: case.batch, : case.n_in][~(call["x"][: case.batch, : case.n_in] > 0)].any()


@dtypes
@cases
@pytest.mark.parametrize("add_to", BOOLS)
def test_linear_parameters(case, dtype, add_to):
    before = build("linear_parameters", case, dtype, add_to=add_to)
    n_out = case.n_out
    old = [before[name][:, :n_out] for name in ("dw", "db")] if add_to else []
    fast, twin = run_both("linear_parameters", case, dtype, add_to=add_to)
    for name, reference in zip(("dw", "db"), parameter_references(before, *old), strict=True):
        check_both(f"linear_parameters {name}", fast[name][:, :n_out], twin[name][:, :n_out], reference)
        for call in fast, twin:
            check_pads(call[name], n_out)


@pytest.mark.pairs
@backends
@dtypes
@cases
def test_linear_on_integers_has_the_same_bits_in_any_order(case, dtype, kernels):
    batch, n_in, n_out = case
    for relu in BOOLS:
        call = build("linear_forward", case, dtype, draw=exact, rectified=relu)
        call.run(kernels)
        assert np.array_equal(call["y"][:batch], forward_reference(call).value)
    for relu_input in BOOLS:
        call = build("linear_input", case, dtype, draw=exact, masked=relu_input)
        call.run(kernels)
        assert np.array_equal(call["dx"][:batch, :n_in], input_reference(call).value)
    for add_to in BOOLS:
        call = build("linear_parameters", case, dtype, draw=exact, add_to=add_to)
        references = parameter_references(call, *([call["dw"][:, :n_out], call["db"][:, :n_out]] if add_to else []))
        call.run(kernels)
        for name, reference in zip(("dw", "db"), references, strict=True):
            assert np.array_equal(call[name][:, :n_out], reference.value)


@dtypes
@pytest.mark.parametrize("power", [-20, 20])
def test_scaling_by_powers_of_two_changes_no_bit(dtype, power):
    for case in CASES:
        plain, scaled = build("linear_forward", case, dtype), build("linear_forward", case, dtype)
        for name in "w", "b":
            scaled[name][...] *= 2.0**power
        plain.run(NUMBA)
        scaled.run(NUMBA)
        assert bounds.same_bits(plain["y"][: case.batch] * dtype(2.0**power), scaled["y"][: case.batch])


@dtypes
@cases
def test_a_row_has_the_same_bits_in_any_batch(case, dtype):
    """Alone, and as the first of more, a row's numbers are those that it has among all."""
    whole = {}
    for kernel, output, options in (
        ("linear_forward", "y", {"rectified": False}),
        ("linear_forward", "y", {"rectified": True}),
        ("linear_input", "dx", {"masked": False}),
        ("linear_input", "dx", {"masked": True}),
    ):
        whole = build(kernel, case, dtype, **options)
        whole.run(NUMBA)
        width = case.n_out if output == "y" else case.n_in
        inputs = [name for name in ("x", "dy") if name in whole.arguments]
        counts = {1, 2, 3, 5, case.batch - 1} if case.batch < 64 else {1, 5}
        part = build(kernel, case, dtype, **options)
        for count, first in itertools.product(sorted(counts), range(min(case.batch, 9))):
            if not 0 < count <= case.batch - first:
                continue
            part[output][:] = NAN
            for name in inputs:
                part[name][:count] = whole[name][first : first + count]
                part[name][count:] = NAN
            part.arguments["batch"] = count
            part.run(NUMBA)
            assert bounds.same_bits(part[output][:count, :width], whole[output][first : first + count, :width])
            assert np.isnan(part[output][count:]).all()


@dtypes
def test_the_neighbours_of_a_row_may_hold_anything(dtype):
    case = next(case for case in CASES if case.batch == 7)
    for kernel, output, name in ("linear_forward", "y", "x"), ("linear_input", "dx", "dy"):
        plain, other = build(kernel, case, dtype), build(kernel, case, dtype)
        for row in 1, 3, 6:
            other[name][row, : case.n_in if name == "x" else case.n_out] = (NAN, np.inf, -np.inf)[row % 3]
        plain.run(NUMBA)
        other.run(NUMBA)
        for row in 0, 2, 4, 5:
            assert bounds.same_bits(plain[output][row], other[output][row])


@pytest.mark.pairs
@backends
@dtypes
@cases
def test_pads_of_gradients_stay_zero_when_numbers_are_not_finite(case, dtype, kernels):
    batch, n_in, n_out = case
    for value in np.inf, -np.inf, NAN:
        with np.errstate(all="ignore"):
            for name, relu_input in itertools.product(("dy", "w", "x"), BOOLS):
                call = build("linear_input", case, dtype, masked=relu_input)
                call[name][:batch, : n_in if name == "x" else n_out] = value
                call.run(kernels)
                check_pads(call["dx"][:batch], n_in)
            for name, add_to in itertools.product(("dy", "x"), BOOLS):
                call = build("linear_parameters", case, dtype, add_to=add_to)
                call[name][:batch, : n_in if name == "x" else n_out] = value
                call.run(kernels)
                for output in "dw", "db":
                    check_pads(call[output], n_out)


@backends
@dtypes
def test_linear_passes_on_what_is_not_finite(dtype, kernels):
    case = next(case for case in CASES if case.batch == 6)
    for value in np.inf, -np.inf, NAN:
        call = build("linear_forward", case, dtype)
        call["x"][2, 1], call["w"][1, 0], call["w"][1, 3] = value, 2, -2
        with np.errstate(all="ignore"):
            call.run(kernels)
        assert np.array_equal(call["y"][2, [0, 3]], [2 * value, -2 * value], equal_nan=True)
        assert np.isfinite(call["y"][[0, 1, 3, 4, 5], : case.n_out]).all()
        call = build("linear_input", case, dtype, masked=True)
        call["x"][0, :3] = value, 1, 1
        call["x"][1, :3] = 0.0, -0.0, 1e-45
        call.run(kernels)
        passed = call["dx"][:2, :3] != 0
        assert passed.tolist() == [[value == np.inf, True, True], [False, False, dtype(1e-45) > 0]]
