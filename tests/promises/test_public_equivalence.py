"""Every public call on drawn arrays: both backends together, every layout as the plain array, inputs unchanged.

Where sums are rounded, results are compared by the bounds of bounds.py, carried from layer to layer.
"""

import numpy as np
from equivalence import EXACT, ORDINARY, Ball, assert_same_on_both, dense, drawn, linear_of, on_each_backend, same
from hypothesis import given
from hypothesis import strategies as st
from products import matrix_product
from strategies import ANY, DTYPES, FINITE, LAYOUTS, ROWS, WIDTHS, arrays, integers, normal

import fastnp as nn


def run_linear(layer, x, gradient):
    for tensor in layer.parameters():
        tensor.clear_grad()
    y = layer(x)
    dx = layer.backward(gradient)
    return y, dx, *(tensor.grad.copy() for tensor in layer.parameters())


@drawn
@given(st.data(), ROWS, WIDTHS, WIDTHS, DTYPES)
def test_linear(data, batch, n_in, n_out, dtype):
    """The input may be of either dtype; the layer computes in its own."""
    kinds = {"values": FINITE} if dtype == np.float64 else {"values": ORDINARY}
    x, gradient, w, b = (
        data.draw(arrays(shape, **kinds)) for shape in ((batch, n_in), (batch, n_out), (n_in, n_out), (1, n_out))
    )
    results = on_each_backend(lambda x, gradient, w, b: run_linear(linear_of(w, b, dtype), x, gradient),
                              [x, gradient, w, b])  # fmt: skip
    x, dy, w, b = (Ball.exactly(plain.astype(dtype)) for plain, _ in (x, gradient, w, b))
    ones = Ball.exactly(np.ones((1, batch), dtype))
    expected = x.times(w, dtype, b), dy.times(w.T, dtype), x.T.times(dy, dtype), ones.times(dy, dtype)
    for i, (name, ball) in enumerate(zip(("output", "dx", "dw", "db"), expected, strict=True)):
        ball.holds(f"Linear {name}", {backend: result[i] for backend, result in results.items()})


@drawn
@given(st.data(), ROWS, WIDTHS, WIDTHS, DTYPES)
def test_linear_on_integers_has_the_same_bits(data, batch, n_in, n_out, dtype):
    x, gradient, w, b = (
        data.draw(arrays(shape, EXACT)) for shape in ((batch, n_in), (batch, n_out), (n_in, n_out), (1, n_out))
    )
    results = on_each_backend(lambda x, gradient, w, b: run_linear(linear_of(w, b, dtype), x, gradient),
                              [x, gradient, w, b])  # fmt: skip
    assert_same_on_both(results)
    exact = (
        matrix_product(x[0], w[0]) + b[0],
        matrix_product(gradient[0], w[0].T),
        matrix_product(x[0].T, gradient[0]),
        gradient[0].sum(0, keepdims=True),
    )
    for result, expected in zip(results["numba"], exact, strict=True):
        assert np.array_equal(result, expected)


@drawn
@given(st.data(), ROWS, WIDTHS, WIDTHS, DTYPES)
def test_linear_passes_on_what_is_not_finite(data, batch, n_in, n_out, dtype):
    """Each output of one row of infinities and NaN among integers is not finite where the sum is not."""
    x = data.draw(arrays((batch, n_in), EXACT))
    plain = x[0].astype(float)
    w, b = data.draw(arrays((n_in, n_out), EXACT))[0], data.draw(arrays((1, n_out), EXACT))[0]
    if batch:
        plain[data.draw(st.integers(0, batch - 1)), data.draw(st.integers(0, n_in - 1))] = data.draw(
            st.sampled_from([np.inf, -np.inf, np.nan])
        )
    laid_out = data.draw(st.sampled_from(LAYOUTS))(plain)
    results = on_each_backend(lambda x: [linear_of(w, b, dtype)(x)], [(plain, laid_out)])
    assert_same_on_both(results)
    with np.errstate(invalid="ignore"):
        assert np.array_equal(results["numpy"][0], sum_in_order(plain, w, b), equal_nan=True)


def sum_in_order(x, w, b):
    return (x[:, :, np.newaxis] * w).sum(axis=1) + b


# --- ReLU ---


@drawn
@given(st.data(), ROWS, WIDTHS)
def test_relu(data, batch, n):
    x, gradient = data.draw(arrays((batch, n), ANY)), data.draw(arrays((batch, n), ANY))

    def run(x, gradient):
        layer = nn.ReLU()
        return layer(x), layer.backward(gradient), layer.activated

    results = on_each_backend(run, [x, gradient])
    assert_same_on_both(results)
    plain = x[0]
    y, dx, activated = results["numba"]
    same(y, np.where(plain <= 0, 0, plain).astype(plain.dtype))
    same(activated, y)
    with np.errstate(over="ignore"):
        same(dx, np.where(plain > 0, gradient[0].astype(plain.dtype), 0).astype(plain.dtype))


