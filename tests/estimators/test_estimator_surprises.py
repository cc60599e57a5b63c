"""Where estimators once surprised: scores with weights, warm starts, and parameters that were refused too late."""

import warnings

import numpy as np
import pytest
from estimating import LABELS, WEIGHTS, WEIGHTS_VAL, X_VAL, X, Y, like, parameters

pytest.importorskip("sklearn")
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from fastnp.estimators import MLPClassifier, MLPRegressor, rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}


@pytest.mark.parametrize("how", ["rows", "classes", "own data"])
def test_a_scorer_of_three_arguments_where_rows_have_weights(how):
    """It is called with an estimator, X and y, as the documentation has it."""
    model = MLPClassifier(**SETTINGS, early_stopping=True, scoring=lambda estimator, x, y: len(x))
    if how == "classes":
        model.set_params(class_weight="balanced")
    own = {"X_val": X_VAL, "y_val": like(LABELS), "sample_weight_val": WEIGHTS_VAL} if how == "own data" else {}
    model.fit(X, LABELS, WEIGHTS if how == "rows" else None, **own)
    assert model.validation_scores_ == [25 if own else 6] * 5


def test_a_scorer_sees_how_far_the_training_is():
    seen = []
    MLPRegressor(**SETTINGS, early_stopping=True, scoring=lambda m, x, y: seen.append(m.n_iter_) or 0).fit(X, Y)
    assert seen == [1, 2, 3, 4, 5]


def test_a_warm_start_on_targets_of_another_spread():
    model = MLPRegressor(**SETTINGS | {"max_iter": 300}, learning_rate_init=0.02, scale_y=True, warm_start=True)
    for y in 100 * Y, 1e4 * Y:
        assert model.fit(X, y).score(X, y) > 0.9


def test_a_warm_start_that_begins_to_scale():
    model = MLPRegressor(**SETTINGS, warm_start=True).fit(X, Y)
    model.set_params(scale_y=True, max_iter=300, learning_rate_init=0.02)
    assert model.fit(X, 1e4 * Y).score(X, 1e4 * Y) > 0.9


def test_balancing_a_batch_would_be_another_balance():
    with pytest.raises(ValueError, match="balanced"):
        MLPClassifier(**SETTINGS, class_weight="balanced").partial_fit(X, LABELS, classes=list("abc"))


@pytest.mark.parametrize("weight", ["unbalanced", 3, {"a": -1}, {"a": float("nan")}], ids=str)
def test_weights_of_classes_are_refused_before_anything_is_kept(weight):
    model = MLPClassifier(class_weight=weight)
    with pytest.raises((ValueError, TypeError), match=r"(?i)weight"):
        model.fit(X, LABELS)
    assert not hasattr(model, "coefs_") and not hasattr(model, "n_features_in_")


def test_sizes_as_an_array_in_the_place_of_the_loss():
    with pytest.raises(ValueError, match="hidden_layer_sizes="):
        MLPRegressor(np.array([64, 64])).fit(X, Y)


def test_weights_that_are_all_zero():
    """The error is of the user's words; scikit-learn trains on NaN."""
    for scale_y in False, True:
        model = MLPRegressor(**SETTINGS, scale_y=scale_y)
        try:
            model.fit(X, Y, np.zeros(60))
        except ValueError as error:
            assert "weight" in str(error)
        else:
            assert np.isfinite(parameters(model)).all()


def test_weights_given_to_an_estimator_that_was_never_fitted():
    model = MLPRegressor(hidden_layer_sizes=())
    model.coefs_, model.intercepts_ = [np.ones((4, 1))], [np.zeros(1)]
    for use in model.predict, model.input_gradient:
        with pytest.raises(NotFittedError):
            use(X)


@pytest.mark.parametrize("later", [{"early_stopping": True}, {"solver": "adam"}, {"early_stopping": False}], ids=str)
@pytest.mark.parametrize("before", [{"solver": "lbfgs"}, {"early_stopping": True}, {}], ids=str)
def test_a_warm_start_in_another_way(before, later):
    model = MLPClassifier(**SETTINGS | before, warm_start=True).fit(X, LABELS)
    model.set_params(**later).fit(X, LABELS)
    assert (model.validation_scores_ is None) != model.early_stopping if model.solver == "adam" else True
    assert np.isfinite(parameters(model)).all()


@pytest.mark.parametrize("given", [X.tolist(), X.astype(int), X[::-1, ::-1]], ids=["lists", "integers", "views"])
def test_other_data_than_arrays_of_floats_unchecked(given):
    model = MLPClassifier(**SETTINGS).fit(X, LABELS)
    assert (model.predict(given, check_input=False) == model.predict(np.asarray(given))).all()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_that_are_made_dense_in_pieces(solver, monkeypatch):
    model, whole = (MLPClassifier(**SETTINGS, solver=solver) for _ in range(2))
    whole.fit(X, LABELS)
    monkeypatch.setattr(rows, "PIECE", 4 * 7)  # rows of four features
    model.fit(csr_array(X), LABELS)
    np.testing.assert_allclose(parameters(model), parameters(whole), rtol=1e-9)
    np.testing.assert_allclose(model.predict_proba(csr_array(X)), whole.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("settings", [{}, {"solver": "lbfgs", "max_iter": 2}, {"batch_size": 100}], ids=str)
def test_warnings_point_at_the_line_that_fits(settings):
    model = MLPClassifier(**SETTINGS | settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, LABELS)
    assert caught
    assert {warning.filename for warning in caught} == {__file__}
