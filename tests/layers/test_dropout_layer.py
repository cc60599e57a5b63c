"""Dropout as a layer: in the loop, in `fit`, in predictions and in copies."""

import copy
import pickle
import threading

import numpy as np
import pytest
from public import activations

import fastnp as nn
from fastnp.trust.masks import factors

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))
ONES = np.ones((8, 50))


def linear(n_in, n_out, rng, dtype=np.float32):
    return nn.Linear(n_in, n_out, weight_attr=nn.Normal(0, 0.5, rng=rng), dtype=dtype)


def model(dtype=np.float32, seed=1, activation=nn.Tanh):
    """In front, behind and before an activation, twice in a row, behind a Linear and at the end."""
    rng = np.random.default_rng(seed)

    def drop(p):
        return nn.Dropout(p, rng)

    return nn.Sequential(
        drop(0.2), linear(3, 8, rng, dtype), activation(), drop(0.5), linear(8, 17, rng, dtype), drop(0.3),
        activation(), drop(0.3), drop(0.1), linear(17, 8, rng, dtype), nn.LayerNorm(8, dtype=dtype), nn.Tanh(),
        drop(0.2), linear(8, 2, rng, dtype), drop(0.1),
    )  # fmt: skip


def dropouts(network):
    return [layer for layer in network.graphs if isinstance(layer, nn.Dropout)]


def trainer(network):
    rng = np.random.default_rng(5)
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), batch_size=5, shuffle=True, rng=rng)
    return nn.MSE(), nn.SGD(parameters=network.parameters(), learning_rate=0.05, weight_decay=0.01), loader


def train(network, fit, epochs=3, callback=None, made=None):
    """Losses, parameters, counts and predictions after a training by `fit`, or by the loop written out."""
    loss_fn, optimizer, loader = made or trainer(network)
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
    return [list(losses), *results(network)]


def results(network):
    arrays = [tensor.data.tobytes() for tensor in network.parameters()]
    return [*arrays, [layer._noise.count for layer in dropouts(network)], network.predict(X).tobytes()]


# --- one layer ---


@dtypes
@pytest.mark.parametrize("p", [0.0, 0.25, 0.999])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 7), (2, 3, 4), (0, 4), (4, 0), (2, 0, 3)])
def test_alone_it_takes_any_shape(shape, p, dtype, backend):
    layer, rng = nn.Dropout(p, np.random.default_rng(1)), np.random.default_rng(2)
    for _ in range(2):
        x = rng.normal(size=shape).astype(dtype)
        before, y = x.copy(), layer(x)
        factor = factors(layer._noise, shape, dtype)
        assert y.shape == shape and y.dtype == dtype and not np.shares_memory(y, x)
        assert np.array_equal(y, x * factor) and np.array_equal(x, before)
        gradient = rng.normal(size=shape).astype(dtype)
        assert np.array_equal(layer.backward(gradient), gradient * factor)
        assert np.array_equal(layer.backward(gradient), gradient * factor)  # again: it does not count
        assert np.array_equal(layer.predict(x), x)
        with pytest.raises(ValueError, match="its last output had"):
            layer.backward(np.ones((*shape, 2)))
    assert layer._noise.count == 2 * (p > 0)


def test_each_forward_leaves_out_others(backend):
    layer = nn.Dropout(0.5, np.random.default_rng(1))
    masks = [layer(ONES) for _ in range(20)]
    assert len({mask.tobytes() for mask in masks}) == 20
    assert all(set(np.unique(mask)) == {0.0, 2.0} for mask in masks)


@dtypes
@pytest.mark.parametrize("fit", [True, False])
def test_a_count_that_single_precision_does_not_hold(fit, dtype, backend):
    """It crosses 2²⁴ in the middle of an epoch of five batches, and is handed over in two halves."""
    rng = np.random.default_rng(1)
    layer, start = nn.Dropout(0.5, rng), 7 * 2**24 - 3
    network = nn.Sequential(linear(3, 2, rng, dtype), layer)
    layer._noise.count = start
    train(network, fit, epochs=1)
    assert layer._noise.count >= start + 5
    drawn = layer._noise.count
    x = np.ones((8, 50), dtype)
    y = layer(x)
    assert layer._noise.count == drawn + 1
    assert np.array_equal(y, factors(layer._noise, x.shape, dtype))


def test_the_seed_is_drawn_when_it_is_made(backend):
    def drawn(rng=None):
        layer = nn.Dropout(0.5, rng)
        return [layer(ONES).tobytes() for _ in range(3)]

    assert drawn(np.random.default_rng(1)) == drawn(np.random.default_rng(1)) != drawn(np.random.default_rng(2))
    rng = np.random.default_rng(1)
    assert drawn(rng) != drawn(rng)
    seeded = []
    for _ in range(2):
        np.random.seed(7)
        seeded.append((drawn(), drawn()))
    assert seeded[0] == seeded[1] and seeded[0][0] != seeded[0][1]
    assert 0 <= nn.Dropout()._noise.seed < 2**63


