"""LayerNorm as a layer: in the loop, in `fit`, in predictions and in copies."""

import copy
import pickle
import threading

import numpy as np
import pytest
from public import activations

import fastnp as nn
from fastnp.trust.exact import wide
from fastnp.trust.normalized import Normalized

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 6))


def linear(n_in, n_out, rng, dtype=np.float32):
    return nn.Linear(n_in, n_out, weight_attr=nn.Normal(0, 0.5, rng=rng), dtype=dtype)


def model(dtype=np.float32, seed=1, activation=nn.Tanh):
    """In front, behind a Linear, behind and before an activation, twice in a row and at the end."""
    rng = np.random.default_rng(seed)

    def norm(features):
        return nn.LayerNorm(features, dtype=dtype)

    return nn.Sequential(
        norm(3), linear(3, 8, rng, dtype), norm(8), activation(), linear(8, 17, rng, dtype), activation(), norm(17),
        norm(17), linear(17, 5, rng, dtype), norm(5), nn.ReLU(), linear(5, 6, rng, dtype), norm(6),
    )  # fmt: skip


def train(network, fit, epochs=3, callback=None, made=None):
    """Losses, parameters, velocities and predictions after a training by `fit`, or by the loop written out."""
    loss_fn, loader = nn.MSE(), nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=5)
    optimizer = made or nn.SGD(parameters=network.parameters(), learning_rate=0.05, weight_decay=0.01)
    losses = []
    if fit:
        losses = nn.fit(network, loss_fn, optimizer, loader, epochs, progress=False, callback=callback).loss
    else:
        for epoch in range(epochs):
            total, batches = 0.0, 0
            for x, y in loader:
                total += loss_fn(network(x), y)
                batches += 1
                network.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()
            losses.append(total / batches)
            if callback is not None:
                callback(epoch, losses[-1])
    arrays = [tensor.data for tensor in network.parameters()] + optimizer.velocity
    arrays += [layer.input for layer in network.graphs if hasattr(layer, "weights")]
    return [list(losses), *(array.tobytes() for array in arrays), network.predict(X).tobytes()]


def drawn(features=3, dtype=np.float32, **settings):
    """A layer whose parameters are random numbers."""
    layer, rng = nn.LayerNorm(features, dtype=dtype, **settings), np.random.default_rng(4)
    layer.weights.data, layer.bias.data = rng.normal(size=(2, 1, features))
    return layer


# --- one layer ---


def test_it_starts_as_mean_0_and_variance_1():
    layer = nn.LayerNorm(50)
    assert layer.weights.shape == layer.bias.shape == (1, 50)
    assert np.array_equal(layer.weights.data, np.ones((1, 50))) and not layer.bias.data.any()
    assert layer.parameters() == [layer.weights, layer.bias]
    y = layer(5 + 3 * RNG.normal(size=(4, 50)))
    np.testing.assert_allclose(y.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(1), 1, rtol=1e-4)


@dtypes
@pytest.mark.parametrize("shape", [(3,), (1, 3), (7, 3), (2, 4, 3), (0, 3), (2, 0, 3)])
def test_alone_it_takes_any_shape(shape, dtype, backend):
    layer, rng = drawn(3, dtype), np.random.default_rng(2)
    x, gradient = rng.normal(size=(2, *shape)).astype(dtype)
    before = x.copy()
    y, dx = layer(x), layer.backward(gradient)
    assert y.shape == dx.shape == layer.input.shape == shape and y.dtype == dx.dtype == dtype
    rows, dy, w, b = x.reshape(-1, 3), wide(gradient).reshape(-1, 3), wide(layer.weights.data), wide(layer.bias.data)
    exact = Normalized(rows, 1e-5)
    for got, (value, bound) in (
        (y, exact.output(w, b)), (dx, exact.input_gradient(dy, w)), (layer.weights.grad, exact.weights_gradient(dy)),
    ):  # fmt: skip
        assert (abs(got.reshape(-1, 3) - value) <= bound).all()
    np.testing.assert_allclose(layer.bias.grad, dy.sum(0, keepdims=True).astype(dtype), rtol=1e-5, atol=1e-6)
    assert np.array_equal(layer.predict(x), y) and np.array_equal(layer.input, x) and np.array_equal(x, before)
    with pytest.raises(ValueError, match="its last output had"):
        layer.backward(np.ones((*shape, 3)))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (3, 0), ()])
