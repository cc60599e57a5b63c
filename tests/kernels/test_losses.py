"""Losses against higher precision, and against their twins."""

import bounds
import numpy as np
import pytest
from calls import NAN
from cases import build
from declared import LOSSES
from judged import judge
from sizes import CASES, Case
from twins import NUMBA, TWINS, backends, dtypes, shapes

from fastnp.backend import BACKENDS
from fastnp.kernels.table import BATCHMEAN, EACH, MEAN, SUM

INF = np.inf
MEANS = MEAN, BATCHMEAN
reductions = pytest.mark.parametrize("reduction", [*MEANS, SUM, EACH], ids=["mean", "batchmean", "sum", "each"])
losses = pytest.mark.parametrize("of", LOSSES)


def settings_of(of, n):
    """Settings to try, each for n outputs: the default ones, one number, one for each output."""
    several = np.linspace(0.05, 0.95, n)
    return {
        "huber": [{}, {"delta": 0.3}, {"delta": 100.0}],
        "quantile": [{}, {"q": 0.9}, {"q": several}],
        "bce_with_logits": [
            {}, {"pos_weight": 3.0}, {"pos_weight": 4 * several}, {"clip": 0.3}, {"pos_weight": 3.0, "clip": 1e-7},
        ],
        "cross_entropy_labels": [
            {}, {"label_smoothing": 0.1}, {"class_weight": 4 * several},
            {"label_smoothing": 0.3, "class_weight": np.arange(n)}, {"label_smoothing": 1.0},
            {"clip": 0.1}, {"label_smoothing": 0.3, "class_weight": np.arange(n), "clip": 1e-3}, {"clip": 0.49},
        ],
        "cross_entropy_probabilities": [
            {}, {"label_smoothing": 0.1}, {"clip": 0.1}, {"label_smoothing": 0.1, "clip": 1e-3},
        ],
    }.get(of, [{}])  # fmt: skip


def run_and_judge(*arguments, **options):
    calls = [build(*arguments, **options) for _ in BACKENDS]
    for call, kernels, backend in zip(calls, (NUMBA, TWINS), BACKENDS, strict=True):
        with np.errstate(all="ignore"):
            loss = call.run(kernels)
        judge(call, loss, backend)
    return calls


@pytest.mark.triples
@dtypes
@shapes
@losses
@reductions
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_values_and_gradients(of, case, dtype, reduction, weighted):
    if of == "cross_entropy_probabilities" and case.n_out == 1:
        pytest.skip("a column is one of labels")
    for settings in settings_of(of, case.n_out):
        run_and_judge(of, case, dtype, reduction=reduction, weighted=weighted, settings=settings)


def of_all_sizes(rng, shape):
    """Numbers of all exponents up to 2⁸, subnormal ones among them."""
    return rng.choice([-1, 1], shape) * np.exp2(rng.uniform(-1080, 8, shape))


def far_apart(rng, shape):
    return 30 * rng.standard_normal(shape)


@pytest.mark.pairs
@dtypes
@losses
@reductions
@pytest.mark.parametrize("draw", [of_all_sizes, far_apart])
@pytest.mark.parametrize("case", [Case(40, 1, 1), Case(30, 1, 19), Case(9, 1, 130)], ids=str)
def test_small_and_large_numbers(case, draw, of, dtype, reduction):
    if of == "cross_entropy_probabilities" and case.n_out == 1:
        pytest.skip("a column is one of labels")
    for settings in settings_of(of, case.n_out):
        run_and_judge(of, case, dtype, reduction=reduction, draw=draw, settings=settings)


SPECIAL = {  # pred, target, the loss, its slope
    "mse": [(INF, 0, INF, INF), (-INF, 0, INF, -INF), (INF, INF, NAN, NAN), (2, 2, 0, 0)],
    "mae": [(INF, 0, INF, 1), (-INF, 0, INF, -1), (INF, INF, NAN, NAN), (2, 2, 0, 0), (-0.0, 0, 0, 0)],
    "huber": [(INF, 0, INF, 1), (-INF, 0, INF, -1), (INF, INF, NAN, NAN), (2, 2, 0, 0), (0, 1, 0.5, -1)],
    "quantile": [(INF, 0, INF, 0.5), (-INF, 0, INF, -0.5), (INF, INF, NAN, NAN), (2, 2, 0, 0), (-0.0, 0, 0, 0)],
    "poisson_nll": [
        (-INF, 0, 0, 0), (-INF, 3, INF, -3), (INF, 0, INF, INF), (INF, 3, INF, INF), (1e4, 1, INF, INF), (0, 1, 1, 0),
    ],
    "bce_with_logits": [
        (INF, 1, 0, 0), (INF, 0, INF, 1), (-INF, 0, 0, 0), (-INF, 1, INF, -1), (INF, 0.5, INF, 0.5), (1e4, 1, 0, 0),
        (-1e4, 1, 1e4, -1), (-1e4, 0, 0, 0),
    ],
}  # fmt: skip


