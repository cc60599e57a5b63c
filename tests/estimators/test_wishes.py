"""What users of scikit-learn's networks ask for: weights of classes, dropout, dtypes, and what is said meanwhile."""

import io
import sys

import numpy as np
import pytest
from estimating import BINARY, COUNTS, LABELS, MANY, WEIGHTS, X_VAL, Network, X, Y, like, parameters
from products import matrix_product

pytest.importorskip("sklearn")
from sklearn import neural_network as theirs
from sklearn.utils.class_weight import compute_sample_weight

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 0}


def classifier(**settings):
    return MLPClassifier(**SMALL | settings)


def regressor(**settings):
    return MLPRegressor(**SMALL | settings)


# --- class_weight ---

BY_LABEL = {"a": 3.0, "b": 0.5, "c": 1.25}
OF_LABELS = np.array([BY_LABEL[label] for label in LABELS])


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_weights_of_classes_are_weights_of_their_rows(solver):
    weighted = classifier(solver=solver, class_weight=BY_LABEL).fit(X, LABELS)
    same = classifier(solver=solver).fit(X, LABELS, OF_LABELS)
    assert np.array_equal(parameters(weighted), parameters(same)) and weighted.loss_ == same.loss_
    assert not np.array_equal(parameters(weighted), parameters(classifier(solver=solver).fit(X, LABELS)))


def test_weights_of_classes_multiply_those_of_rows():
    weighted = classifier(class_weight=BY_LABEL).fit(X, LABELS, WEIGHTS)
    assert np.array_equal(parameters(weighted), parameters(classifier().fit(X, LABELS, OF_LABELS * WEIGHTS)))


def test_a_class_without_a_weight_has_weight_1():
    weighted = classifier(class_weight={"b": 4.0}).fit(X, LABELS)
    rows = np.where(LABELS == "b", 4.0, 1.0)
    assert np.array_equal(parameters(weighted), parameters(classifier().fit(X, LABELS, rows)))


@pytest.mark.parametrize("y", [LABELS, BINARY, MANY], ids=["three", "binary", "multilabel"])
def test_balanced(y):
    weighted = classifier(class_weight="balanced").fit(X, y)
    same = classifier().fit(X, y, compute_sample_weight("balanced", y))
    assert np.array_equal(parameters(weighted), parameters(same))


def test_each_label_of_many_has_its_weights():
    each = [{0: 1.0, 1: 2.0}, {0: 0.5, 1: 3.0}, {0: 1.0, 1: 1.0}]
    weighted = classifier(class_weight=each).fit(X, MANY)
    assert np.array_equal(
        parameters(weighted), parameters(classifier().fit(X, MANY, compute_sample_weight(each, MANY)))
    )


def test_weights_of_classes_where_it_stops_early():
    settings = {"early_stopping": True, "validation_fraction": 0.3}
    weighted = classifier(class_weight=BY_LABEL, **settings).fit(X, LABELS)
    same = classifier(**settings).fit(X, LABELS, OF_LABELS)
    assert weighted.validation_scores_ == same.validation_scores_
    assert np.array_equal(parameters(weighted), parameters(same))


def test_weights_of_classes_batch_by_batch():
    weighted, same = classifier(class_weight=BY_LABEL), classifier()
    for rows in slice(0, 40), slice(40, 60):
        weighted.partial_fit(X[rows], LABELS[rows], classes=list("abc"))
        same.partial_fit(X[rows], LABELS[rows], OF_LABELS[rows], classes=list("abc"))
    assert np.array_equal(parameters(weighted), parameters(same))


# --- dropout ---


def test_without_dropout_nothing_is_drawn_for_it():
    """The generator stands where scikit-learn's stands."""
    mine, other = np.random.RandomState(3), np.random.RandomState(3)
    classifier(random_state=mine, dropout=0.0).fit(X, LABELS)
    theirs.MLPClassifier(**SMALL | {"random_state": other}).fit(X, LABELS)
    assert mine.randint(2**30) == other.randint(2**30)


@pytest.mark.parametrize("model", [regressor, classifier])
def test_dropout_changes_training_alone(model):
    y = Y if model is regressor else LABELS
    dropping, again, plain = (model(dropout=p).fit(X, y) for p in (0.4, 0.4, 0.0))
    assert np.array_equal(parameters(dropping), parameters(again)), "random_state does not fix it"
    assert not np.allclose(parameters(dropping), parameters(plain))
    assert not np.array_equal(parameters(dropping), parameters(model(dropout=0.4, random_state=1).fit(X, y)))
    output = Network(dropping)(X)
    found = dropping.predict(X)[:, np.newaxis] if model is regressor else dropping.predict_proba(X)
    np.testing.assert_allclose(found, output, rtol=1e-12, atol=1e-14)