def test_another_width_is_refused(shape, backend):
    layer = nn.LayerNorm(3)
    for call in layer, layer.predict:
        with pytest.raises(
            ValueError, match=rf"LayerNorm\(features=3\) got an input with {(shape or (1,))[-1]} features"
        ):
            call(np.ones(shape))


def test_another_width_is_refused_in_a_model(backend):
    network = nn.Sequential(nn.Tanh(), nn.LayerNorm(3), nn.Linear(3, 2))
    for call in network, network.predict:
        with pytest.raises(ValueError, match=r"LayerNorm\(features=3\) got an input with 4 features"):
            call(np.ones((2, 4)))
    with pytest.raises(ValueError, match="takes 3 features, but"):
        nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(3))
    with pytest.raises(ValueError, match="takes 4 features, but"):
        nn.Sequential(nn.LayerNorm(3), nn.Dropout(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"features": 0}, ValueError, "LayerNorm: features must be at least 1"),
        ({"features": 2.0}, TypeError, "LayerNorm: features must be an integer"),
        ({"epsilon": 0.0}, ValueError, "LayerNorm: epsilon must be finite and positive"),
        ({"epsilon": np.inf}, ValueError, "LayerNorm: epsilon must be finite and positive"),
        ({"epsilon": "a"}, TypeError, "LayerNorm: epsilon must be a number"),
        ({"dtype": np.int32}, TypeError, "dtype"),
        ({"name": 3}, TypeError, "LayerNorm: name must be a string"),
    ],
)
def test_wrong_arguments(settings, error, match):
    with pytest.raises(error, match=match):
        nn.LayerNorm(**({"features": 3} | settings))


def test_what_else_is_refused(backend):
    layer = nn.LayerNorm(3)
    with pytest.raises(ValueError, match="backward before forward"):
        layer.backward(np.ones(3))
    with pytest.raises(ValueError, match="backward before forward"):
        layer.input  # noqa: B018
    for name in "weights", "bias":
        with pytest.raises(AttributeError, match=rf"LayerNorm\.{name} cannot be assigned"):
            setattr(layer, name, np.ones(3))
    with pytest.raises(ValueError, match="epsilon"):
        layer.epsilon = -1
    layer.bias.convert(np.float64)
    with pytest.raises(ValueError, match="convert both to one dtype"):
        layer(np.ones(3))

    class Half(nn.LayerNorm):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"Half has no parameters: its __init__ must call super.*\(features\)"):
        Half().weights  # noqa: B018
    assert "Half" in repr(Half())


def test_names():
    assert repr(nn.LayerNorm(3)) == "LayerNorm(3)"
    assert repr(nn.LayerNorm(3, 1e-3, "even", np.float64)) == (
        "LayerNorm(3, epsilon=0.001, name='even', dtype=float64)"
    )
    assert str(nn.LayerNorm(3)) == "layer normalization, weight shape: (1, 3), bias shape: (1, 3)"


def test_epsilon_may_change_at_any_time(backend):
    layer, x = nn.LayerNorm(3, dtype=np.float64), np.array([[1.0, 2.0, 3.0]])
    before = layer(x)
    layer.epsilon = 1.0
    exact = (x - 2) / np.sqrt(2 / 3 + 1)
    np.testing.assert_allclose(layer.predict(x), exact, rtol=1e-14)
    layer.backward(np.ones((1, 3)))
    np.testing.assert_allclose(layer.weights.grad, before, rtol=1e-14)  # that of the last forward
    np.testing.assert_allclose(layer(x), exact, rtol=1e-14)