@backends
@dtypes
@pytest.mark.parametrize("of", SPECIAL)
def test_special_values(of, dtype, kernels):
    nans = [(NAN, 0, NAN, NAN), (NAN, 1, NAN, NAN), (0.5, NAN, NAN, NAN)]
    for pred, target, loss, slope in SPECIAL[of] + nans:
        for column in 1, 18:  # in a whole vector, and in one that is used in part
            call = build(of, Case(1, 1, 19), dtype, reduction=EACH)
            call["pred"][0, column], call["target"][0, column] = pred, target
            with np.errstate(all="ignore"):
                total = call.run(kernels)
            found = call["terms"][0, column], call["dpred"][0, column]
            np.testing.assert_equal(np.array(found, np.float64), [loss, slope], f"pred {pred}, target {target}")
            assert np.isfinite(np.delete(call["terms"], column)).all()
            assert np.isfinite(np.delete(call["dpred"], column)).all()
            assert np.isfinite(total) == np.isfinite(loss)


ROWS = [  # logits, label, the loss, the gradient
    ((-INF, 0, -INF), 1, 0, (0, 0, 0)),
    ((-INF, 0, 0), 1, np.log(2), (0, -0.5, 0.5)),
    ((-INF, 0, 0), 0, INF, (-1, 0.5, 0.5)),
    ((1e4, 0, -1e4), 0, 0, (0, 0, 0)),
    ((1e4, 0, -1e4), 1, 1e4, (1, -1, 0)),
    ((-INF, -INF, -INF), 0, NAN, (NAN, NAN, NAN)),
    ((INF, 0, 0), 0, NAN, (NAN, NAN, NAN)),
    ((NAN, 0, 0), 1, NAN, (NAN, NAN, NAN)),
    ((0, 0, NAN), 0, NAN, (NAN, NAN, NAN)),
]


@backends
@dtypes
@pytest.mark.parametrize("of", ["cross_entropy_labels", "cross_entropy_probabilities"])
def test_rows_with_special_logits(of, dtype, kernels):
    for logits, label, loss, gradient in ROWS:
        for shift in 0, 17:  # classes before the first of them, which never come
            call = build(of, Case(2, 1, shift + 3), dtype, reduction=EACH)
            call["pred"][:, :shift], call["pred"][0, shift:] = -INF, logits
            label_or_row = label + shift if of.endswith("labels") else np.eye(shift + 3)[label + shift]
            call["target"][0] = label_or_row
            call["target"][1] = shift if of.endswith("labels") else np.eye(shift + 3)[shift]
            with np.errstate(all="ignore"):
                call.run(kernels)
            np.testing.assert_allclose(call["terms"][0, 0], loss, rtol=1e-6)
            np.testing.assert_allclose(call["dpred"][0, shift:], gradient, rtol=1e-6)
            np.testing.assert_array_equal(call["dpred"][0, :shift], NAN if np.isnan(loss) else 0)
            assert np.isfinite(call["terms"][1, 0]) and np.isfinite(call["dpred"][1]).all()


CLIPPED = ["bce_with_logits", "cross_entropy_labels", "cross_entropy_probabilities"]


@backends
@dtypes
@reductions
@pytest.mark.parametrize("of", CLIPPED[1:])
def test_a_clip_that_cuts_nothing_off_changes_no_bit(of, reduction, dtype, kernels):
    options = {"reduction": reduction, "weighted": True}
    plain, clipped = (build(of, Case(9, 1, 21), dtype, settings=each, **options) for each in ({}, {"clip": 1e-30}))
    assert plain.run(kernels) == clipped.run(kernels)
    for name in "dpred", "terms":
        assert bounds.same_bits(plain[name], clipped[name])


@backends
@dtypes
def test_with_a_clip_a_loss_of_logits_is_that_of_rounded_probabilities(dtype, kernels):
    """1 / (1 + e⁻ˣ) has few digits of what it lacks to 1; without a clip none is lost."""
    eps = np.finfo(dtype).eps
    plain, clipped = (
        build("bce_with_logits", Case(1, 1, 97), dtype, reduction=EACH, settings=each) for each in ({}, {"clip": eps})
    )
    x = np.linspace(-5, -1.2 * np.log(eps), 97, dtype=dtype)
    for call in plain, clipped:
        call["pred"][:], call["target"][:] = x, 0
        call.run(kernels)
    p = 1 / (1 + np.exp(-x))
    rounded = np.minimum(-np.log1p(-np.minimum(p, 1 - eps)), -np.log(eps))
    near, other = (np.isclose(call["terms"][0], rounded, rtol=20 * eps, atol=0) for call in (clipped, plain))
    assert near.mean() > 0.9 > 0.6 > other.mean()  # a last bit of e⁻ˣ may change that of p
    assert bounds.same_bits(plain["dpred"], clipped["dpred"])