def test_both_backends_draw_the_same():
    masks = []
    for name in "numba", "numpy":
        layer = nn.Dropout(0.3, np.random.default_rng(1))
        with nn.use_backend(name):
            masks.append([layer(ONES).tobytes() for _ in range(3)])
    assert masks[0] == masks[1]


def test_after_eval_it_is_the_identity(backend):
    layer = nn.Dropout(0.5, np.random.default_rng(1))
    assert layer.training
    x = RNG.normal(size=(4, 5))
    assert layer.eval() is layer and not layer.training
    y = layer(x)
    assert np.array_equal(y, x) and y is not x
    assert np.array_equal(layer.backward(x), x) and layer._noise.count == 0
    layer.train()
    assert not np.array_equal(layer(x), x) and layer._noise.count == 1


def test_a_mode_or_share_that_changes_before_backward(backend):
    """backward goes back through what forward did."""
    layer = nn.Dropout(0.5, np.random.default_rng(1))
    y = layer(ONES)
    layer.eval()
    layer.p = 0.1
    assert np.array_equal(layer.backward(ONES), y)
    assert np.array_equal(layer(ONES), ONES)
    layer.train()
    assert np.array_equal(layer.backward(ONES), ONES)
    assert set(np.unique(layer(np.ones((50, 50), np.float64)))) == {0.0, 1 / 0.9}


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, np.nan, np.inf, "a", None, [0.5]])
def test_a_wrong_share(value):
    with pytest.raises((TypeError, ValueError), match="Dropout: p must be"):
        nn.Dropout(value)
    layer = nn.Dropout(0.25)
    with pytest.raises((TypeError, ValueError), match="Dropout: p must be"):
        layer.p = value
    assert layer.p == 0.25


def test_what_else_is_refused():
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator"):
        nn.Dropout(0.5, 3)
    with pytest.raises(ValueError, match="backward before forward"):
        nn.Dropout().backward(ONES)

    class Half(nn.Dropout):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"Half has no seed: its __init__ must call super\(\)"):
        Half()(ONES)
    assert "Half" in repr(Half())


def test_a_share_that_single_precision_rounds_to_one(backend):
    layer = nn.Dropout(1 - 2.0**-40, np.random.default_rng(1))
    y = layer(np.ones((1000, 100), np.float32))
    assert np.isfinite(y).all() and np.mean(y == 0) > 0.999


def test_names():
    assert repr(nn.Dropout()) == "Dropout(p=0.5)" and str(nn.Dropout()) == "dropout"
    assert repr(nn.Dropout(0.1, name="noise")) == "Dropout(p=0.1, name='noise')"


# --- copies ---

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@copies
def test_a_copy_goes_on_by_itself(copied, backend):
    layer = nn.Dropout(0.3, np.random.default_rng(1))
    layer(ONES)
    other = copied(layer)
    theirs = [other(ONES).tobytes() for _ in range(3)]
    other.eval()
    other.p = 0.9
    assert layer.training and layer.p == 0.3
    assert [layer(ONES).tobytes() for _ in range(3)] == theirs


@pytest.mark.parametrize("copied", [copy.deepcopy, COPIES["pickle"]])
@pytest.mark.parametrize("fit", [True, False])
def test_a_training_goes_on_in_a_copy(copied, fit, backend):
    network = model()
    train(network, fit, 2)
    other = copied(network)
    assert train(network, fit, 2) == train(other, fit, 2)
    assert [a._noise.count for a in dropouts(other)] == [20] * 7


# --- in a model ---


@dtypes
@pytest.mark.parametrize("activation", activations())
def test_fit_has_the_bits_of_the_loop(activation, dtype, backend):
    fits, loops = (train(model(dtype, activation=activation), fit) for fit in (True, False))
    untrained = model(dtype, activation=activation)
    assert fits == loops != [fits[0], *results(untrained)]
    assert untrained.whole_program() is not None


@dtypes
@pytest.mark.parametrize("count", [1, 0])
def test_batches_of_one_row_and_none(count, dtype, backend):
    network = model(dtype)
    y = network(X[:count])
    assert y.shape == (count, 2)
    assert network.backward(np.ones((count, 2))).shape == (count, 3)
    assert network.predict(X[:count]).shape == (count, 2)