def test_parameters_may_be_converted(backend):
    network = model()
    single = network.predict(X)
    for tensor in network.parameters():
        tensor.convert(np.float64)
    double = network(X)
    assert double.dtype == np.float64 and network.graphs[0](X).dtype == np.float64
    np.testing.assert_allclose(double, single, rtol=1e-2, atol=1e-3)


def test_a_row_does_not_depend_on_the_others(numba):
    layer, x = drawn(33), RNG.normal(size=(9, 33))
    layer_of_many = layer(x)
    assert all(np.array_equal(layer(x[i : i + 1])[0], layer_of_many[i]) for i in range(9))


# --- in a model ---


@dtypes
@pytest.mark.parametrize("activation", activations())
def test_fit_has_the_bits_of_the_loop(activation, dtype, backend):
    fits, loops = (train(model(dtype, activation=activation), fit) for fit in (True, False))
    assert fits == loops
    assert fits[0][-1] < fits[0][0]
    assert model(dtype, activation=activation).whole_program() is not None


@dtypes
@pytest.mark.parametrize("count", [1, 0])
def test_batches_of_one_row_and_none(count, dtype, backend):
    network = model(dtype)
    assert network(X[:count]).shape == network.predict(X[:count]).shape == (count, 6)
    assert network.backward(np.ones((count, 6))).shape == (count, 3)


def test_settings_that_change_between_epochs(backend):
    def results_of(fit):
        network = model()

        def change(epoch, loss):
            network.graphs[2].epsilon = 0.1 * (epoch + 1)

        return train(network, fit, callback=change)

    assert results_of(True) == results_of(False) != train(model(), True)


def test_the_backends_agree():
    results = []
    for name in "numba", "numpy":
        with nn.use_backend(name):
            network = model(np.float64)
            train(network, fit=True)
            results.append([tensor.data.copy() for tensor in network.parameters()])
    for fast, twin in zip(*results, strict=True):
        np.testing.assert_allclose(fast, twin, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_training_goes_on_in_a_copy(copied, backend):
    network = model()
    train(network, True, 1)
    other = copied(network)
    assert repr(other) == repr(network)
    assert train(network, True, 1) == train(other, True, 1)


@pytest.mark.parametrize("trained", ["norms", "linears"])
def test_an_optimizer_of_some_of_the_layers(trained, backend):
    results = []
    for fit in True, False:
        network = model()
        kinds = nn.LayerNorm if trained == "norms" else nn.Linear
        tensors = [t for layer in network.graphs if isinstance(layer, kinds) for t in layer.parameters()]
        optimizer = nn.SGD(parameters=tensors, learning_rate=0.05)
        for tensor in network.parameters():
            tensor.clear_grad()
        results.append(train(network, fit, made=optimizer)[:-1])
    assert results[0][0] == results[1][0]


def test_threads_predict_while_a_model_trains(backend):
    network, alone = model(), drawn(3)
    expected = alone(X)
    wrong, stop = [], threading.Event()

    def predict():
        with nn.use_backend(backend):
            while not stop.is_set():
                if not np.array_equal(alone.predict(X), expected) or not np.isfinite(network.predict(X)).all():
                    wrong.append(1)

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        results = train(network, False, 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong and results[0] == train(model(), True, 20)[0]


def test_the_checks_know_it():
    for dtype in np.float32, np.float64:
        for far in 0, 1e4:
            report = nn.cross_check(model(dtype), X + far)
            report.raise_if_failed()
            assert not report.unchecked
            seen = {row.what for row in report.rows if "layer_norm" in row.where}
            assert seen >= {"output", "input gradient", "weights.grad", "bias.grad", "weights.grad, whole model"}
    nn.gradient_check(model(), nn.MSE(), X, Y).raise_if_failed()


def test_a_subclass_that_redefines_forward_runs_by_itself(backend):
    class Twice(nn.LayerNorm):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, gradient):
            return super().backward(2 * gradient)

    network = nn.Sequential(linear(3, 6, RNG), Twice(6))
    assert np.array_equal(network(X), 2 * nn.LayerNorm(6)(network.graphs[0](X)))
    assert network.whole_program() is None
    nn.gradient_check(network, nn.MSE(), X, Y).raise_if_failed()
