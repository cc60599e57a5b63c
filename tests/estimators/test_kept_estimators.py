"""Estimators copied and kept, and what is given to them: nothing of the caller's changes."""

import copy
import gc
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from estimating import LABELS, WEIGHTS, WEIGHTS_VAL, X_VAL, Y2, X, Y, like, parameters

pytest.importorskip("sklearn")
import joblib
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0}


def dumped(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "pickle 2": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "joblib": dumped,
    "deepcopy": copy.deepcopy,
    "copy of a copy": lambda model: copy.deepcopy(pickle.loads(pickle.dumps(model))),
}
MODELS = {
    "adam": lambda: MLPRegressor(**SETTINGS),
    "dropout": lambda: MLPRegressor(**SETTINGS, dropout=0.3),
    "scaled": lambda: MLPRegressor(**SETTINGS, scale_y=True),
    "adaptive": lambda: MLPRegressor(**SETTINGS, solver="sgd", learning_rate="adaptive", tol=0.5, n_iter_no_change=1),
    "invscaling": lambda: MLPRegressor(**SETTINGS, solver="sgd", learning_rate="invscaling"),
    "several activations": lambda: MLPRegressor(
        activation=("gelu", "elu"), **SETTINGS | {"hidden_layer_sizes": (6, 5)}
    ),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("which", MODELS)
def test_a_copy_goes_on_as_the_model(which, how):
    """With the optimizer's moments, rates and counts; the copy does not touch the model."""
    model = MODELS[which]()
    for _ in range(4):
        model.partial_fit(X, 100 * Y)
    found = COPIES[how](model)
    assert np.array_equal(found.predict(X), model.predict(X))
    assert found.loss_curve_ == model.loss_curve_ and found.t_ == model.t_
    before = parameters(model)
    for _ in range(3):
        found.partial_fit(X, 100 * Y)
    assert np.array_equal(parameters(model), before)
    for _ in range(3):
        model.partial_fit(X, 100 * Y)
    assert np.array_equal(parameters(found), parameters(model)) and found.loss_curve_ == model.loss_curve_
    found.coefs_[0][...] = 0
    assert not np.array_equal(found.predict(X), model.predict(X)) and parameters(model)[:24].all()


@pytest.mark.parametrize("how", COPIES)
def test_copies_of_a_classifier(how):
    model = MLPClassifier(**SETTINGS, early_stopping=True).fit(X, LABELS)
    found = COPIES[how](model)
    assert np.array_equal(found.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(found.predict(X), model.predict(X)) and list(found.classes_) == ["a", "b", "c"]
    assert found.validation_scores_ == model.validation_scores_
    assert np.array_equal(parameters(found.fit(X, LABELS)), parameters(model.fit(X, LABELS)))


def test_a_pickle_is_not_much_larger_than_its_numbers():
    """Adam's moments among them; no kernel, no data, no buffer of a batch."""
    model = MLPRegressor(hidden_layer_sizes=(100, 100), max_iter=2)
    model.fit(np.random.default_rng(0).standard_normal((5000, 40)), np.zeros(5000))
    numbers = parameters(model)
    assert len(pickle.dumps(model)) < 5 * numbers.nbytes + 10_000


def test_another_process_goes_on(tmp_path):
    model = MLPRegressor(**SETTINGS).partial_fit(X, Y)
    joblib.dump((model, X, Y), tmp_path / "model")
    code = f"""
import joblib
model, X, Y = joblib.load({str(tmp_path / "model")!r})
before = model.predict(X)
joblib.dump((before, model.partial_fit(X, Y)), {str(tmp_path / "result")!r})
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=root, check=True, timeout=120)
    before, after = joblib.load(tmp_path / "result")
    assert np.array_equal(before, model.predict(X))
    assert np.array_equal(parameters(after), parameters(model.partial_fit(X, Y)))


def test_a_clone_has_the_parameters_alone():
    settings = {"dropout": 0.2, "scoring": "loss", "dtype": "float32", "quantile": 0.3, "huber_delta": 2.0,
                "scale_y": True, "loss": "quantile", "activation": ("gelu",), "verbose": 0, **SETTINGS}  # fmt: skip
    model = MLPRegressor(**settings).fit(X, Y)
    found = clone(model)
    assert found.get_params() == model.get_params() and settings.items() <= found.get_params().items()
    assert not [name for name in vars(found) if name.endswith("_")]
    assert np.array_equal(parameters(found.fit(X, Y)), parameters(model))
    weighted = MLPClassifier(class_weight={"a": 2}, **SETTINGS)
    assert clone(weighted).class_weight == {"a": 2}


def test_estimators_that_are_gone_leave_nothing():
    def fits():
        for _ in range(20):
            MLPRegressor(**SETTINGS).fit(X, Y).predict(X)
        gc.collect()
        return len(gc.get_objects())

    fits()
    before = fits()
    assert fits() <= before + 20


# --- what is given ---


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda array: (
        np.repeat(np.repeat(array, 2, axis=0), 2, axis=-1)[::2, ..., ::2]
        if array.ndim == 2
        else np.repeat(array, 2)[::2]
    ),
    "backwards": lambda array: array[::-1].copy()[::-1],
    "read-only": read_only,
    "list": np.ndarray.tolist,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()) if array.dtype.kind == "f" else array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_layouts(solver, layout):
    change = LAYOUTS[layout]
    for made, y in (MLPRegressor, Y), (MLPRegressor, Y2), (MLPClassifier, LABELS):
        plain = made(**SETTINGS, solver=solver).fit(X, y, WEIGHTS)
        model = made(**SETTINGS, solver=solver).fit(change(X), change(y), change(WEIGHTS))
        assert np.array_equal(parameters(model), parameters(plain))
        assert np.array_equal(model.predict(change(X)), plain.predict(X))
        assert np.array_equal(model.input_gradient(change(X)), plain.input_gradient(X))


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows(solver, form):
    x = np.where(abs(X) > 0.6, X, 0)
    plain, model = MLPRegressor(**SETTINGS, solver=solver).fit(x, Y), MLPRegressor(**SETTINGS, solver=solver)
    model.fit(form(x), Y)
    np.testing.assert_allclose(parameters(model), parameters(plain), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.predict(form(x)), plain.predict(x), rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [{}, {"early_stopping": True}, {"solver": "lbfgs"}, {"shuffle": False}, {"dtype": "float32"}, {"scale_y": True},
     {"class_weight": {"a": 2, "b": 3}}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_given_is_changed(dtype, settings):
    made, y = (MLPClassifier, LABELS) if "class_weight" in settings else (MLPRegressor, Y.astype(dtype))
    given = [X.astype(dtype), y, WEIGHTS.copy()]
    own = {"X_val": X_VAL.astype(dtype), "y_val": like(y), "sample_weight_val": WEIGHTS_VAL.copy()}
    arrays = [*given, *own.values()]
    before = [array.tobytes() for array in arrays]
    model = made(**SETTINGS, **settings)
    model.fit(*given, **own if model.solver != "lbfgs" else {}).predict(given[0])
    model.predict(given[0], check_input=False)
    model.input_gradient(given[0])
    if model.solver != "lbfgs" and not model.early_stopping:
        model.partial_fit(*given)
    assert [array.tobytes() for array in arrays] == before
    assert model.get_params().items() >= settings.items()


def test_what_is_given_is_not_kept():
    """A later change of the caller's arrays does not reach the model."""
    x, y = X.copy(), Y.copy()
    model = MLPRegressor(**SETTINGS, shuffle=False).partial_fit(x, y)
    prediction = model.predict(x)
    kept = prediction.copy()
    model.predict(X_VAL)
    model.partial_fit(X, Y)
    assert np.array_equal(prediction, kept), "a prediction is the caller's"


def test_frames_of_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("wxyz"), index=np.arange(60)[::-1])
    model = MLPClassifier(**SETTINGS, early_stopping=True)
    val = pd.DataFrame(X_VAL, columns=list("wxyz"))
    model.fit(frame, pd.Series(LABELS), pd.Series(WEIGHTS), X_val=val, y_val=pd.Series(like(LABELS)))
    plain = MLPClassifier(**SETTINGS, early_stopping=True)
    plain.fit(X, LABELS, WEIGHTS, X_val=X_VAL, y_val=like(LABELS))
    assert list(model.feature_names_in_) == list("wxyz") and not hasattr(plain, "feature_names_in_")
    assert np.array_equal(model.predict(frame), plain.predict(X))
    assert np.array_equal(model.input_gradient(frame), plain.input_gradient(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("zyxw")])
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        model.fit(frame, LABELS, X_val=val[list("zyxw")], y_val=like(LABELS))


def test_frames_behind_a_scaler():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("wxyz"))
    pipe = make_pipeline(StandardScaler(), MLPRegressor(**SETTINGS)).set_output(transform="pandas").fit(frame, Y)
    plain = make_pipeline(StandardScaler(), MLPRegressor(**SETTINGS)).fit(X, Y)
    np.testing.assert_allclose(pipe.predict(frame), plain.predict(X), rtol=1e-10)  # the scaler sums in another order
    assert list(pipe[-1].feature_names_in_) == list("wxyz") and not hasattr(pipe[-1], "set_output")
