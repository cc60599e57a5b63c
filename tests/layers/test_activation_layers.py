"""What every activation promises, for all classes that there are."""

import copy
import pickle

import numpy as np
import pytest
from public import activations

import fastnp as nn

classes = pytest.mark.parametrize("cls", activations())
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))


def model(cls, dtype=np.float32, seed=1):
    """A network with the activation first, last, twice in a row, behind a ReLU and before one."""
    rng = np.random.default_rng(seed)

    def linear(n_in, n_out):
        return nn.Linear(n_in, n_out, weight_attr=nn.Normal(0, 0.5, rng=rng), dtype=dtype)

    layers = [cls(), linear(3, 8), cls(), linear(8, 17), cls(), cls(), linear(17, 5), nn.ReLU(), cls()]
    return nn.Sequential(*layers, linear(5, 4), cls(), nn.ReLU(), linear(4, 2), cls())


def train(network, fit, epochs=3, callback=None):
    """Losses, parameters, velocities and gradients after a training by `fit`, or by the loop written out."""
    loss_fn, loader = nn.MSE(), nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=5)
    optimizer = nn.SGD(parameters=network.parameters(), learning_rate=0.05, weight_decay=0.01)
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
    arrays += [layer.activated for layer in network.graphs if hasattr(layer, "activated")]
    return [losses, *(array.tobytes() for array in arrays), network.predict(X).tobytes()]


@classes
@dtypes
def test_fit_has_the_bits_of_the_loop(cls, dtype, backend):
    theirs, mine = train(model(cls, dtype), fit=False), train(model(cls, dtype), fit=True)
    assert mine == theirs
    assert mine[0][-1] < mine[0][0]


@classes
@dtypes
def test_the_backends_agree(cls, dtype):
    results = []
    for backend in "numba", "numpy":
        with nn.use_backend(backend):
            network = model(cls, dtype)
            train(network, fit=True)
            results.append([tensor.data.copy() for tensor in network.parameters()])
    for fast, twin in zip(*results, strict=True):
        np.testing.assert_allclose(fast, twin, rtol=1e-3 if dtype == np.float32 else 1e-10, atol=1e-5)


@classes
def test_the_checks_know_it(cls):
    for dtype in np.float32, np.float64:
        report = nn.cross_check(model(cls, dtype), X)
        report.raise_if_failed()
        assert not report.unchecked
        lines = str(report).splitlines()
        assert any(cls().name in line and "output" in line for line in lines)
        assert any(cls().name in line and "input gradient" in line for line in lines)
    nn.gradient_check(model(cls), nn.MSE(), X, Y).raise_if_failed()


@classes
@dtypes
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 7), (2, 3, 4), (0, 4), (4, 0), (2, 0, 3)])
def test_alone_it_takes_any_shape(cls, dtype, shape, backend):
    layer, x = cls(), np.random.default_rng(2).normal(size=shape).astype(dtype)
    before = x.copy()
    y = layer(x)
    assert y.shape == shape and y.dtype == dtype
    np.testing.assert_allclose(y, layer._exact_value(x.astype(np.float64)), rtol=1e-6, atol=1e-12)
    assert np.array_equal(layer.activated, y) and np.array_equal(layer.predict(x), y)
    gradient = layer.backward(np.full(shape, 2.0))
    exact = layer._exact_gradient(np.full(shape, 2.0), x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(gradient, exact, rtol=1e-5, atol=1e-6)
    assert np.array_equal(x, before)
    with pytest.raises(ValueError, match="its last output had"):
        layer.backward(np.ones((*shape, 2)))


@classes
def test_special_numbers(cls, backend):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45])
    layer = cls()
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(layer(x), layer._exact_value(x), rtol=1e-15)
        assert np.signbit(layer(x[:2])[1]) == layer._keeps_zeros


@classes
def test_before_a_forward(cls):
    with pytest.raises(ValueError, match="backward before forward"):
        cls().backward(np.ones(3))
    with pytest.raises(ValueError, match="backward before forward"):
        cls().activated  # noqa: B018


@classes
def test_copies_and_names(cls):
    layer = cls(name="bend")
    layer(X)
    for clone in pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer):
        assert (type(clone), clone.name, repr(clone)) == (cls, "bend", repr(layer))
        assert np.array_equal(clone(X), layer(X))
    assert str(layer) == "bend" and "'bend'" in repr(layer)
    assert repr(eval(repr(cls()), {cls.__name__: cls})) == repr(cls())


@classes
def test_a_subclass_that_redefines_forward_runs_by_itself(cls):
    class Twice(cls):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, gradient):
            return super().backward(2 * gradient)

    class Named(cls):
        def described(self):
            return "only adds a name"

    network = nn.Sequential(nn.Linear(3, 2), Twice())
    assert np.array_equal(network(X), 2 * cls()(network.graphs[0](X)))
    assert network.whole_program() is None
    assert nn.Sequential(nn.Linear(3, 2), Named()).whole_program() is not None
    nn.gradient_check(network, nn.MSE(), X, Y).raise_if_failed()


# --- settings ---

SETTINGS = [(cls, name) for cls in activations() for name in cls()._kernel_settings()]