def test_a_model_is_its_layers_one_by_one(backend):
    """The masks and the bits, forward and back."""
    network, apart = model(), model()
    for _ in range(3):
        x = y = X.astype(np.float32)
        y, gradient = network(x), np.ones((23, 2), np.float32)
        for layer in apart.graphs:
            x = layer(x)
        assert np.array_equal(x, y) or np.allclose(x, y, rtol=1e-5, atol=1e-6)
        assert [a._noise.count for a in dropouts(network)] == [a._noise.count for a in dropouts(apart)]
        for layer in reversed(apart.graphs):
            gradient = layer.backward(gradient)
        np.testing.assert_allclose(network.backward(np.ones((23, 2))), gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fit", [True, False])
def test_a_backend_that_changes_within_a_training(fit):
    """Which numbers are left out goes on as before."""
    counts = []
    for names in ("numba", "numba", "numba"), ("numba", "numpy", "numba"):
        network = model(np.float64)
        made = trainer(network)
        for name in names:
            with nn.use_backend(name):
                train(network, fit, 1, made=made)
        counts.append(results(network))
        parameters = [tensor.data.copy() for tensor in network.parameters()]
        counts[-1] = counts[-1][-2], parameters
    assert counts[0][0] == counts[1][0]
    for one, other in zip(counts[0][1], counts[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_settings_that_change_between_epochs(backend):
    def results_of(fit):
        network = model()

        def change(epoch, loss):
            dropouts(network)[epoch].p = 0.7
            dropouts(network)[epoch + 1].train(epoch == 1)

        return train(network, fit, callback=change)

    assert results_of(True) == results_of(False)


def test_fit_and_loop_take_turns(backend):
    networks = [model() for _ in range(2)]
    for network, order in zip(networks, ((True, False, True), (False, True, False)), strict=True):
        made = trainer(network)
        for fit in order:
            train(network, fit, 1, made=made)
    assert results(networks[0]) == results(networks[1])


def test_a_batch_that_diverges(backend):
    """It has drawn, in `fit` as in the loop."""
    counts = []
    for fit in True, False:
        network = model(activation=nn.ReLU)
        made = loss_fn, optimizer, loader = trainer(network)
        optimizer.learning_rate = 1e25
        if fit:
            with pytest.raises(nn.DivergedError):
                train(network, True, made=made)
        else:
            for x, y in loader:
                with np.errstate(all="ignore"):
                    if not np.isfinite(loss_fn(network(x), y)):
                        break
                    network.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()
        counts.append([layer._noise.count for layer in dropouts(network)])
    assert counts[0] == counts[1] and 1 < counts[0][0] < 5


def test_after_fit_a_model_goes_back_through_its_last_batch(backend):
    """As after the loop: its masks are there."""
    gradients = []
    for fit in True, False:
        network = model()
        train(network, fit)
        gradients.append(network.backward(np.ones((3, 2))).tobytes())
    assert gradients[0] == gradients[1]


def test_a_model_in_evaluation_trains_without_dropout(backend):
    one, other = model().eval(), model()
    for layer in dropouts(other):
        layer.p = 0
    assert train(one, True) == train(other, True) == train(model().eval(), False)


def test_threads_predict_without_dropout_while_a_model_trains(backend):
    network, alone = model(), model()
    frozen = copy.deepcopy(network).eval()
    expected = network.predict(X)
    assert np.array_equal(frozen(X.astype(np.float32)), expected)
    assert train(alone, False, 30)
    wrong, stop = [], threading.Event()
    drop = dropouts(network)[0]

    def predict():
        with nn.use_backend(backend):
            while not stop.is_set():
                if not np.array_equal(drop.predict(X), X):
                    wrong.append("a layer")
                if not np.isfinite(network.predict(X)).all():
                    wrong.append("a model")
                if not np.allclose(frozen.predict(X), expected, rtol=1e-5, atol=1e-6):  # a BLAS sums as it likes
                    wrong.append("a model that does not train")

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        train(network, False, 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert results(network) == results(alone)


def test_predict_draws_nothing(backend):
    network = model()
    y = network(X)
    before = [layer._noise.count for layer in dropouts(network)]
    first = network.predict(X)
    assert np.array_equal(network.predict(X), first) and not np.array_equal(first, y)
    assert [layer._noise.count for layer in dropouts(network)] == before
    assert all(layer.training for layer in dropouts(network))


def test_the_checks_know_it():
    for dtype in np.float32, np.float64:
        network = model(dtype)
        train(network, True)
        before = results(network)
        report = nn.cross_check(network, X)
        report.raise_if_failed()
        assert not report.unchecked
        rows = [row for row in report.rows if "dropout" in row.where]
        assert sum(row.what == "input gradient" for row in rows) == 2 * 7
        assert all(row.fraction == 0 for row in rows if row.what == "input gradient")
        nn.gradient_check(network, nn.MSE(), X, Y).raise_if_failed()
        assert results(network) == before
    nn.cross_check(network.eval(), X).raise_if_failed()


def test_a_check_of_a_layer_that_has_dropout_inside():
    class Noisy(nn.Layer):
        def __init__(self):
            super().__init__()
            self.inner = nn.Dropout(0.5)

        def forward(self, x):
            return 3 * self.inner(x)

        def backward(self, gradient):
            return self.inner.backward(3 * gradient)

    network = nn.Sequential(linear(3, 8, RNG), Noisy(), linear(8, 2, RNG))
    nn.gradient_check(network, nn.MSE(), X, Y).raise_if_failed()
    nn.cross_check(network, X).raise_if_failed()


def test_a_subclass_that_redefines_forward_runs_by_itself(backend):
    class Twice(nn.Dropout):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, gradient):
            return super().backward(2 * gradient)

    network = nn.Sequential(linear(3, 2, RNG), Twice(0.5, np.random.default_rng(1)))
    plain = nn.Dropout(0.5, np.random.default_rng(1))
    assert np.array_equal(network(X), 2 * plain(network.graphs[0](X)))
    assert network.whole_program() is None