@backends
@dtypes
@pytest.mark.parametrize("of", CLIPPED)
def test_a_clip_changes_the_loss_alone(of, dtype, kernels):
    plain, clipped = (
        build(of, Case(9, 1, 21), dtype, draw=far_apart, reduction=EACH, settings=each) for each in ({}, {"clip": 0.01})
    )
    assert plain.run(kernels) > clipped.run(kernels)
    assert bounds.same_bits(plain["dpred"], clipped["dpred"])
    assert (clipped["terms"] <= -np.log(0.01) * (1 + np.finfo(dtype).eps)).all()
    assert (clipped["terms"] < plain["terms"]).any()


@backends
@dtypes
@pytest.mark.parametrize("of", CLIPPED)
def test_a_clip_makes_infinite_losses_finite_and_no_others(of, dtype, kernels):
    most, elementwise = -np.log(0.25), of == "bce_with_logits"
    for value, loss, slope in (-INF, most, -1), (NAN, NAN, NAN):
        call = build(of, Case(2, 1, 19), dtype, reduction=EACH, settings={"clip": 0.25})
        target = 1 if elementwise else 18 if of.endswith("labels") else np.eye(19)[18]
        call["pred"][0, 18] = value
        call["target"][0, (18 if elementwise else slice(None))] = target
        with np.errstate(all="ignore"):
            call.run(kernels)
        np.testing.assert_allclose(call["terms"][0, 18 if elementwise else 0], loss, rtol=1e-6)
        np.testing.assert_allclose(call["dpred"][0, 18], slope, rtol=1e-6)
        assert np.isfinite(call["terms"][1]).all()


@backends
@dtypes
@reductions
@pytest.mark.parametrize("label", [-1, 5, 1.5, 1e30, -1e30, NAN, INF, -INF])
@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}], ids=["", "smoothed"])
def test_what_is_no_label_makes_the_loss_nan(label, reduction, settings, dtype, kernels):
    """Data may change behind the back of what checked it: nothing is read or written where there is no class."""
    call = build("cross_entropy_labels", Case(4, 1, 5), dtype, reduction=reduction, settings=settings)
    call["target"][2] = label
    with np.errstate(all="ignore"):
        assert np.isnan(call.run(kernels))
    assert np.isnan(call["dpred"][2]).all()
    if reduction not in MEANS:
        assert np.isfinite(call["dpred"][[0, 1, 3]]).all()


@backends
@dtypes
@losses
@reductions
@pytest.mark.parametrize("case", [Case(5, 1, 1), Case(4, 1, 21)], ids=str)
def test_weights_of_one_are_no_weights(case, of, reduction, dtype, kernels):
    plain, ones = (build(of, case, dtype, reduction=reduction, weighted=weighted) for weighted in (False, True))
    ones["target"][:, -1] = 1
    assert plain.run(kernels) == ones.run(kernels)
    for name in "dpred", "terms":
        assert bounds.same_bits(plain[name], ones[name])


@backends
@dtypes
@losses
@reductions
def test_weights_of_zero(of, reduction, dtype, kernels):
    call = build(of, Case(5, 1, 21), dtype, reduction=reduction, weighted=True)
    call["target"][:, -1] = 0
    assert call.run(kernels) == 0
    assert not call["dpred"].any() and (reduction != EACH or not call["terms"].any())


@backends
@dtypes
@losses
@reductions
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(of, reduction, dtype, kernels):
    whole, others = (build(of, Case(5, 1, 7), dtype, reduction=reduction, weighted=True) for _ in range(2))
    whole["target"][2, -1] = 0
    rows = [0, 1, 3, 4]
    others = build(of, Case(4, 1, 7), dtype, reduction=reduction, weighted=True)
    others["pred"][:], others["target"][:] = whole["pred"][rows], whole["target"][rows]
    assert whole.run(kernels) == pytest.approx(others.run(kernels), rel=1e-15)
    assert bounds.same_bits(whole["dpred"][rows], others["dpred"])


@backends
@dtypes
@reductions
@pytest.mark.parametrize("n", [1, 2, 5, 16, 33])
def test_one_hot_rows_are_labels(n, reduction, dtype, kernels):
    case = Case(6, 1, n)
    labels = build("cross_entropy_labels", case, dtype, reduction=reduction, weighted=True)
    rows = build("cross_entropy_probabilities", case, dtype, reduction=reduction, weighted=True)
    rows["pred"][:] = labels["pred"]
    rows["target"][:, :n], rows["target"][:, n] = np.arange(n) == labels["target"][:, :1], labels["target"][:, 1]
    assert labels.run(kernels) == rows.run(kernels)
    assert np.array_equal(labels["dpred"], rows["dpred"])


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


@dtypes
@shapes
def test_the_gradient_of_mse_is_rounded_twice(case, dtype):
    for kernels in NUMBA, TWINS:
        call = build("mse", case, dtype, reduction=SUM)
        call.run(kernels)
        assert bounds.same_bits(call["dpred"], call["pred"] - call["target"])