def test_each_epoch_drops_others():
    """With a rate that moves nothing, the loss differs from epoch to epoch by what is dropped alone."""
    for dropout, distinct in (0.3, 8), (0.0, 1):
        model = regressor(dropout=dropout, solver="sgd", learning_rate_init=1e-30, shuffle=False).fit(X, Y)
        assert len(set(model.loss_curve_)) == distinct


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
def test_every_hidden_layer_is_dropped_and_scaled(p):
    """A linear network f, trained towards its own prediction at a rate of 0, almost: its loss is the noise's variance.

    Of what E f² is with each hidden number multiplied by m, E m = 1 and E m² = 1/(1 − p).
    """
    x = np.random.default_rng(6).standard_normal((4000, 3))
    model = regressor(
        hidden_layer_sizes=(30, 20), activation="identity", solver="sgd", learning_rate_init=1e-30, alpha=0.0,
        batch_size=4000, dropout=p,
    ).partial_fit(x, x[:, 0])  # fmt: skip
    f = model.predict(x)
    loss = model.partial_fit(x, f).loss_
    (w, v, u), (b, c, _) = model.coefs_, model.intercepts_
    h, u = matrix_product(x, w) + b, u[:, 0]
    mean, more = matrix_product(h, v) + c, p / (1 - p)
    together = np.einsum("nk,nl->nkl", mean, mean) + more * np.einsum("nj,jk,jl->nkl", h**2, v, v)
    both = np.outer(u, u) * (1 + more * np.eye(20))
    variance = np.einsum("nkl,kl->n", together, both) - np.einsum("nk,k->n", mean, u) ** 2
    assert loss == pytest.approx(variance.mean() / 2, rel=0.12)  # about five times the error of a mean of 4000


def test_what_is_validated_is_not_dropped():
    y_val = like(Y)
    model = regressor(dropout=0.5, max_iter=1, early_stopping=True).fit(X, Y, X_val=X_VAL, y_val=y_val)
    assert model.validation_scores_ == [pytest.approx(model.score(X_VAL, y_val), rel=1e-12)]


# --- dtype ---


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ("float64", None, "float64"),
        ("float32", None, "float32"),
        ("int64", None, "float64"),
        ("float64", "float32", "float32"),
        ("float32", "float64", "float64"),
    ],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_dtypes(given, dtype, expected, solver):
    x = (2 * X).astype(given)
    if solver == "lbfgs" and dtype is None:
        expected = "float64"  # as theirs ends
    model = regressor(dtype=dtype, solver=solver).fit(x, Y)
    assert {array.dtype for array in [*model.coefs_, *model.intercepts_]} == {np.dtype(expected)}
    assert model.predict(x).dtype == model.input_gradient(x).dtype == np.dtype(expected)
    sure = classifier(dtype=dtype, solver=solver).fit(x, LABELS)
    assert sure.predict_proba(x).dtype == sure.predict_log_proba(x).dtype == np.dtype(expected)
    assert sure.predict(x).dtype == LABELS.dtype


@pytest.mark.parametrize(("first", "then"), [("float64", "float32"), ("float32", "float64")])
def test_a_network_keeps_its_dtype(first, then):
    """Whatever later rows have."""
    model = regressor(warm_start=True).fit(X.astype(first), Y)
    for train in model.partial_fit, model.fit:
        assert train(X.astype(then), Y).coefs_[0].dtype == np.dtype(first)
        assert model.predict(X.astype(then)).dtype == np.dtype(first)


# --- verbose ---


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 3},
        {"max_iter": 100, "tol": 0.5, "n_iter_no_change": 2},
        {"max_iter": 100, "tol": 0.5, "n_iter_no_change": 2, "early_stopping": True},
        {"max_iter": 60, "tol": 0.5, "n_iter_no_change": 2, "solver": "sgd", "learning_rate": "adaptive"},
    ],
    ids=["epochs", "stops", "early", "adaptive"],
)
@pytest.mark.parametrize("name", ["MLPRegressor", "MLPClassifier"])
def test_lines_are_those_of_scikit_learn(name, settings, capsys):
    y, said = COUNTS if name == "MLPRegressor" else BINARY, []
    for made in {"MLPRegressor": MLPRegressor, "MLPClassifier": MLPClassifier}[name], getattr(theirs, name):
        made(**SMALL | settings, verbose=True).fit(X, y)
        said.append(capsys.readouterr())
    assert said[0] == said[1] and said[0].out.startswith("Iteration 1, loss = ") and not said[0].err


@pytest.mark.parametrize("verbose", [False, 0])
def test_silence(verbose, capsys):
    regressor(verbose=verbose).fit(X, Y)
    regressor(verbose=verbose).partial_fit(X, Y)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stderr", [Terminal, io.StringIO])
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}], ids=str)
def test_a_bar(settings, stderr, capsys, monkeypatch):
    """At a terminal, as that of `fastnp.fit`."""
    monkeypatch.setattr(sys, "stderr", stderr())
    regressor(verbose="bar", **settings).fit(X, Y)
    said = sys.stderr.getvalue()
    assert ("8/8" in said and "loss" in said) if stderr is Terminal else said == ""
    assert capsys.readouterr().out == ""
