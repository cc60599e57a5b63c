"""Estimators that go on with other data, other settings and other weights than before, beside scikit-learn's."""

import signal
import sys
import threading

import numpy as np
import pytest
from estimating import BINARY, COUNTS, LABELS, MANY, X, Y

pytest.importorskip("sklearn")
from sklearn import neural_network as theirs
from sklearn.exceptions import DataConversionWarning

from fastnp import estimators as ours
from fastnp.estimators import mlp, network
from fastnp.training.interrupts import held_back

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (5, 5, 5), "max_iter": 3, "random_state": 0}


def pair(name, **settings):
    return [getattr(module, name)(**SETTINGS | settings) for module in (theirs, ours)]


def assert_same(pair, at_most=1e-9):
    for a, b in zip(*([*model.coefs_, *model.intercepts_] for model in pair), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=at_most * max(1e-300, np.abs(a).max()))


def test_weights_in_another_order():
    models = pair("MLPRegressor")
    for model in models:
        model.fit(X, Y)
        model.coefs_[1], model.coefs_[2] = model.coefs_[2], model.coefs_[1]
        model.intercepts_ = [model.intercepts_[i] for i in (1, 2, 0, 3)]
    np.testing.assert_allclose(models[1].predict(X), models[0].predict(X), rtol=1e-9)
    assert_same(models)


@pytest.mark.parametrize("given", [None, 5, [np.ones((5, 4))] * 4, ["a", "b", "c", "d"]], ids=str)
def test_weights_that_do_not_fit_leave_those_there_are(given):
    model = ours.MLPRegressor(**SETTINGS).fit(X[:, :4], Y)
    before = [array.copy() for array in model.coefs_]
    model.coefs_, kept = list(before), model.intercepts_
    model.intercepts_ = given
    with pytest.raises((TypeError, ValueError), match="intercepts_"):
        model.predict(X[:, :4])
    model.intercepts_ = kept
    assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, before, strict=True))
    model.predict(X[:, :4])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_no_hidden_layers_start_as_the_activation_says(solver):
    models = pair("MLPRegressor", hidden_layer_sizes=(), activation="logistic", solver=solver, max_iter=1)
    for model in models:
        model.fit(X, Y)
    assert_same(models)


def test_early_stopping_on_one_class():
    models = pair("MLPClassifier", early_stopping=True, max_iter=15)
    for model in models:
        model.fit(X, np.ones(60))
    assert models[0].validation_scores_ == models[1].validation_scores_
    assert_same(models)


@pytest.mark.parametrize("later", [{"learning_rate_init": 0.001}, {"power_t": 0.1}, {"learning_rate": "constant"}])
def test_how_the_rate_changes_stays_from_one_part_to_the_next(later):
    models = pair("MLPRegressor", solver="sgd", learning_rate="invscaling", learning_rate_init=0.1)
    for model in models:
        model.partial_fit(X, Y).set_params(**later)
        for _ in range(3):
            model.partial_fit(X, Y)
    assert_same(models)


PARTS = {
    "classes": (LABELS, {"classes": ["a", "b", "c"]}),
    "two": (BINARY, {"classes": [0, 1]}),
    "many": (MANY, {"classes": [0, 1, 2]}),
    "fewer": (MANY[:, :2], {"classes": [0, 1]}),
}


@pytest.mark.parametrize("then", PARTS)
@pytest.mark.parametrize("before", PARTS)
@pytest.mark.parametrize("how", ["parts", "warm", "lbfgs"])
def test_targets_of_another_kind_are_taken_or_refused(how, before, then):
    """Nothing is trained on what was not meant, and no error is without words."""
    model = ours.MLPClassifier(**SETTINGS, warm_start=how != "parts", solver="lbfgs" if how == "lbfgs" else "adam")
    for i, (y, classes) in enumerate([PARTS[before], PARTS[then]]):
        try:
            if how == "parts":
                model.partial_fit(X, y, **({} if i else classes))
            else:
                model.fit(X, y)
        except ValueError as error:
            assert i == 1
            assert before != then
            assert len(str(error)) > 20
    assert model.predict(X).shape == np.shape(PARTS[before][0])


