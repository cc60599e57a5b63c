"""Validation data of the user's own, and what early stopping watches."""

import numpy as np
import pytest
from estimating import (
    BINARY,
    COUNTS,
    LABELS,
    MANY,
    WEIGHTS,
    WEIGHTS_VAL,
    X_VAL,
    Y2,
    Network,
    X,
    Y,
    like,
    parameters,
)  # fmt: skip

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score
from sklearn.preprocessing import LabelBinarizer

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0, "batch_size": 16, "learning_rate_init": 0.02}
CASES = {
    "one output": (MLPRegressor, Y, "squared_error", {}),
    "two outputs": (MLPRegressor, Y2, "squared_error", {}),
    "counts": (MLPRegressor, COUNTS, "poisson", {"loss": "poisson"}),
    "absolute": (MLPRegressor, Y, "absolute_error", {"loss": "absolute_error"}),
    "quantile": (MLPRegressor, Y, ("quantile", 0.3), {"loss": "quantile", "quantile": 0.3}),
    "binary": (MLPClassifier, BINARY, "binary_log_loss", {}),
    "three classes": (MLPClassifier, LABELS, "log_loss", {}),
    "multilabel": (MLPClassifier, MANY, "binary_log_loss", {}),
}
cases = pytest.mark.parametrize("case", CASES)
weights = pytest.mark.parametrize("weight", [None, WEIGHTS_VAL], ids=["plain", "weighted"])


def prepared(case, **settings):
    """An estimator, its targets, those for validation, and a function of it and weights: the loss by hand."""
    made, y, loss, chosen = CASES[case]
    y_val = like(y)
    encoded = LabelBinarizer().fit(y).transform(y_val).astype(float) if made is MLPClassifier else y_val

    def by_hand(model, weight=None):
        network = Network(model, loss) if isinstance(loss, str) else Network(model, *loss)
        return network.data_loss(X_VAL, encoded, weight)

    return made(**SMALL | chosen | settings), y, y_val, by_hand


# --- recorded ---


@weights
@cases
def test_the_loss_after_each_epoch(case, weight):
    """As an estimator has it that was trained for so many epochs; the penalty is none of it."""
    model, y, y_val, by_hand = prepared(case, alpha=0.5)
    model.fit(X, y, X_val=X_VAL, y_val=y_val, sample_weight_val=weight)
    expected = [by_hand(prepared(case, alpha=0.5, max_iter=n + 1)[0].fit(X, y), weight) for n in range(5)]
    np.testing.assert_allclose(model.validation_loss_curve_, expected, rtol=1e-10)
    plain = prepared(case, alpha=0.5)[0].fit(X, y)
    assert np.array_equal(parameters(model), parameters(plain)) and model.loss_curve_ == plain.loss_curve_
    assert plain.validation_loss_curve_ is None and model.validation_scores_ is None


def test_the_loss_of_dropout_and_weighted_rows():
    for settings, weight in ({"dropout": 0.4}, None), ({}, WEIGHTS), ({"class_weight": "balanced"}, None):
        model, y, y_val, by_hand = prepared("three classes", **settings)
        model.fit(X, y, weight, X_val=X_VAL, y_val=y_val)
        assert model.validation_loss_curve_[-1] == pytest.approx(by_hand(model), rel=1e-10)


def test_another_fit_forgets_it():
    model, y, y_val, _ = prepared("one output", warm_start=True)
    assert len(model.fit(X, y, X_val=X_VAL, y_val=y_val).validation_loss_curve_) == 5
    assert model.set_params(warm_start=False).fit(X, y).validation_loss_curve_ is None


# --- early stopping ---


@weights
@cases
def test_early_stopping_watches_it(case, weight):
    model, y, y_val, by_hand = prepared(case, max_iter=40, early_stopping=True, n_iter_no_change=4)
    model.fit(X, y, X_val=X_VAL, y_val=y_val, sample_weight_val=weight)
    assert model.t_ == 60 * model.n_iter_, "rows for training were put aside"
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    best = int(np.argmax(model.validation_scores_))
    assert model.best_validation_score_ == model.validation_scores_[best]
    assert model.score(X_VAL, y_val, weight) == pytest.approx(model.best_validation_score_, rel=1e-10)
    assert model.validation_loss_curve_[best] == pytest.approx(by_hand(model, weight), rel=1e-10)