@pytest.mark.parametrize(("cls", "name"), SETTINGS)
def test_a_setting_may_change_at_any_time(cls, name, backend):
    results = []
    for fit in True, False:
        network = model(cls)

        def change(epoch, loss, network=network):
            for layer in network.graphs:
                if isinstance(layer, cls):
                    setattr(layer, name, 0.1 * (epoch + 1))

        results.append(train(network, fit, callback=change))
    assert results[0] == results[1]
    layer = cls()
    before = layer(-np.ones(3))
    setattr(layer, name, 0.75)
    assert not np.array_equal(layer.predict(-np.ones(3)), before)
    slope = cls()._exact_slope(None, before)  # that of the last forward
    np.testing.assert_allclose(layer.backward(np.ones(3)), slope, rtol=1e-15)
    np.testing.assert_allclose(layer(-np.ones(3)), layer._exact_value(-np.ones(3)), rtol=1e-15)


@pytest.mark.parametrize(("cls", "name"), SETTINGS)
@pytest.mark.parametrize(("value", "error"), [(-0.1, ValueError), (np.nan, ValueError), ("x", TypeError)])
def test_a_wrong_setting(cls, name, value, error):
    with pytest.raises(error, match=name):
        cls(**{name: value})
    layer = cls()
    with pytest.raises(error, match=name):
        setattr(layer, name, value)


def test_leaky_relu():
    layer = nn.LeakyReLU(0.25)
    assert layer(np.array([-4.0, 0.0, 4.0])).tolist() == [-1.0, 0.0, 4.0]
    assert layer.backward(np.array([1.0, 1.0, 1.0])).tolist() == [0.25, 0.25, 1.0]
    assert repr(nn.LeakyReLU()) == "LeakyReLU(negative_slope=0.01)"
    assert repr(nn.LeakyReLU(0.1, "bend")) == "LeakyReLU(negative_slope=0.1, name='bend')"


def test_tanh():
    layer = nn.Tanh()
    assert layer(np.array([np.inf, -np.inf, 0.0])).tolist() == [1.0, -1.0, 0.0]
    np.testing.assert_allclose(layer(np.array([0.5])), [0.46211715726000979], rtol=1e-15)
    assert repr(layer) == "Tanh()"


def test_elu():
    layer = nn.ELU(0.5)
    assert layer(np.array([-np.inf, 0.0, 4.0])).tolist() == [-0.5, 0.0, 4.0]
    assert layer.backward(np.array([1.0, 1.0, 1.0])).tolist() == [0.0, 0.5, 1.0]
    assert repr(layer) == "ELU(alpha=0.5)"
    with pytest.raises(ValueError, match="alpha must be finite and positive, got 0"):
        nn.ELU(0)


def test_sigmoid():
    layer = nn.Sigmoid()
    assert layer(np.array([np.inf, -np.inf, 0.0])).tolist() == [1.0, 0.0, 0.5]
    assert layer.backward(np.array([1.0, 1.0, 1.0])).tolist() == [0.0, 0.0, 0.25]


def test_softplus():
    layer = nn.Softplus()
    assert layer(np.array([np.inf, -np.inf, 100.0])).tolist() == [np.inf, 0.0, 100.0]
    assert layer.backward(np.array([1.0, 1.0, 1.0])).tolist() == [1.0, 0.0, 1.0]
    np.testing.assert_allclose(layer(np.array([0.0, 1.0])), [0.69314718055994531, 1.3132616875182229], rtol=1e-15)


@pytest.mark.parametrize("layer", [nn.SiLU(), nn.GELU(), nn.GELU(approximate=True)], ids=repr)
def test_gates(layer):
    at_the_ends = layer(np.array([np.inf, -np.inf, -1e300, 50.0]))
    assert at_the_ends.tolist() == [np.inf, 0.0, 0.0, 50.0]
    assert np.signbit(at_the_ends).tolist() == [False, True, True, False]
    assert layer.backward(np.ones(4)).tolist() == [1.0, 0.0, 0.0, 1.0]
    known = {
        "SiLU()": 0.73105857863000488,
        "GELU()": 0.84134474606854295,
        "GELU(approximate=True)": 0.84119199060827672,
    }
    np.testing.assert_allclose(layer(np.array([1.0])), [known[repr(layer)]], rtol=1e-15)


def test_the_form_of_gelu_may_change_at_any_time(backend):
    layer, x = nn.GELU(), np.linspace(-3, 3, 5)
    exact = layer(x)
    layer.approximate = True
    bent = layer(x)
    assert not np.array_equal(bent, exact) and np.abs(bent - exact).max() < 1e-3
    assert np.array_equal(bent, nn.GELU(True)(x))
    results = []
    for fit in True, False:
        network = model(nn.GELU)

        def change(epoch, loss, network=network):
            for each in network.graphs:
                if isinstance(each, nn.GELU):
                    each.approximate = epoch == 0

        results.append(train(network, fit, callback=change))
    assert results[0] == results[1]
    for wrong in "tanh", None, 2:
        with pytest.raises(TypeError, match="approximate must be True or False"):
            layer.approximate = wrong


def test_softmax(backend):
    layer = nn.Softmax()
    x = np.array([[[0.0, 0.0], [np.log(3), 0.0]], [[1e308, -1e308], [-np.inf, 7.0]]])
    y = layer(x)
    np.testing.assert_allclose(y, [[[0.5, 0.5], [0.75, 0.25]], [[1.0, 0.0], [0.0, 1.0]]], rtol=1e-15)
    dx = layer.backward(np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    np.testing.assert_allclose(dx, [[[0.25, -0.25], [0.1875, -0.1875]], [[0.0, 0.0], [0.0, 0.0]]], rtol=1e-15)
    nans = layer(np.array([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, -np.inf], [0.0, 0.0]]))
    assert np.isnan(nans).all(axis=1).tolist() == [True, True, True, False]
