"""`save` and `load` of estimators: they predict the same, and what a file cannot hold is refused by name."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved import change, header, put_something_else

import fastnp as nn

pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning, NotFittedError

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = np.where(X[:, 0] > 0.5, 2, X[:, 1] > 0)
TARGETS = np.stack([X[:, 0] * X[:, 1], X[:, 2]], axis=1)
SMALL = {"hidden_layer_sizes": (7, 5), "max_iter": 12, "random_state": 3}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "estimator.safetensors"


def classifier(y, **options):
    return MLPClassifier(**SMALL | options).fit(X, y)


def regressor(y=TARGETS, **options):
    return MLPRegressor(**SMALL | options).fit(X, y)


CASES = {
    "three classes": lambda: classifier(LABELS),
    "two classes in words": lambda: classifier(np.where(LABELS > 0, "yes", "no")),
    "classes of text objects": lambda: classifier(np.array(["a", "b", "c"], object)[LABELS]),
    "classes that are floats": lambda: classifier(LABELS + 1.0),
    "flags": lambda: classifier(LABELS > 0),
    "several labels": lambda: classifier(np.stack([LABELS > 0, LABELS > 1], axis=1).astype(int)),
    "weights of classes": lambda: classifier(LABELS, class_weight={0: 1.0, 1: 2.0, np.int64(2): 3}),
    "balanced": lambda: classifier(LABELS, class_weight="balanced", dropout=0.2, activation="gelu_tanh"),
    "early stopping": lambda: classifier(LABELS, early_stopping=True, scoring="loss", dtype=np.float32),
    "no hidden layer": lambda: classifier(LABELS, hidden_layer_sizes=()),
    "one number": lambda: regressor(TARGETS[:, 0], hidden_layer_sizes=6, activation="tanh"),
    "two numbers, scaled": lambda: regressor(scale_y=True, activation=("silu", "identity"), dropout=0.1),
    "counts": lambda: regressor(np.round(abs(TARGETS[:, 0]) * 5), loss="poisson"),
    "quantiles of float32": lambda: regressor(loss="quantile", quantile=0.8, dtype="float32", solver="sgd"),
    "lbfgs": lambda: regressor(TARGETS[:, 0], solver="lbfgs"),
}


def same(mine, theirs):
    return mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("case", CASES)
def test_it_predicts_the_same(file, case, backend):
    with nn.use_backend(backend):
        estimator = CASES[case]()
        nn.save(file, estimator)
        state = np.random.get_state()[1].copy()
        again = nn.load(file)
        assert type(again) is type(estimator) and np.array_equal(np.random.get_state()[1], state)
        for method in "predict", "predict_proba", "input_gradient":
            if hasattr(estimator, method):
                assert same(getattr(again, method)(X), getattr(estimator, method)(X))
        if hasattr(estimator, "classes_"):
            assert same(again.classes_, estimator.classes_)
        attributes = ["n_iter_", "loss_", "n_features_in_", "n_outputs_", "out_activation_", "n_layers_"]
        assert all(getattr(again, name) == getattr(estimator, name) for name in attributes)
        for name in "loss_curve_", "validation_scores_", "validation_loss_curve_", "best_loss_":
            assert getattr(again, name, None) == getattr(estimator, name, None)
        for mine, theirs in zip(
            again.coefs_ + again.intercepts_, estimator.coefs_ + estimator.intercepts_, strict=True
        ):
            assert same(mine, theirs)
        again.intercepts_[-1][:1] = 7  # which are live
        name = "predict_proba" if hasattr(estimator, "classes_") else "predict"
        assert not same(getattr(again, name)(X), getattr(estimator, name)(X))


@pytest.mark.parametrize("case", ["three classes", "two numbers, scaled", "several labels"])
def test_parameters_come_back_and_it_can_be_fitted_again(file, case):
    estimator = CASES[case]()
    nn.save(file, estimator)
    again = nn.load(file)
    assert repr(again) == repr(estimator) and again.get_params() == estimator.get_params()
    y = {"three classes": LABELS, "two numbers, scaled": TARGETS}.get(
        case, np.stack([LABELS > 0, LABELS > 1], 1).astype(int)
    )
    assert same(again.fit(X, y).predict(X), estimator.fit(X, y).predict(X))
    again.partial_fit(X, y)
    again.set_params(warm_start=True).fit(X, y)


def test_names_of_features(file):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcd"))
    estimator = MLPClassifier(**SMALL).fit(table, LABELS)
    nn.save(file, estimator)
    assert same(nn.load(file).predict(table), estimator.predict(table))
    assert list(nn.load(file).feature_names_in_) == list("abcd")


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_one_that_was_not_fitted(file, cls):
    nn.save(file, cls((3,) if cls is MLPClassifier else "huber", alpha=0.5))
    again = nn.load(file)
    assert again.alpha == 0.5
    with pytest.raises(NotFittedError):
        again.predict(X)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"random_state": np.random.RandomState(0)}, "random_state"), ({"scoring": lambda *_: 0.0}, "scoring")],
)
def test_parameters_that_a_file_cannot_hold_are_refused_by_name(file, options, name):
    with pytest.raises(TypeError, match=f"MLPClassifier.{name} is "):
        nn.save(file, MLPClassifier(**options))
    assert not file.exists()


def test_pytorch_could_read_it(file):
    nn.save(file, CASES["three classes"]())
    shapes = {name: tensor["shape"] for name, tensor in header(file)[0].items() if name.endswith(("weight", "bias"))}
    assert shapes == {
        "0.weight": [7, 4], "0.bias": [7], "2.weight": [5, 7], "2.bias": [5], "4.weight": [3, 5], "4.bias": [3],
    }  # fmt: skip


BAD = {
    "a class": (lambda e: e.update({"class": "SVC"}), "which this version of fastnp does not know"),
    "no class": (lambda e: e.clear(), "which this version of fastnp does not know"),
    "more": (lambda e: e.update(more=1), "has 'more'"),
    "a parameter": (lambda e: e["parameters"].update(gamma=1), "other parameters than MLPClassifier here: gamma"),
    "a parameter less": (lambda e: e["parameters"].pop("alpha"), "other parameters than MLPClassifier here: alpha"),
    "an attribute": (lambda e: e["fitted"].update(predict=1), "has 'predict'"),
    "no classes": (lambda e: e["fitted"].pop("classes_"), ""),
    "features": (lambda e: e["fitted"].update(n_features_in_=5), "5 features"),
    "widths": (lambda e: e["plan"].update(widths=[4, 7, 6, 3]), "not built as its plan says"),
    "activations": (lambda e: e["plan"].update(activations=["relu", "os"]), "plan of its network cannot be read"),
    "other activations": (lambda e: e["plan"].update(activations=["relu", "tanh"]), "not built as its plan says"),
    "dtype": (lambda e: e["plan"].update(dtype="float32"), "not built as its plan says"),
    "no plan": (lambda e: e.pop("plan"), ""),
    "a layer": (lambda e: e["model"]["layers"][1].update(layer="Tanh"), "not built as its plan says"),
    "no network": (lambda e: e.pop("model"), "tensor too many"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file(file, what):
    edit, words = BAD[what]
    nn.save(file, CASES["three classes"]())
    change(file, lambda notes: edit(notes["estimator"]) and None)
    with pytest.raises(nn.BadFileError) as raised:
        nn.load(file)
    assert str(file) in str(raised.value) and words in str(raised.value)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_part_of_the_notes_is_something_else(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed estimator"
    nn.save(path, CASES["several labels" if data.draw(st.booleans()) else "two numbers, scaled"]())
    change(path, lambda notes: put_something_else(notes, data))
    try:
        nn.load(path).predict(X)
    except nn.BadFileError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_a_class_of_the_users_own_is_refused(file):
    class Mine(MLPClassifier):
        pass

    with pytest.raises(TypeError, match="save: Mine is a class of yours"):
        nn.save(file, Mine())


def test_it_is_saved_by_itself(file):
    with pytest.raises(TypeError, match="an estimator is saved by itself"):
        nn.save(file, MLPClassifier(), history=nn.History())


def test_info(file):
    from fastnp.interchange.summary import summary

    nn.save(file, CASES["three classes"]())
    lines = summary(file)
    assert lines[1].split() == ["estimator", "MLPClassifier"] and "93 parameters in 6 tensors, float64" in lines[2]
    assert json.dumps(lines)