@weights
@cases
def test_early_stopping_on_the_loss(case, weight):
    settings = {"early_stopping": True, "scoring": "loss", "max_iter": 40, "n_iter_no_change": 4, "alpha": 0.5}
    model, y, y_val, by_hand = prepared(case, **settings)
    model.fit(X, y, X_val=X_VAL, y_val=y_val, sample_weight_val=weight)
    assert model.validation_scores_ == [-loss for loss in model.validation_loss_curve_]
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert -by_hand(model, weight) == pytest.approx(model.best_validation_score_, rel=1e-10)


def test_a_split_of_its_own_has_both_curves():
    for case, score in ("one output", r2_score), ("three classes", accuracy_score):
        model, y, _, _ = prepared(case, early_stopping=True, max_iter=4)
        model.fit(X, y)
        watched = prepared(case, early_stopping=True, max_iter=4, scoring="loss")[0].fit(X, y)
        assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
        assert model.validation_loss_curve_ == watched.validation_loss_curve_
        assert watched.validation_scores_ == [-loss for loss in watched.validation_loss_curve_]
        assert model.validation_scores_ != watched.validation_scores_ and score(y, model.predict(X)) < 1
        assert model.t_ == 54 * model.n_iter_


def test_it_stops():
    """The targets for validation are noise: nothing is gained for long."""
    model, y, _, _ = prepared("one output", max_iter=400, early_stopping=True, scoring="loss", n_iter_no_change=3)
    model.fit(X, y, X_val=X_VAL, y_val=np.random.default_rng(0).standard_normal(25))
    assert model.n_iter_ < 400
    best = np.fmax.accumulate(model.validation_scores_)
    worse = [score < before + 1e-4 for score, before in zip(model.validation_scores_[1:], best, strict=False)]
    assert worse[-4:] == [True] * 4, "stopped while it got better"


# --- scoring ---


@pytest.mark.parametrize(
    ("case", "scoring", "metric"),
    [
        ("one output", "neg_mean_absolute_error", lambda y, p: -mean_absolute_error(y, p)),
        ("two outputs", "r2", r2_score),
        ("binary", "f1", f1_score),
        ("three classes", "accuracy", accuracy_score),
        ("multilabel", "f1_macro", lambda y, p: f1_score(y, p, average="macro")),
    ],
)
def test_scorers_by_name(case, scoring, metric):
    """The last score of so many epochs; the best weights are kept."""
    model, y, y_val, _ = prepared(case, early_stopping=True, scoring=scoring, max_iter=12)
    model.fit(X, y, X_val=X_VAL, y_val=y_val)
    assert metric(y_val, model.predict(X_VAL)) == pytest.approx(model.best_validation_score_, rel=1e-10)
    assert max(model.validation_scores_) == model.best_validation_score_
    first = prepared(case, max_iter=1)[0].fit(X, y)
    assert metric(y_val, first.predict(X_VAL)) == pytest.approx(model.validation_scores_[0], rel=1e-10)


def test_log_loss_by_name_is_the_loss():
    by_name = prepared("three classes", early_stopping=True, scoring="neg_log_loss")
    by_loss = prepared("three classes", early_stopping=True, scoring="loss")
    scores = [m.fit(X, y, X_val=X_VAL, y_val=y_val).validation_scores_ for m, y, y_val, _ in (by_name, by_loss)]
    np.testing.assert_allclose(*scores, rtol=1e-10)


