"""Every public call on drawn arrays: both backends together, every layout as the plain array, inputs unchanged.

Where sums are rounded, results are compared by the bounds of bounds.py, carried from layer to layer.
"""

import itertools
from typing import NamedTuple

import bounds
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from products import matrix_product
from strategies import ANY, DTYPES, FINITE, LAYOUTS, ROWS, SEEDS, WIDTHS, arrays, integers, normal, of_all_sizes

import fastnp as nn
from fastnp.backend import BACKENDS

drawn = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
ORDINARY = st.sampled_from([normal, of_all_sizes])
EXACT = st.just(integers)


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert bounds.same_bits(np.atleast_1d(a), np.atleast_1d(b))


def bits_of(array):
    """The bytes of an array whatever its layout, and that layout."""
    return array.tobytes(), array.dtype, array.shape, array.strides, array.flags.writeable


def on_each_backend(run, pairs):
    """{backend: results} of `run(*arrays)`; the laid out arrays must give the plain ones' bits, and stay unchanged."""
    results = {}
    for backend in BACKENDS:
        with nn.use_backend(backend), np.errstate(all="ignore"):
            plain = run(*(plain for plain, _ in pairs))
            before = [bits_of(laid_out) for _, laid_out in pairs]
            other = run(*(laid_out for _, laid_out in pairs))
            assert [bits_of(laid_out) for _, laid_out in pairs] == before
            assert len(plain) == len(other) > 0
            for a, b in zip(plain, other, strict=True):
                same(a, b)
            results[backend] = plain
    return results


def assert_same_on_both(results):
    for fast, twin in zip(*(results[backend] for backend in BACKENDS), strict=True):
        same(fast, twin)


class Ball(NamedTuple):
    """Numbers in higher precision, and how far from them a computation may be."""

    value: np.ndarray
    radius: np.ndarray

    @classmethod
    def exactly(cls, array):
        high = array.astype(bounds.HIGHER[array.dtype])
        return cls(high, 0 * high)

    @property
    def T(self):
        return Ball(self.value.T, self.radius.T)

    def times(self, other, dtype, start=None):
        """The product (+ start), and how far from it one in `dtype` of numbers within both may be."""
        a, b = np.abs(self.value), np.abs(other.value)
        radius = (
            matrix_product(a, other.radius) + matrix_product(self.radius, b) + matrix_product(self.radius, other.radius)
        )
        value, size = matrix_product(self.value, other.value), matrix_product(a + self.radius, b + other.radius)
        if start is not None:
            value, size = value + start.value, size + np.abs(start.value)
        exact = bounds.Exact(value, size, self.value.shape[1] + (start is not None), np.dtype(dtype))
        return Ball(value, radius + bounds.hard_bound(exact))

    def holds(self, name, results):
        """AssertionError where a backend is outside, or the two are further apart than twice the radius."""
        high = [results[backend].astype(self.value.dtype) for backend in BACKENDS]
        for backend, result in zip(BACKENDS, high, strict=True):
            assert bounds.fraction(f"{name} {backend}", result - self.value, self.radius) <= 1
        assert bounds.fraction(f"{name} twins", high[0] - high[1], 2 * self.radius) <= 1


def linear_of(weights, bias, dtype):
    return nn.Linear(*weights.shape, weight_attr=lambda shape: weights, bias_attr=lambda shape: bias, dtype=dtype)


def dense(data, widths, dtype, values):
    """A function that makes Linear, ReLU, Linear, … anew, and the weights and biases."""
    rng = np.random.default_rng(data.draw(SEEDS))
    made = []
    for n_in, n_out in itertools.pairwise(widths):
        w, b = (values(rng, shape).astype(dtype) for shape in ((n_in, n_out), (1, n_out)))
        made.append((w if values is integers else (w / np.sqrt(n_in)).astype(dtype), b))

    def make():
        layers = []
        for w, b in made:
            layers += [nn.ReLU()] if layers else []
            layers.append(linear_of(w, b, dtype))
        return nn.Sequential(*layers)

    return make, made


# --- Linear ---


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


# --- MSE ---


@drawn
@given(st.data(), ROWS, WIDTHS, st.sampled_from(["mean", "sum", "none"]))
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
    scale = 1 / difference.size if reduction == "mean" else 1.0
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
    for backend, arrays_ in results.items():
        states = list(zip(arrays_[::2], arrays_[1::2], strict=True))
        for (old, new), (gradient, _) in zip(itertools.pairwise(states), gradients, strict=True):
            rule = 0.05, momentum, decay, decay_type == "l1"
            bounds.check_update(f"SGD {backend}", new, old, gradient.astype(dtype), *rule)
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


def test_every_layout_is_drawn():
    """The strategies give what they are named for."""
    a = np.arange(12.0).reshape(3, 4)
    laid_out = {layout.__name__: layout(a) for layout in LAYOUTS}
    assert all(np.array_equal(array, a) for array in laid_out.values())
    assert laid_out["fortran"].flags.f_contiguous and not laid_out["misaligned"].flags.aligned
    assert min(laid_out["reversed_with_gaps"].strides) < 0 and not laid_out["read_only"].flags.writeable
    assert not laid_out["byte_swapped"].dtype.isnative and isinstance(laid_out["memory_mapped"], np.memmap)
    assert np.isnan(laid_out["strided"].base).any() and np.isnan(laid_out["padded_rows"].base).any()
