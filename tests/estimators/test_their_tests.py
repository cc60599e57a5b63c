"""scikit-learn's tests of its two estimators pass with ours in their place, but for those that look at privates."""

import importlib.util
import inspect
import math
import re

import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn import neural_network  # noqa: E402

from fastnp import estimators  # noqa: E402

if not sklearn.__version__.startswith("1.9."):
    pytest.skip(f"the tests of scikit-learn 1.9, which is {sklearn.__version__}", allow_module_level=True)

NAMES = ["MLPClassifier", "MLPRegressor"]
FILE = "sklearn.neural_network.tests.test_mlp"
FUNCTIONS, CASES = 43, 59  # all of them, also those that are left out

PRIVATE = {
    "test_fit": "sets attributes as a fit leaves them, and goes on with partial_fit",
    "test_gradient": "calls _loss_grad_lbfgs",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
    "test_n_iter_no_change": "reads _no_improvement_count",
    "test_n_iter_no_change_inf": "reads _no_improvement_count",
}


def functions_with(module):
    """What their file tests, in a new copy of it in which the two estimators are those of a module."""
    spec = importlib.util.spec_from_file_location("test_mlp_with_others", importlib.util.find_spec(FILE).origin)
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setattr(neural_network, name, getattr(module, name))
        spec.loader.exec_module(copy)
    assert all(getattr(copy, name) is getattr(module, name) for name in NAMES)
    return {name: value for name, value in vars(copy).items() if name.startswith("test_")}


def cases(function):
    """How many tests pytest makes of a function."""
    marks = getattr(function, "pytestmark", [])
    return math.prod(len(mark.args[1]) for mark in marks if mark.name == "parametrize")


ALL = functions_with(estimators)
RUN = {name: function for name, function in ALL.items() if name not in PRIVATE}
globals().update(RUN)  # where pytest finds them


@pytest.fixture
def global_random_seed():
    return 42  # their default


def test_all_but_the_private_ones_run():
    assert len(ALL) == FUNCTIONS and sum(map(cases, ALL.values())) == CASES
    assert sum(map(cases, RUN.values())) == CASES - len(PRIVATE)
    private = {name for name, function in ALL.items() if re.search(r"\b(mlp|clf)\._", inspect.getsource(function))}
    assert private == set(PRIVATE)


def test_their_names_are_theirs_again():
    assert all(getattr(neural_network, name).__module__.startswith("sklearn.") for name in NAMES)