@pytest.mark.parametrize("own", [True, False], ids=["own data", "split"])
@pytest.mark.parametrize("case", ["one output", "three classes"])
def test_a_function_of_the_users(case, own):
    seen = []

    def scorer(estimator, x, y):
        seen.append((estimator, np.array(x), np.array(y), estimator.predict(x)))
        return len(seen) % 3

    model, y, y_val, _ = prepared(case, early_stopping=True, scoring=scorer)
    model.fit(X, y, **{"X_val": X_VAL, "y_val": y_val} if own else {})
    assert model.validation_scores_ == [1, 2, 0, 1, 2] and model.best_validation_score_ == 2
    for estimator, x, target, prediction in seen:
        assert type(estimator) is type(model) and len(x) == len(target) == len(prediction)
        assert set(target) <= set(y), "targets are those of the user"
        assert not own or (np.array_equal(x, X_VAL) and np.array_equal(target, y_val))
    assert np.array_equal(model.predict(seen[1][1]), seen[1][3]), "not the weights of the first best epoch"


def test_a_function_sees_scaled_targets_as_the_user_has_them():
    seen = []
    model, _, _, _ = prepared("one output", early_stopping=True, scale_y=True,
                              scoring=lambda m, x, y: seen.append((y, m.predict(x))) or 0)  # fmt: skip
    y = 1000 * Y + 1e6
    model.fit(X, y, X_val=X_VAL, y_val=like(y))
    assert all(np.array_equal(target, like(y)) and abs(p - 1e6).max() < 1e5 for target, p in seen)


# --- mistakes, and other containers ---

BAD = {
    "no targets": ({"X_val": X_VAL}, "y_val"),
    "no rows": ({"y_val": like(Y)}, "X_val"),
    "weights alone": ({"sample_weight_val": WEIGHTS_VAL}, "X_val"),
    "other features": ({"X_val": X_VAL[:, :3], "y_val": like(Y)}, "3 features"),
    "other rows": ({"X_val": X_VAL[:7], "y_val": like(Y)}, "7"),
    "other outputs": ({"X_val": X_VAL, "y_val": np.ones((25, 2))}, "output|y_val"),
    "other weights": ({"X_val": X_VAL, "y_val": like(Y), "sample_weight_val": WEIGHTS_VAL[:9]}, "sample_weight"),
    "NaN": ({"X_val": X_VAL * np.nan, "y_val": like(Y)}, "NaN"),
    "no row": ({"X_val": X_VAL[:0], "y_val": like(Y)[:0]}, "0 sample"),
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_mistakes(what, early_stopping):
    given, said = BAD[what]
    model = prepared("one output", early_stopping=early_stopping)[0]
    with pytest.raises(ValueError, match=said):
        model.fit(X, Y, **given)


def test_a_class_that_is_not_in_the_training_data():
    model, y, y_val, _ = prepared("three classes")
    with pytest.raises(ValueError, match="zebra"):
        model.fit(X, y, X_val=X_VAL, y_val=np.where(y_val == "b", "zebra", y_val))


def test_a_class_that_is_not_in_the_validation_data():
    model, y, _, _ = prepared("three classes")
    rows = np.flatnonzero(y != "b")[:25]
    model.fit(X, y, X_val=X[rows], y_val=y[rows])
    encoded = (y[rows, np.newaxis] == model.classes_).astype(float)
    assert model.validation_loss_curve_[-1] == pytest.approx(Network(model, "log_loss").data_loss(X[rows], encoded))


def test_sparse_and_float32():
    model, y, y_val, _ = prepared("one output", early_stopping=True)
    curves = []
    for x, x_val in (X, X_VAL), (sparse.csr_array(X), sparse.csc_array(X_VAL)), (X, X_VAL.tolist()):
        curves.append(model.fit(x, y, X_val=x_val, y_val=y_val).validation_loss_curve_)
    assert curves[0] == curves[2] == pytest.approx(curves[1], rel=1e-12)
    model.fit(X.astype("f"), y, X_val=X_VAL, y_val=y_val)
    assert model.coefs_[0].dtype == np.float32 and model.validation_loss_curve_ == pytest.approx(curves[0], rel=1e-3)


def test_rows_in_float64_do_not_make_a_float32_network_change_its_dtype():
    model, y, y_val, _ = prepared("three classes", early_stopping=True)
    model.fit(X.astype("f"), y, X_val=X_VAL, y_val=y_val)
    assert model.predict_proba(X_VAL.astype("f")).dtype == np.float32
