"""Activations, the gradient of inputs, and the short way to a prediction."""

import threading

import numpy as np
import pytest
from estimating import ACTIVATIONS, BINARY, COUNTS, LABELS, MANY, Y2, Network, X, Y, parameters, slopes

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn.exceptions import NotFittedError

import fastnp
from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6, 5), "max_iter": 8, "random_state": 0}
TUPLES = [("relu", "tanh"), ("gelu", "identity"), ["softplus", "leaky_relu"]]
SMOOTH = [name for name in ACTIVATIONS if "relu" not in name]
TASKS = {
    "one output": (MLPRegressor, Y),
    "two outputs": (MLPRegressor, Y2),
    "binary": (MLPClassifier, BINARY),
    "three classes": (MLPClassifier, LABELS),
    "multilabel": (MLPClassifier, MANY),
}
tasks = pytest.mark.parametrize("task", TASKS)


def fitted(task, **settings):
    made, y = TASKS[task]
    return made(**SMALL | settings).fit(X, y)


def output(model, x):
    return model.predict_proba(x) if isinstance(model, MLPClassifier) else model.predict(x)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *TUPLES], ids=str)
def test_what_is_predicted(activation):
    model = fitted("two outputs", activation=activation)
    np.testing.assert_allclose(model.predict(X), Network(model)(X), rtol=1e-12, atol=1e-13)
    assert model.n_layers_ == 4 and model.get_params()["activation"] is activation


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *TUPLES], ids=str)
def test_what_is_learned(activation):
    settings = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1, "alpha": 0.2}
    model = MLPRegressor(**SMALL, **settings, activation=activation).partial_fit(X, Y)
    network = Network(model, "squared_error")
    for _ in range(3):
        network.step(X, Y, alpha=0.2)
        model.partial_fit(X, Y)
    network.assert_equals(model)


@tasks
def test_probabilities_and_labels(task):
    model = fitted(task)
    found = Network(model)(X)
    if isinstance(model, MLPRegressor):
        return np.testing.assert_allclose(model.predict(X), found.reshape(TASKS[task][1].shape), rtol=1e-12)
    columns = np.hstack([1 - found, found]) if task == "binary" else found
    np.testing.assert_allclose(model.predict_proba(X), columns, rtol=1e-11)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(columns), rtol=1e-9, atol=1e-12)
    chosen = found > 0.5 if task == "multilabel" else model.classes_[columns.argmax(axis=1)]
    assert np.array_equal(model.predict(X), chosen)


def test_equal_names_for_all_layers_are_one_name():
    one, both = (parameters(fitted("three classes", activation=name)) for name in ("silu", ("silu", "silu")))
    assert np.array_equal(one, both)


def test_no_hidden_layer():
    for activation in "relu", ():
        model = MLPRegressor(hidden_layer_sizes=(), activation=activation, solver="lbfgs", alpha=0.0).fit(X, Y2)
        with_ones = np.hstack([X, np.ones((60, 1))])
        expected = np.linalg.lstsq(with_ones, Y2, rcond=None)[0]
        np.testing.assert_allclose(np.vstack([model.coefs_[0], model.intercepts_[0]]), expected, atol=1e-3)
        np.testing.assert_allclose(model.input_gradient(X), np.broadcast_to(model.coefs_[0].T, (60, 2, 4)), rtol=1e-12)


# --- the gradient of inputs ---


@pytest.mark.parametrize("activation", [*SMOOTH, ("tanh", "gelu")], ids=str)
@tasks
def test_input_gradient(task, activation):
    model = fitted(task, activation=activation)
    found = model.input_gradient(X)
    expected = slopes(lambda x: output(model, x), X)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_input_gradient_beside_kinks(activation):
    model = fitted("two outputs", activation=activation)
    inputs = Network(model).layers(X)[0]
    near = [abs(np.einsum("ij,jk->ik", inputs[i], model.coefs_[i]) + model.intercepts_[i]) < 1e-4 for i in range(2)]
    x = X[~np.hstack(near).any(axis=1)]
    assert len(x) > 40
    np.testing.assert_allclose(model.input_gradient(x), slopes(model.predict, x), rtol=1e-5, atol=1e-7)


def test_input_gradient_of_counts():
    model = MLPRegressor("poisson", **SMALL, activation="tanh").fit(X, COUNTS)
    np.testing.assert_allclose(model.input_gradient(X), slopes(model.predict, X), rtol=1e-5, atol=1e-7)


def test_input_gradient_drops_nothing():
    model = MLPRegressor(**SMALL, activation="tanh", dropout=0.5).partial_fit(X, Y)
    np.testing.assert_allclose(model.input_gradient(X), slopes(model.predict, X), rtol=1e-5, atol=1e-7)


def test_input_gradient_leaves_no_trace():
    model, other = (MLPRegressor(**SMALL, dropout=0.3).partial_fit(X, Y) for _ in range(2))
    first, before = model.input_gradient(X), parameters(model)
    assert np.array_equal(model.input_gradient(X), first) and np.array_equal(parameters(model), before)
    assert np.array_equal(parameters(model.partial_fit(X, Y)), parameters(other.partial_fit(X, Y)))


def test_input_gradient_checks_its_input():
    with pytest.raises(NotFittedError):
        MLPRegressor().input_gradient(X)
    model = fitted("one output")
    with pytest.raises(ValueError, match="3 features"):
        model.input_gradient(X[:, :3])
    np.testing.assert_array_equal(model.input_gradient(sparse.csr_array(X)), model.input_gradient(X))


# --- predictions ---


@pytest.mark.parametrize("rows", [1, 7, 60])
@tasks
def test_unchecked_is_the_same(task, rows):
    model = fitted(task)
    x = X[:rows]
    assert np.array_equal(model.predict(x, check_input=False), model.predict(x))
    assert model.predict(x, check_input=False).shape == model.predict(x).shape
    if isinstance(model, MLPClassifier):
        assert np.array_equal(model.predict_proba(x, check_input=False), model.predict_proba(x))


@tasks
def test_a_row_does_not_depend_on_others(task):
    model = fitted(task)
    with fastnp.use_backend("numba"):
        together = output(model, X)
        assert np.array_equal(together, np.concatenate([output(model, X[i : i + 1]) for i in range(60)]))


@tasks
def test_threads(task):
    """Many predictions at once, of one model, and trainings of others."""
    made, y = TASKS[task]
    model, found, start = fitted(task), [], threading.Barrier(4)
    expected = output(model, X)

    def work(i):
        start.wait()
        for _ in range(30):
            found.append(np.array_equal(output(model, X), expected))
        found.append(np.array_equal(parameters(made(**SMALL).fit(X, y)), parameters(model)))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * 31 and all(found)


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"batch_size": 7}])
@tasks
def test_backends_agree(task, settings):
    models = []
    for backend in "numba", "numpy":
        with fastnp.use_backend(backend):
            models.append(fitted(task, **settings))
            assert np.allclose(output(models[0], X), output(models[-1], X), rtol=1e-8)
    np.testing.assert_allclose(*map(parameters, models), rtol=1e-7, atol=1e-9)
    assert models[0].loss_ == pytest.approx(models[1].loss_, rel=1e-9)