# --- Sequential ---


def carried(x, made, dtype):
    """The inputs of each Linear and the output, with how far from them a run may be."""
    inputs = [Ball.exactly(x.astype(dtype))]
    for i, (w, b) in enumerate(made):
        y = inputs[-1].times(Ball.exactly(w), dtype, Ball.exactly(b))
        inputs.append(y if i == len(made) - 1 else Ball(np.maximum(y.value, 0), y.radius))
    return inputs


@drawn
@given(st.data(), ROWS, st.lists(WIDTHS, min_size=3, max_size=4), DTYPES)
def test_sequential(data, batch, widths, dtype):
    x = data.draw(arrays((batch, widths[0]), ORDINARY))
    gradient = data.draw(arrays((batch, widths[-1]), st.just(normal)))
    make, made = dense(data, widths, dtype, normal)

    def run(x, gradient):
        model = make()
        pred = model(x)
        activated = [layer.activated for layer in model.graphs[1::2]]
        dx = model.backward(gradient)
        return pred, dx, *(tensor.grad.copy() for tensor in model.parameters()), *activated, model.predict(x)

    results = on_each_backend(run, [x, gradient])
    inputs = carried(x[0], made, dtype)
    inputs[-1].holds("Sequential output", {backend: result[0] for backend, result in results.items()})
    inputs[-1].holds("Sequential predict", {backend: result[-1] for backend, result in results.items()})
    same(results["numba"][0], results["numba"][-1])

    relus = len(made) - 1
    masks = {backend: [a > 0 for a in result[-1 - relus : -1]] for backend, result in results.items()}
    if any((a != b).any() for a, b in zip(*masks.values(), strict=True)):
        return  # a sum within the bound of 0: the two are gradients of different branches
    dy = Ball.exactly(gradient[0].astype(dtype))
    ones = Ball.exactly(np.ones((1, batch), dtype))
    for i in range(len(made) - 1, -1, -1):
        dw, db = inputs[i].T.times(dy, dtype), ones.times(dy, dtype)
        dw.holds("Sequential dw", {backend: result[2 + 2 * i] for backend, result in results.items()})
        db.holds("Sequential db", {backend: result[3 + 2 * i] for backend, result in results.items()})
        dy = dy.times(Ball.exactly(made[i][0]).T, dtype)
        if i:
            mask = masks["numba"][i - 1]
            dy = Ball(dy.value * mask, dy.radius * mask + np.finfo(dtype).tiny)
    dy.holds("Sequential dx", {backend: result[1] for backend, result in results.items()})


@drawn
@given(st.data(), ROWS, st.lists(st.sampled_from([1, 3, 7, 8, 9, 16, 17]), min_size=3, max_size=4))
def test_sequential_on_integers_has_the_same_bits(data, batch, widths):
    """In double no sum is rounded: 2⁵³ is far away."""
    x = data.draw(arrays((batch, widths[0]), EXACT))
    gradient = data.draw(arrays((batch, widths[-1]), EXACT))
    make, made = dense(data, widths, np.float64, integers)

    def run(x, gradient):
        model = make()
        pred = model(x)
        dx = model.backward(gradient)
        return pred, model.predict(x), dx, *(tensor.grad.copy() for tensor in model.parameters())

    results = on_each_backend(run, [x, gradient])
    assert_same_on_both(results)
    y = x[0].astype(float)
    for i, (w, b) in enumerate(made):
        y = matrix_product(np.maximum(y, 0) if i else y, w) + b
    assert np.array_equal(results["numba"][0], y)


@drawn
@given(st.data(), ROWS, WIDTHS, st.integers(1, 9), DTYPES)
def test_predict_of_a_row_does_not_depend_on_its_batch(data, batch, n, size, dtype):
    x = data.draw(arrays((batch, n), ORDINARY))
    make, _ = dense(data, [n, 9, 3], dtype, normal)
    with nn.use_backend("numba"), np.errstate(over="ignore"):
        model = make()
        whole = model.predict(x[0])
        same(model.predict(x[1], batch_size=size), whole)
        for i in range(batch):
            same(model.predict(x[1][i : i + 1]), whole[i : i + 1])


def test_every_layout_is_drawn():
    """The strategies give what they are named for."""
    a = np.arange(12.0).reshape(3, 4)
    laid_out = {layout.__name__: layout(a) for layout in LAYOUTS}
    assert all(np.array_equal(array, a) for array in laid_out.values())
    assert laid_out["fortran"].flags.f_contiguous and not laid_out["misaligned"].flags.aligned
    assert min(laid_out["reversed_with_gaps"].strides) < 0 and not laid_out["read_only"].flags.writeable
    assert not laid_out["byte_swapped"].dtype.isnative and isinstance(laid_out["memory_mapped"], np.memmap)
    assert np.isnan(laid_out["strided"].base).any() and np.isnan(laid_out["padded_rows"].base).any()
