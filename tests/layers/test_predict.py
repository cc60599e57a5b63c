"""`predict`: any number of rows, no state kept or changed, on several threads, with users' own layers between."""

import itertools
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from fits import Double, build, data, fit, setup
from fits import backend as backend

import fastnp as nn

CHAIN = [(3, 20), "relu", (20, 5), "relu", (5, 2)]
MODELS = {
    "built-in": CHAIN,
    "ReLU first and last": ["relu", (3, 17), "relu", (17, 2), "relu"],
    "own in the middle": [(3, 20), "relu", Double, (20, 2)],
    "own first and last": [Double, (3, 20), "relu", (20, 2), Double],
    "ReLU between own": [Double, "relu", Double, (3, 2)],
    "ReLU alone": ["relu"],
    "nested": [(3, 20), lambda: build(["relu", (20, 2)], seed=3), "relu"],
}
STATELESS = [name for name in MODELS if name != "own in the middle" and "own first" not in name]


def inputs(rows, seed=4):
    return np.random.default_rng(seed).normal(size=(rows, 3))


def same(actual, expected, backend):
    """Equal on numba; on NumPy up to the rounding of a BLAS that may choose its order by shape."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if backend == "numba":
        assert np.array_equal(actual, expected)
    else:
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


# --- any number of rows ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [0, 1, 2, 255, 256, 257, 600])
def test_rows(rows, name, dtype, backend):
    model, X = build(MODELS[name], dtype), inputs(rows)
    output = model.predict(X)
    same(output, build(MODELS[name], dtype).forward(X), backend)
    assert output.shape == (rows, 3 if name == "ReLU alone" else 2)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 40, 41, 10**6, 2**70, np.int64(3)])
@pytest.mark.parametrize("name", MODELS)
def test_batch_sizes(name, batch_size, backend):
    model, X = build(MODELS[name]), inputs(41)
    same(model.predict(X, batch_size=batch_size), model.forward(X), backend)
    same(model.predict(X, batch_size), model.forward(X), backend)


@pytest.mark.parametrize("name", MODELS)
def test_a_row_does_not_depend_on_its_neighbours(name):
    with nn.use_backend("numba"):
        model, X = build(MODELS[name]), inputs(70)
        whole = model.predict(X)
        for row in 0, 1, 31, 69:
            assert np.array_equal(model.predict(X[row : row + 1]), whole[row : row + 1])
            among = np.full((9, 3), np.nan)
            among[5] = X[row]
            assert np.array_equal(model.predict(among)[5], whole[row])
        assert np.array_equal(model.predict(X[::-1]), whole[::-1])


def test_layouts_and_numbers(backend):
    model, X = build(CHAIN), np.arange(-6, 6).reshape(4, 3)
    expected = model.forward(X.astype(np.float32))
    wide = np.full((8, 9), np.nan)
    wide[::2, ::3] = X
    given = X, X.tolist(), X.astype(">f8"), np.asfortranarray(X), X.astype(np.float16), wide[::2, ::3]
    for each in given:
        same(model.predict(each), expected, backend)
        same(model.predict(each, batch_size=3), expected, backend)
    assert np.array_equal(X, np.arange(-6, 6).reshape(4, 3))


def test_infinity_and_nan_stay_in_their_row():
    model, X = build(CHAIN), inputs(5)
    X[1, 0], X[3, 2] = np.nan, np.inf
    output = model.predict(X)
    assert np.isnan(output[1]).all() and not np.isfinite(output[3]).all()
    assert np.isfinite(output[[0, 2, 4]]).all()


def test_the_output_is_the_callers():
    model, X = build(CHAIN), inputs(5)
    first = model.predict(X)
    kept = first.copy()
    model.predict(X + 1)
    model(X - 1)
    assert np.array_equal(first, kept)
    first[...] = 0
    assert np.array_equal(model.predict(X), kept)


# --- the forward state ---


@pytest.mark.parametrize("rows", [1, 6, 300])
@pytest.mark.parametrize("name", STATELESS)
def test_a_backward_to_come_is_not_disturbed(name, rows):
    model, other = build(MODELS[name]), build(MODELS[name])
    x, gradient = inputs(6), np.random.default_rng(8).normal(size=(6, 3 if name == "ReLU alone" else 2))
    model(x), other(x)
    model.predict(-inputs(rows, seed=9))
    assert np.array_equal(model.backward(gradient), other.backward(gradient))
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert np.array_equal(mine.grad, theirs.grad) and mine.grad.any()
    for mine, theirs in zip(model.graphs, other.graphs, strict=True):
        if isinstance(mine, nn.Linear):
            assert np.array_equal(mine.input, theirs.input)
        elif isinstance(mine, nn.ReLU):
            assert np.array_equal(mine.activated, theirs.activated)


@pytest.mark.parametrize("name", STATELESS)
def test_prediction_is_no_forward(name):
    model = build(MODELS[name])
    model.predict(inputs(4))
    with pytest.raises(ValueError, match="backward before forward"):
        model.backward(np.ones((4, 3 if name == "ReLU alone" else 2)))


def test_a_layer_of_ones_own_with_a_predict():
    class Noise(nn.Layer):
        def forward(self, x):
            self.rows = len(x)
            return x + 100

        def predict(self, x):
            return x

        def backward(self, gradient):
            return gradient

    noisy, quiet = build([(3, 4), Noise, (4, 2)]), build([(3, 4), (4, 2)])
    noisy(inputs(5))
    np.testing.assert_array_equal(noisy.predict(inputs(9)), quiet.predict(inputs(9)))
    assert noisy.graphs[1].rows == 5
    assert not np.array_equal(noisy(inputs(9)), quiet(inputs(9)))


def test_a_subclass_with_a_forward_of_its_own(backend):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Leaky(nn.ReLU):
        def forward(self, x):
            return super().forward(x) + 0.1 * np.minimum(x, 0)

    model = build([lambda: Doubled(3, 4, weight_attr=nn.Constant(0.5)), Leaky, (4, 2)])
    same(model.predict(inputs(5)), model(inputs(5)), backend)


def test_parameters_are_the_models_own_now(backend):
    run, X = setup(), inputs(11)
    seen = []
    for _ in range(3):
        fit(run, 1)
        seen.append(run.model.predict(X))
        same(seen[-1], run.model(X), backend)
    run.model.graphs[0].weights.data[...] = 0
    seen.append(run.model.predict(X))
    same(seen[-1], run.model(X), backend)
    run.model.add(nn.Linear(2, 4, weight_attr=nn.Constant(1.0)))
    same(run.model.predict(X), run.model(X), backend)
    nn.Sequential(nn.Linear(9, 3), run.model.graphs[0])  # the first layer's storage moves
    run.model.graphs[0].bias.data[...] = 3
    same(run.model.predict(X), run.model(X), backend)
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(seen))


def test_a_copy_predicts_the_same():
    model = build(CHAIN)
    expected = model.predict(inputs(5))
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(inputs(5)), expected)


# --- threads and memory ---


@pytest.mark.parametrize("name", ["built-in", "ReLU between own", "nested", "own in the middle"])
def test_several_threads_predict_with_one_model(name, backend):
    class Stateless(Double):
        def forward(self, x):
            return 2 * x

    model = build([Stateless if layer is Double else layer for layer in MODELS[name]])
    given = [inputs(1 + 37 * i, seed=i) for i in range(8)]
    expected = [build([Stateless if layer is Double else layer for layer in MODELS[name]]).predict(x) for x in given]
    wrong, start = [], threading.Barrier(8)

    def work(i):
        start.wait()
        try:
            with nn.use_backend(backend):
                for _ in range(30):
                    if not np.array_equal(model.predict(given[i], batch_size=50), expected[i]) and backend == "numba":
                        wrong.append(i)
                    np.testing.assert_allclose(model.predict(given[i]), expected[i], rtol=1e-4, atol=1e-5)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_activations_are_not_kept():
    model, X = build([(3, 256), "relu", (256, 256), "relu", (256, 1)]), inputs(20_000).astype(np.float32)
    model.predict(X[:600])
    tracemalloc.start()
    try:
        output = model.predict(X)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < output.nbytes + 50_000
    assert peak < 3 * output.nbytes + 4_000_000  # the activations of all rows would take 41 MB


# --- bad input ---


@pytest.mark.parametrize("batch_size, error", [(0, ValueError), (-1, ValueError), (2.0, TypeError), (None, TypeError)])
def test_a_bad_batch_size(batch_size, error):
    with pytest.raises(error, match="batch_size"):
        build(CHAIN).predict(inputs(3), batch_size=batch_size)


@pytest.mark.parametrize("X", [np.ones((3, 4)), np.ones((3, 0)), np.ones((0, 2)), np.ones(3), np.ones((2, 2, 3)), 5.0])
def test_another_shape(X):
    with pytest.raises(ValueError, match=r"Linear\(in_features=3\) got an input"):
        build(CHAIN).predict(X)


@pytest.mark.parametrize("X", ["abc", None, [1j], np.ma.masked_array(np.ones((2, 3)))])
def test_what_are_no_numbers(X):
    with pytest.raises(TypeError, match="X"):
        build(CHAIN).predict(X)


def test_a_model_without_layers():
    with pytest.raises(ValueError, match="no layers"):
        nn.Sequential().predict(data()[0])
