"""Both estimators pass scikit-learn's checks of what an estimator is, and have the surface of its own two."""

import inspect
import os
from numbers import Real
from unittest import SkipTest

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn import neural_network as theirs  # noqa: E402
from sklearn.utils import get_tags  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from fastnp import estimators as ours  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # most checks train briefly

NAMES = ["MLPClassifier", "MLPRegressor"]
NINE = sklearn.__version__.startswith("1.9.")
OF_NINE = pytest.mark.skipif(not NINE, reason=f"a test of scikit-learn 1.9, which is {sklearn.__version__}")

CHECKS = {"MLPClassifier": 68, "MLPRegressor": 60}  # of scikit-learn 1.9
SKIPPED = {
    ("MLPClassifier", "check_classifiers_multilabel_output_format_decision_function"),  # neither has the method
}
if not os.environ.get("SCIPY_ARRAY_API"):  # which has to be there before SciPy is imported
    SKIPPED |= {
        (name, "check_array_api_input(array_namespace='numpy', expect_only_array_outputs=False)") for name in NAMES
    }

# scikit-learn checks its own two with these, for rows of no weight are shuffled, and rows that are left out are not.
SETTINGS = {
    ("MLPClassifier", "check_sample_weight_equivalence_on_dense_data"): {"solver": "lbfgs"},
    ("MLPRegressor", "check_sample_weight_equivalence_on_dense_data"): {
        "solver": "sgd",
        "tol": 1e-2,
        "random_state": 42,
    },
}


def called(check):
    """The name of a check with its arguments."""
    given = []
    while hasattr(check, "func"):
        given += [f"{key}={value!r}" for key, value in check.keywords.items()]
        check = check.func
    return check.__name__ + (f"({', '.join(given)})" if given else "")


def checks(name):
    """All checks of an estimator with as many epochs as scikit-learn gives its own."""
    return [(name, check, called(check)) for _, check in estimator_checks_generator(getattr(ours, name)(max_iter=100))]


ALL = [case for name in NAMES for case in checks(name)]


@pytest.mark.parametrize(("name", "check", "call"), ALL, ids=[f"{name}-{call}" for name, _, call in ALL])
def test_check(name, check, call):
    estimator = getattr(ours, name)(max_iter=100).set_params(**SETTINGS.get((name, call), {}))
    try:
        check(estimator)
    except SkipTest as reason:
        if NINE and (name, call) not in SKIPPED:
            pytest.fail(f"skipped: {reason}")
        raise


@OF_NINE
def test_no_check_is_missing():
    assert {name: len(checks(name)) for name in NAMES} == CHECKS
    assert {(name, call) for name, _, call in ALL} >= SKIPPED | set(SETTINGS)


# --- the surface ---


@OF_NINE
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_theirs_and_then_ours_by_keyword(name):
    expected, found = (inspect.signature(getattr(module, name)).parameters for module in (theirs, ours))
    first, more = list(found.values())[: len(expected)], list(found.values())[len(expected) :]
    assert [(p.name, p.default, p.kind) for p in first] == [(p.name, p.default, p.kind) for p in expected.values()]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in more)


@pytest.mark.parametrize("name", NAMES)
def test_tags_are_theirs(name):
    assert get_tags(getattr(ours, name)()) == get_tags(getattr(theirs, name)())


@OF_NINE
@pytest.mark.parametrize("name", NAMES)
def test_metadata_that_theirs_can_request_can_be_requested(name):
    expected, found = (getattr(module, name)().get_metadata_routing()._serialize() for module in (theirs, ours))
    assert expected["fit"] and all(requests.items() <= found[method].items() for method, requests in expected.items())


def fitted(module, name, solver, early_stopping):
    x = np.random.default_rng(0).normal(size=(20, 3))
    estimator = getattr(module, name)(solver=solver, early_stopping=early_stopping, max_iter=2)
    return estimator.fit(x, np.arange(20) % 2)


def public(estimator):
    """Its methods, and what it has learned."""
    names = [key for key in dir(estimator) if not key.startswith("_") and hasattr(estimator, key)]
    return {key for key in names if key.endswith("_") or callable(getattr(estimator, key))}


@OF_NINE
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("solver", "early_stopping"), [("adam", False), ("sgd", True), ("lbfgs", False)])
def test_what_theirs_has_after_fit_ours_has(name, solver, early_stopping):
    expected, found = (fitted(module, name, solver, early_stopping) for module in (theirs, ours))
    assert {"coefs_", "n_iter_", "predict", "set_params"} <= public(expected)
    forgotten = {"partial_fit"} if solver == "lbfgs" else set()  # their regressor shows it by mistake
    assert public(expected) - public(found) <= forgotten
    for key in vars(expected).keys() & public(expected):
        kinds = {
            type(value) if not isinstance(value, Real) else Real for value in (vars(expected)[key], getattr(found, key))
        }
        assert len(kinds) == 1, key


REFUSED = {
    "hidden_layer_sizes": [0, -1, (4, 0), 2.5, "many"],
    "activation": ["Relu", 1],
    "solver": ["newton", None],
    "alpha": [-1.0, "small"],
    "batch_size": [0, -5, 2.5, "all"],
    "learning_rate": ["linear", 0.1],
    "learning_rate_init": [0.0, -0.1, "auto"],
    "power_t": [-0.5, None],
    "max_iter": [0, -1, 2.5],
    "shuffle": ["yes", None],
    "random_state": ["seed", -1],
    "tol": [-1e-4, None],
    "verbose": ["much", -1],
    "warm_start": ["no", None],
    "momentum": [-0.1, 1.1],
    "nesterovs_momentum": ["no", None],
    "early_stopping": ["no", None],
    "validation_fraction": [-0.1, 1.0],
    "beta_1": [-0.1, 1.0],
    "beta_2": [-0.1, 1.0],
    "epsilon": [0.0, -1e-8],
    "n_iter_no_change": [0, 2.5],
    "max_fun": [0, 2.5],
}


@OF_NINE
def test_every_setting_can_be_refused():
    assert set(REFUSED) == set(inspect.signature(theirs.MLPClassifier).parameters)


@OF_NINE
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in REFUSED.items() for value in values])
def test_a_setting_that_theirs_refuses_ours_refuses_by_name(name, key, value):
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    for module in theirs, ours:
        estimator = getattr(module, name)(max_iter=1).set_params(**{key: value})
        with pytest.raises((ValueError, TypeError), match=key if key != "random_state" else "random_state|seed"):
            estimator.fit(x, y)
