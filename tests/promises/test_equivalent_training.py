"""Losses, steps and trainings on drawn arrays: both backends together, every layout as the plain array.

Where sums are rounded, results are compared by the bounds of bounds.py.
"""

import itertools

import bounds
import numpy as np
from equivalence import EXACT, assert_same_on_both, dense, drawn, on_each_backend, same
from exact_rules import check_rule
from hypothesis import given
from hypothesis import strategies as st
from rule_cases import begun
from strategies import DTYPES, FINITE, ROWS, WIDTHS, arrays, integers, normal

import fastnp as nn
from fastnp.backend import BACKENDS


@drawn
@given(st.data(), ROWS, WIDTHS, st.sampled_from(["mean", "batchmean", "sum", "none"]))
def test_mse(data, batch, n, reduction):
    pred, target = data.draw(arrays((max(batch, 1), n), FINITE)), data.draw(arrays((max(batch, 1), n), FINITE))

    def run(pred, target):
        loss_fn = nn.MSE(reduction=reduction)
        loss = loss_fn(pred, target)
        return loss_fn.backward(), np.asarray(loss)

    results = on_each_backend(run, [pred, target])
    fast, twin = (results[backend] for backend in BACKENDS)
    same(fast[0], twin[0])  # elementwise
    dtype = pred[0].dtype
    difference = pred[0] - target[0].astype(dtype)
    scale = {"mean": 1 / difference.size, "batchmean": 1 / len(difference)}.get(reduction, 1.0)
    same(fast[0], difference * dtype.type(scale))
    if reduction == "none":
        same(fast[1], twin[1])
        same(fast[1], 0.5 * np.square(difference))
        return
    exact = 0.5 * np.sum(np.square(difference.astype(np.longdouble))) * scale
    bound = (difference.size + 3) * 2.0**-53 * exact + difference.size * 2.0**-1022  # summed in double
    for name, result in results.items():
        assert bounds.fraction(f"MSE {name}", np.atleast_1d(result[1] - exact), np.atleast_1d(bound)) <= 1


# --- SGD ---


@drawn
@given(
    st.data(),
    WIDTHS,
    WIDTHS,
    DTYPES,
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.01]),
    st.sampled_from(["l1", "l2"]),
)
def test_sgd(data, rows, n, dtype, momentum, decay, decay_type):
    """Two steps: the second has velocities."""
    values, *gradients = (data.draw(arrays((rows, n), FINITE)) for _ in range(3))

    def run(values, *gradients):
        tensor = nn.Tensor((rows, n), dtype)
        tensor.data = values
        optimizer = nn.SGD(momentum, [tensor], 0.05, decay, decay_type)
        states = [(tensor.data.copy(), optimizer.velocity[0].copy())]
        for gradient in gradients:
            tensor.grad = gradient
            optimizer.step()
            states.append((tensor.data.copy(), optimizer.velocity[0].copy()))
        return [array for state in states for array in state]

    results = on_each_backend(run, [values, *gradients])
    for arrays_ in results.values():
        states = list(zip(arrays_[::2], arrays_[1::2], strict=True))
        for (old, new), (gradient, _) in zip(itertools.pairwise(states), gradients, strict=True):
            numbers = begun("momentum", dtype, 0.05, momentum=momentum, weight_decay=decay, l1=decay_type == "l1")
            check_rule("momentum", numbers, new, old, gradient.astype(dtype))
    if not momentum and not decay:
        same(results["numba"][3], results["numpy"][3])  # the velocity is the gradient


@drawn
@given(st.data(), WIDTHS, WIDTHS, DTYPES)
def test_sgd_on_integers_has_the_same_bits(data, rows, n, dtype):
    pairs = [data.draw(arrays((rows, n), EXACT)) for _ in range(3)]

    def run(values, *gradients):
        tensor = nn.Tensor((rows, n), dtype)
        tensor.data = values
        optimizer = nn.SGD(0.5, [tensor], 0.25)
        for gradient in gradients:
            tensor.grad = gradient
            optimizer.step()
        return tensor.data.copy(), optimizer.velocity[0].copy()

    results = on_each_backend(run, pairs)
    assert_same_on_both(results)
    (p, _), (g, _), (h, _) = pairs
    velocity = 0.5 * g.astype(float) + h
    same(results["numba"][1], np.where(velocity == 0, 0, velocity).astype(dtype) + dtype(0))
    assert np.array_equal(results["numba"][0], p - 0.25 * g.astype(float) - 0.25 * velocity)


# --- fit ---


def run_fit(make, x, y, batch_size, epochs, by_loop=False, **options):
    model, loss_fn = make(), nn.MSE(reduction=options.pop("reduction", "mean"))
    optimizer = nn.SGD(parameters=model.parameters(), **options)
    loader = nn.DataLoader(nn.ArrayDataset(x, y), batch_size=batch_size)
    losses = []
    if by_loop:
        for _ in range(epochs):
            total = 0.0
            for a, b in loader:
                total += loss_fn(model(a), b)
                model.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()
            losses.append(total / len(loader))
    else:
        losses = nn.fit(model, loss_fn, optimizer, loader, epochs, progress=False).loss
    return np.array(losses), *(tensor.data.copy() for tensor in model.parameters()), *map(np.copy, optimizer.velocity)


@drawn
@given(st.data(), st.integers(1, 9), WIDTHS, st.sampled_from([1, 3, 16]), st.integers(1, 4), DTYPES)
def test_fit_is_the_loop_in_every_layout(data, rows, n_in, n_out, batch_size, dtype):
    x, y = data.draw(arrays((rows, n_in), st.just(normal))), data.draw(arrays((rows, n_out), st.just(normal)))
    make, _ = dense(data, [n_in, 9, n_out], dtype, normal)
    rate = {"learning_rate": 0.01, "momentum": 0.9}
    results = on_each_backend(lambda x, y: run_fit(make, x, y, batch_size, 2, **rate), [x, y])
    for backend, result in results.items():
        with nn.use_backend(backend):
            for a, b in zip(result, run_fit(make, x[1], y[1], batch_size, 2, by_loop=True, **rate), strict=True):
                same(a, b)


@drawn
@given(st.data(), st.integers(1, 4), st.sampled_from([1, 3, 8, 9, 16, 17]), st.sampled_from([1, 3, 16]))
def test_fit_on_exact_numbers_has_the_same_bits(data, half, n_in, n_out):
    """Two steps from integers, with rates that are powers of two: nothing is rounded in double."""
    x, y = (data.draw(arrays((2 * half, n), EXACT)) for n in (n_in, n_out))
    make, _ = dense(data, [n_in, n_out], np.float64, integers)
    rate = {"learning_rate": 2.0**-6, "momentum": 0.5, "reduction": "sum"}
    results = on_each_backend(lambda x, y: run_fit(make, x, y, half, 1, **rate), [x, y])
    assert_same_on_both(results)
    model = make()
    assert not all(np.array_equal(t.data, r) for t, r in zip(model.parameters(), results["numba"][1:], strict=False))
