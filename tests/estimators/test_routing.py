"""Weights and validation data that go through pipelines and searches by scikit-learn's metadata routing."""

import numpy as np
import pytest
from estimating import BINARY, LABELS, WEIGHTS, WEIGHTS_VAL, X_VAL, X, Y, like, parameters

pytest.importorskip("sklearn")
import sklearn
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_weights_through_a_pipeline():
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    pipe = Pipeline([("scale", scaler), ("net", MLPRegressor(**SETTINGS).set_fit_request(sample_weight=True))])
    found = pipe.fit(X, Y, sample_weight=WEIGHTS)[-1]
    plain = MLPRegressor(**SETTINGS).fit(StandardScaler().fit_transform(X), Y, WEIGHTS)
    assert np.array_equal(parameters(found), parameters(plain))
    assert not np.array_equal(parameters(found), parameters(pipe.fit(X, Y)[-1]))


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("made", [MLPRegressor, MLPClassifier])
def test_weights_through_a_search(made):
    y = Y if made is MLPRegressor else BINARY
    net = made(**SETTINGS).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(net, {"alpha": [0.1, 1.0]}, cv=2).fit(X, y, sample_weight=WEIGHTS)
    plain = made(**SETTINGS, alpha=search.best_params_["alpha"]).fit(X, y, WEIGHTS)
    assert np.array_equal(parameters(search.best_estimator_), parameters(plain))
    unweighted = GridSearchCV(made(**SETTINGS), {"alpha": [0.1, 1.0]}, cv=2).fit(X, y)
    assert not np.array_equal(search.cv_results_["mean_test_score"], unweighted.cv_results_["mean_test_score"])


@pytest.mark.usefixtures("routing")
def test_validation_data_through_a_pipeline():
    """Which transforms X_val as it does X."""
    net = MLPClassifier(**SETTINGS, early_stopping=True)
    net.set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
    pipe = Pipeline([("scale", StandardScaler()), ("net", net)], transform_input=["X_val"])
    y_val = like(LABELS)
    pipe.fit(3 * X + 1, LABELS, X_val=3 * X_VAL + 1, y_val=y_val, sample_weight_val=WEIGHTS_VAL)
    scaler = StandardScaler().fit(3 * X + 1)
    plain = MLPClassifier(**SETTINGS, early_stopping=True).fit(
        scaler.transform(3 * X + 1), LABELS, X_val=scaler.transform(3 * X_VAL + 1), y_val=y_val,
        sample_weight_val=WEIGHTS_VAL,
    )  # fmt: skip
    assert pipe[-1].validation_scores_ == plain.validation_scores_
    assert np.array_equal(parameters(pipe[-1]), parameters(plain))


@pytest.mark.usefixtures("routing")
def test_what_is_not_asked_for_is_not_passed():
    pipe = Pipeline([("net", MLPRegressor(**SETTINGS))])
    with pytest.raises(ValueError, match="sample_weight"):
        pipe.fit(X, Y, sample_weight=WEIGHTS)


@pytest.mark.parametrize("name", ["fit", "partial_fit", "score"])
@pytest.mark.parametrize("made", [MLPRegressor, MLPClassifier])
@pytest.mark.usefixtures("routing")
def test_weights_may_be_asked_for(made, name):
    net = made()
    assert getattr(net, f"set_{name}_request")(sample_weight="w") is net
    assert getattr(net.get_metadata_routing(), name).requests["sample_weight"] == "w"


@pytest.mark.usefixtures("routing")
def test_what_fit_can_be_given():
    for made in MLPRegressor, MLPClassifier:
        requests = made().get_metadata_routing().fit.requests
        assert requests == dict.fromkeys(["sample_weight", "X_val", "y_val", "sample_weight_val"])


def test_keywords_through_a_pipeline_without_routing():
    pipe = Pipeline([("net", MLPRegressor(**SETTINGS))])
    found = pipe.fit(X, Y, net__sample_weight=WEIGHTS, net__X_val=X_VAL, net__y_val=like(Y))[-1]
    plain = MLPRegressor(**SETTINGS).fit(X, Y, WEIGHTS, X_val=X_VAL, y_val=like(Y))
    assert found.validation_loss_curve_ == plain.validation_loss_curve_


def test_new_parameters_in_searches():
    grid = {
        "dropout": [0.0, 0.2], "activation": ["silu", ("gelu",)], "scale_y": [True], "loss": ["huber", "quantile"],
    }  # fmt: skip
    search = GridSearchCV(MLPRegressor(**SETTINGS), grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 8 and np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_inside_of_others():
    scores = cross_validate(MLPClassifier(**SETTINGS), X, LABELS, cv=3, scoring=["accuracy", "neg_log_loss"])
    assert np.isfinite(scores["test_neg_log_loss"]).all()
    several = MultiOutputRegressor(MLPRegressor(**SETTINGS)).fit(X, np.stack([Y, -Y], axis=1))
    assert np.array_equal(several.predict(X)[:, 0], MLPRegressor(**SETTINGS).fit(X, Y).predict(X))
