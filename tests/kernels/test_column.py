"""Linear with an output one wide: the bits of the layer of any width, from weights that lie side by side."""

import bounds
import numpy as np
import pytest
from cases import build
from draws import normal
from references import check_pads, forward_reference, input_reference, parameter_references
from rule_cases import RULES
from sizes import CASES
from twins import BOOLS, NUMBA, TWINS, backends, check_both, dtypes

SHAPES = list({(case.batch, case.n_in): case._replace(n_out=1) for case in CASES}.values())
columns = pytest.mark.parametrize("case", SHAPES, ids=lambda case: f"{case.batch}x{case.n_in}")


def unbounded(rng, shape):
    """Numbers of which some are infinite: sums of them and their products are, or are NaN."""
    return np.where(rng.random(shape) < 0.1, np.copysign(np.inf, rng.standard_normal(shape)), normal(rng, shape))


def pair(what, case, dtype, kernels=NUMBA, **options):
    """The same call of a column and of a layer of any width."""
    calls = [build(f"{of}_{what}", case, dtype, **options) for of in ("column", "linear")]
    with np.errstate(all="ignore"):
        for call in calls:
            call.run(kernels)
    return calls


def same_numbers(column, linear, name):
    """Whether both calls have left the same bits in parameters, or what is kept of them; NaN is NaN."""
    given = column[name][0, : column["n_in"]] if name.endswith("w") else column[name][0, :1]
    return bounds.same_bits(*(np.where(np.isnan(a), 0, a) for a in (given, linear[name][: given.size, 0]))) and (
        np.array_equal(np.isnan(given), np.isnan(linear[name][: given.size, 0]))
    )


@pytest.mark.pairs
@dtypes
@columns
@pytest.mark.parametrize("draw", [normal, unbounded])
def test_the_bits_are_those_of_a_layer_of_any_width(case, dtype, draw):
    n_in = case.n_in
    for flag in BOOLS:
        column, linear = pair("forward", case, dtype, draw=draw, rectified=flag)
        assert np.array_equal(column["y"][:, 0], linear["y"][:, 0], equal_nan=True)
        assert not np.signbit(column["y"][:, 0][column["y"][:, 0] == 0]).any() or not flag
        column, linear = pair("input", case, dtype, draw=draw, masked=flag)
        assert np.array_equal(column["dx"], linear["dx"], equal_nan=True)
        assert np.array_equal(np.signbit(column["dx"]), np.signbit(linear["dx"])) or draw is unbounded
        check_pads(column["dx"], n_in)
        column, linear = pair("parameters", case, dtype, draw=draw, add_to=flag)
        assert same_numbers(column, linear, "dw") and same_numbers(column, linear, "db")
        check_pads(column["dw"], n_in)
        check_pads(column["db"], 1)


@pytest.mark.pairs
@dtypes
@columns
@pytest.mark.parametrize("rule", RULES)
def test_an_update_has_the_bits_of_a_layer_of_any_width(case, rule, dtype):
    column, linear = pair(rule, case, dtype)
    for of in "wb":
        for name in of, *(letter + of for letter in RULES[rule].kept):
            assert same_numbers(column, linear, name)
            check_pads(column[name], case.n_in if of == "w" else 1)


@dtypes
@columns
def test_twins_agree(case, dtype):
    """Both are within the bounds of the sums."""
    n_in = case.n_in
    for flag in BOOLS:
        (fast, exact), (twin, _) = (pair("forward", case, dtype, kernels, rectified=flag) for kernels in (NUMBA, TWINS))
        check_both("column_forward", fast["y"][:, :1], twin["y"][:, :1], _first(forward_reference(exact)))
        (fast, exact), (twin, _) = (pair("input", case, dtype, kernels, masked=flag) for kernels in (NUMBA, TWINS))
        check_both("column_input", fast["dx"][:, :n_in], twin["dx"][:, :n_in], input_reference(exact))
        before = build("linear_parameters", case, dtype, add_to=flag)
        old = [before[name][:, :1] for name in ("dw", "db")] if flag else []
        (fast, _), (twin, _) = (pair("parameters", case, dtype, kernels, add_to=flag) for kernels in (NUMBA, TWINS))
        dw, db = parameter_references(before, *old)
        check_both("column_parameters dw", fast["dw"][:, :n_in].T, twin["dw"][:, :n_in].T, dw)
        check_both("column_parameters db", fast["db"][:, :1], twin["db"][:, :1], db)


def _first(reference):
    """Of a reference for rows with their pads, the first column."""
    return reference._replace(value=reference.value[:, :1], magnitude=reference.magnitude[:, :1])


@pytest.mark.pairs
@backends
@dtypes
@columns
def test_pads_of_gradients_stay_zero_when_numbers_are_not_finite(case, dtype, kernels):
    for value in np.inf, -np.inf, np.nan:
        with np.errstate(all="ignore"):
            for flag in BOOLS:
                call = build("column_input", case, dtype, masked=flag)
                call["dy"][:, :1] = value
                call.run(kernels)
                check_pads(call["dx"], case.n_in)
            call = build("column_parameters", case, dtype)
            call["dy"][:, :1] = value
            call.run(kernels)
            check_pads(call["dw"], case.n_in)
            check_pads(call["db"], 1)