def test_counts_of_another_dtype():
    models = pair("MLPRegressor", loss="poisson")
    for model in models:
        model.fit(X, COUNTS.astype(np.float32))
    np.testing.assert_allclose(models[1].loss_curve_, models[0].loss_curve_, rtol=1e-12)


def test_own_validation_data_with_fewer_classes():
    model = ours.MLPClassifier(**SETTINGS, warm_start=True)
    model.fit(X, LABELS, X_val=X[LABELS != "a"], y_val=LABELS[LABELS != "a"])
    assert len(model.validation_loss_curve_) == 3
    with pytest.raises(ValueError, match="multilabel"):
        model.fit(X, LABELS, X_val=X, y_val=MANY)
    with pytest.raises(ValueError, match="2 labels"):
        ours.MLPClassifier(**SETTINGS).fit(X, MANY, X_val=X, y_val=MANY[:, :2])


def test_where_nothing_weighs_anything():
    one = np.r_[1.0, np.zeros(59)]
    with pytest.raises(ValueError, match="non-zero"):
        ours.MLPRegressor(**SETTINGS, early_stopping=True).fit(X, Y, one)
    with pytest.raises(ValueError, match="non-zero"):
        ours.MLPClassifier(**SETTINGS, class_weight=dict.fromkeys("abc", 0)).fit(X, LABELS)


def test_targets_whose_squares_are_too_large_or_too_small():
    for size in 1e200, 1e-200:
        model = ours.MLPRegressor(**SETTINGS | {"max_iter": 200}, scale_y=True, learning_rate_init=0.01)
        assert 0.5 < (model.fit(X, size * Y).predict(X) / size).std() / Y.std() < 2


def test_a_column_of_targets_is_told_of_where_the_fit_stands():
    with pytest.warns(DataConversionWarning, match="column-vector") as caught:
        ours.MLPRegressor(**SETTINGS).fit(X, Y[:, np.newaxis])
    assert {warning.filename for warning in caught} == {__file__}


def test_a_callback_that_changes_settings_changes_the_next_fit():
    model = ours.MLPRegressor(**SETTINGS, scoring=lambda m, x, y: owner.set_params(early_stopping=False) and 0.5)
    owner = model.set_params(early_stopping=True)
    model.fit(X, Y)
    assert model.validation_scores_ == [0.5] * 3


def test_threads_that_predict_while_another_fits():
    """Whoever predicts changes nothing of a network that is about to be."""
    model = ours.MLPRegressor(**SETTINGS).fit(X, Y)
    expected = [array.copy() for array in model.coefs_]
    ends, errors = threading.Event(), []

    def predict():
        while not ends.is_set():
            try:
                model.predict(X, check_input=False)
            except Exception as error:
                errors.append(error)
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=predict) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(150):
            model.fit(X, Y)
            assert all(np.array_equal(a, b) for a, b in zip(model.coefs_, expected, strict=True))
    finally:
        ends.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert not errors


@pytest.mark.parametrize("at", ["draw", "copies", "__init__"])
@pytest.mark.parametrize("sizes", [(5, 5, 5), (4,)], ids=str)
def test_a_fit_that_is_broken_off_before_it_trains(at, sizes, monkeypatch):
    """The estimator predicts, goes on and is pickled as before, or as if it were new."""
    model = ours.MLPRegressor(**SETTINGS, warm_start=False).fit(X, Y)
    method = getattr(network.Network, at)

    def broken(self, *arguments):
        method(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network.Network, at, broken)
        with pytest.raises(KeyboardInterrupt):
            model.set_params(hidden_layer_sizes=sizes).fit(X, Y)
    shown = [array.shape for array in model.coefs_]
    assert shown == [view.shape for view in model._network.coefs]
    assert np.isfinite(model.predict(X)).all()
    model.set_params(hidden_layer_sizes=[shape[1] for shape in shown[:-1]])
    assert np.isfinite(model.partial_fit(X, Y).predict(X)).all()


def test_a_first_fit_that_is_broken_off_leaves_nothing_half(monkeypatch):
    model = ours.MLPRegressor(**SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(mlp, "Network", lambda *arguments: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y)
    assert not hasattr(model, "coefs_") and not hasattr(model, "_network")
    assert np.isfinite(model.set_params(warm_start=True).fit(X, Y).predict(X)).all()


def test_a_second_ctrl_c_lets_the_first_handler_come_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), held_back():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
