"""coefs_ and intercepts_ are the network itself: what is written there is what predicts and trains."""

import numpy as np
import pytest
from estimating import LABELS, Network, X, Y, parameters

pytest.importorskip("sklearn")

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6, 5), "max_iter": 4, "random_state": 0}


@pytest.fixture
def model():
    return MLPRegressor(**SETTINGS).fit(X, Y)


def assert_predicts_its_coefs(model):
    np.testing.assert_allclose(model.predict(X), Network(model)(X)[:, 0], rtol=1e-11, atol=1e-13)


def test_they_are_lists_of_arrays(model):
    assert type(model.coefs_) is type(model.intercepts_) is list
    assert [w.shape for w in model.coefs_] == [(4, 6), (6, 5), (5, 1)]
    assert [b.shape for b in model.intercepts_] == [(6,), (5,), (1,)]
    assert model.coefs_[0] is model.coefs_[0] and model.coefs_ is model.coefs_


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_a_number_is_changed_in_place(name, layer, model):
    before = model.predict(X)
    getattr(model, name)[layer].flat[0] += 2.5
    assert not np.array_equal(model.predict(X), before)
    assert_predicts_its_coefs(model)
    getattr(model, name)[layer] *= 0.5
    assert_predicts_its_coefs(model)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_an_entry_is_assigned(name, layer, model):
    shape = getattr(model, name)[layer].shape
    given = np.random.default_rng(1).standard_normal(shape)
    getattr(model, name)[layer] = given
    kept = given.copy()
    assert_predicts_its_coefs(model)
    assert np.array_equal(getattr(model, name)[layer], kept)
    model.partial_fit(X, Y)
    assert_predicts_its_coefs(model)
    assert not np.array_equal(getattr(model, name)[layer], kept), "the training went past it"


def test_whole_lists_are_assigned(model):
    other = MLPRegressor(**SETTINGS | {"random_state": 7}).fit(X, Y)
    model.coefs_ = [w.copy() for w in other.coefs_]
    model.intercepts_ = tuple(b.copy() for b in other.intercepts_)
    assert np.array_equal(model.predict(X), other.predict(X))
    assert np.array_equal(model.input_gradient(X), other.input_gradient(X))
    assert model.predict(X[:1], check_input=False) == other.predict(X[:1])
    model.coefs_[0][...] = 0
    assert_predicts_its_coefs(model)
    assert other.coefs_[0].any()


def test_stored_weights_are_restored(model):
    """As people do it to keep the best: copies, training, and the copies back."""
    coefs, intercepts, before = (
        [w.copy() for w in model.coefs_],
        [b.copy() for b in model.intercepts_],
        model.predict(X),
    )
    for _ in range(3):
        model.partial_fit(X, Y)
    assert not np.array_equal(model.predict(X), before)
    model.coefs_, model.intercepts_ = coefs, intercepts
    assert np.array_equal(model.predict(X), before)


@pytest.mark.parametrize("made", [MLPRegressor, MLPClassifier])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_warm_start_starts_there(solver, made):
    y = Y if made is MLPRegressor else LABELS
    plain = {"solver": solver, "momentum": 0.0, "activation": "tanh", "warm_start": True}
    one, other = (made(**SETTINGS | plain | {"random_state": seed}).fit(X, y) for seed in (0, 1))
    assert not np.allclose(parameters(one), parameters(other))
    other.coefs_, other.intercepts_ = [w.copy() for w in one.coefs_], [b.copy() for b in one.intercepts_]
    for model in one, other:
        model.set_params(shuffle=False).fit(X, y)
    np.testing.assert_allclose(parameters(one), parameters(other), rtol=1e-9, atol=1e-12)


def test_what_is_given_is_converted(model):
    model.coefs_[0] = np.asfortranarray(np.ones((4, 6), np.float32))
    model.intercepts_[1] = [1, 2, 3, 4, 5]
    model.coefs_[2] = np.arange(10.0).reshape(5, 2)[:, ::2]
    assert_predicts_its_coefs(model)
    narrow = MLPRegressor(**SETTINGS).fit(X.astype("f"), Y)
    narrow.coefs_ = [w.astype("d") for w in narrow.coefs_]
    assert narrow.predict(X.astype("f")).dtype == np.float32


WRONG = {
    "a shape": ("coefs_", 0, np.ones((6, 4)), r"\(4, 6\)"),
    "a vector": ("coefs_", 2, np.ones(5), r"\(5, 1\)"),
    "a row": ("intercepts_", 0, np.ones((1, 6)), r"\(6,\)"),
    "a size": ("intercepts_", 1, np.ones(6), r"\(5,\)"),
}


@pytest.mark.parametrize("use", ["predict", "partial_fit", "input_gradient"])
@pytest.mark.parametrize("whole", [False, True], ids=["entry", "list"])
@pytest.mark.parametrize("what", WRONG)
def test_wrong_shapes_are_refused(what, whole, use, model):
    """At once or when the estimator is used next, with the shape that it should have; and can be set right."""
    name, layer, wrong, said = WRONG[what]
    right = getattr(model, name)[layer].copy()
    with pytest.raises(ValueError, match=rf"(?s){name}.*{said}|{said}.*{name}"):
        if whole:
            setattr(model, name, [wrong if i == layer else a for i, a in enumerate(getattr(model, name))])
        else:
            getattr(model, name)[layer] = wrong
        getattr(model, use)(X, *[Y] * (use == "partial_fit"))
    if whole:
        setattr(model, name, [right if i == layer else a for i, a in enumerate(getattr(model, name))])
    else:
        getattr(model, name)[layer] = right
    assert_predicts_its_coefs(model)


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_wrong_numbers_of_layers_are_refused(name, model):
    for wrong in getattr(model, name)[:2], [*getattr(model, name), np.ones(1)], []:
        with pytest.raises(ValueError, match=rf"{name} needs .* got "):
            setattr(model, name, wrong)
            model.predict(X)


def test_other_widths_are_another_fit(model):
    """warm_start with other widths is refused or starts anew, but never trains something in between."""
    model.set_params(warm_start=True, hidden_layer_sizes=(7,))
    try:
        model.fit(X, Y)
    except ValueError as error:
        assert "warm_start" in str(error) or "hidden_layer_sizes" in str(error)
    else:
        assert [w.shape for w in model.coefs_] == [(4, 7), (7, 1)]
        assert_predicts_its_coefs(model)


def test_assigned_weights_that_are_not_finite(model):
    model.coefs_[2][...] = np.nan
    assert np.isnan(model.predict(X)).all()


def test_early_stopping_gives_live_coefs_back():
    model = MLPRegressor(**SETTINGS | {"max_iter": 30}, early_stopping=True).fit(X, Y)
    assert_predicts_its_coefs(model)
    model.coefs_[0][...] = 0
    assert_predicts_its_coefs(model)
