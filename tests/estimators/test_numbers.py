"""With the same random state, our estimators learn scikit-learn's numbers."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

from scikit import CLASSIFIED, TASKS, assert_agree, call, data, pair, weights  # noqa: E402
from scipy import sparse  # noqa: E402

pytestmark = pytest.mark.skipif(
    not sklearn.__version__.startswith("1.9."),
    reason=f"the numbers of scikit-learn 1.9, which is {sklearn.__version__}",
)

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.03, "momentum": 0.0},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.01, "momentum": 0.9, "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.01},
}
LARGER = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
ENDED = "Stochastic Optimizer: Maximum iterations (20) reached and the optimization hasn't converged yet."


def learned(task, weight="none", at_most=1e-9, **settings):
    """Both, after a fit from which they come with the same numbers."""
    x, y = data(task)
    estimators = pair(task, **settings)
    call(estimators, "fit", x, y, weights(weight))
    assert_agree(estimators, x, at_most)
    return estimators


# --- what is trained, and how ---


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("batch_size", [1, 32, 97, "auto"])
def test_tasks(task, activation, solver, batch_size):
    settings = SOLVERS[solver]
    if (
        batch_size == 1
    ):  # at the rate of larger batches it would wander, and no two that round in other ways stay together
        settings = settings | {"learning_rate_init": settings["learning_rate_init"] / 10}
    learned(task, activation=activation, batch_size=batch_size, **settings)


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", [*SOLVERS, "lbfgs"])
@pytest.mark.parametrize("weight", ["none", "some", "zeros"])
@pytest.mark.parametrize("alpha", [0, 1e-4, 1])
@pytest.mark.parametrize("shuffle", [True, False])
def test_weights_and_penalties(task, solver, weight, alpha, shuffle):
    settings = SOLVERS.get(solver, {"solver": solver})
    learned(task, weight, alpha=alpha, shuffle=shuffle, batch_size=20, **settings)


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("max_iter", [1, 20])
def test_lbfgs(task, activation, max_iter):
    learned(task, solver="lbfgs", activation=activation, max_iter=max_iter)


def test_lbfgs_ends_where_theirs_does():
    expected, _ = learned("number", solver="lbfgs", max_fun=7)
    assert expected.n_iter_ < 7
    expected, _ = learned("number", solver="lbfgs", tol=0.1)
    assert expected.n_iter_ < 20


@pytest.mark.parametrize("task", ["two classes", "classes", "labels", "number", "counts"])
@pytest.mark.parametrize("sizes", [(), 4, [6], (5, 4, 3), np.array([3, 2])], ids=str)
def test_sizes(task, sizes):
    learned(task, hidden_layer_sizes=sizes, **SOLVERS["adam"])


@pytest.mark.parametrize("solver", ["adam", "nesterov"])
def test_batches_larger_than_the_data(solver):
    x, y = data("number")
    estimators = pair("number", batch_size=98, **SOLVERS[solver])
    assert [message for _, message in call(estimators, "fit", x, y)] == [LARGER, ENDED]
    assert_agree(estimators, x)


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize(
    "settings",
    [
        {"beta_1": 0.0},
        {"beta_2": 0.3},
        {"beta_1": 0.5, "beta_2": 0.7},
        {"epsilon": 1e-2},
        {"learning_rate": "adaptive"},
    ],
    ids=str,
)
def test_settings_of_adam(task, settings):
    learned(task, **SOLVERS["adam"] | settings)


# --- rates, and when it ends ---


@pytest.mark.pairs
@pytest.mark.parametrize("task", ["two classes", "labels", "numbers", "counts"])
@pytest.mark.parametrize("solver", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("power_t", [0, 0.25, 0.5, 2])
@pytest.mark.parametrize("weight", ["none", "zeros"])
def test_invscaling(task, solver, power_t, weight):
    learned(task, weight, batch_size=30, learning_rate="invscaling", power_t=power_t, **SOLVERS[solver])


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("solver", ["sgd", "momentum", "nesterov"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_adaptive_divides_the_rate(task, solver, early_stopping):
    settings = {"learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 2, "early_stopping": early_stopping}
    expected, _ = learned(task, batch_size=20, **SOLVERS[solver] | settings)
    assert expected._optimizer.learning_rate < expected.learning_rate_init


@pytest.mark.parametrize("task", ["classes", "number"])
def test_adaptive_ends_where_the_rate_is_small(task):
    settings = {"learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 2, "max_iter": 100}
    expected, _ = learned(task, **SOLVERS["nesterov"] | settings)
    assert expected._optimizer.learning_rate <= 1e-6 and expected.n_iter_ < 100


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("tol", [0, 1e-2, 0.1])
@pytest.mark.parametrize("n_iter_no_change", [1, 3, np.inf])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_it_ends_in_the_same_epoch(task, solver, tol, n_iter_no_change, early_stopping):
    settings = {"tol": tol, "n_iter_no_change": n_iter_no_change, "early_stopping": early_stopping, "batch_size": 25}
    learned(task, **SOLVERS[solver], **settings)


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weight", ["none", "some", "zeros"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("fraction", [0.1, 0.4])
def test_early_stopping(task, solver, weight, shuffle, fraction):
    settings = {"early_stopping": True, "validation_fraction": fraction, "shuffle": shuffle, "batch_size": 16}
    learned(task, weight, **SOLVERS[solver], **settings)


@pytest.mark.parametrize("task", ["classes", "number"])
def test_early_stopping_goes_back_to_the_best(task):
    settings = {
        "early_stopping": True,
        "learning_rate_init": 0.1,
        "n_iter_no_change": 3,
        "max_iter": 60,
        "batch_size": 16,
    }
    expected, _ = learned(task, **settings)
    assert np.argmax(expected.validation_scores_) < expected.n_iter_ - 1 < 59
    assert expected.validation_scores_[-1] < expected.best_validation_score_


@pytest.mark.parametrize("task", CLASSIFIED)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sure_and_wrong(task, solver):
    """The loss of a probability that is 0 to rounding is that of the smallest step from 1."""
    x, y = data(task)
    estimators = pair(task, activation="identity", solver=solver, max_iter=2)
    call(estimators, "fit", 1e4 * x, y)
    assert_agree(estimators, 1e4 * x, results=["predict", "predict_proba"])
    assert 5 < estimators[0].loss_ < 4 * 36.1


# --- going on ---


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", [*SOLVERS, "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weight", ["none", "some"])
def test_warm_start(task, solver, early_stopping, weight):
    x, y = data(task)
    settings = SOLVERS.get(solver, {"solver": solver})
    estimators = pair(task, warm_start=True, early_stopping=early_stopping, batch_size=30, **settings)
    for given in {"max_iter": 5}, {"max_iter": 8, "alpha": 0.1}, {"learning_rate_init": 0.03}:
        for estimator in estimators:
            estimator.set_params(**given)
        call(estimators, "fit", x, y, weights(weight))
        assert_agree(estimators, x)


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("weight", ["none", "zeros"])
def test_partial_fit(task, solver, learning_rate, weight):
    estimators = pair(task, learning_rate=learning_rate, batch_size=30, tol=0.1, n_iter_no_change=2, **SOLVERS[solver])
    first = {"classes": np.unique(data(task)[1]) if task != "labels" else np.arange(4)} if task in CLASSIFIED else {}
    for seed, rows in enumerate([97, 40, 65, 30, 97, 97, 20, 97]):
        x, y = data(task, rows, seed)
        call(estimators, "partial_fit", x, y, weights(weight, rows), **first)
        assert_agree(estimators, x)
        first = {}


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_and_fit_in_turns(task, solver):
    x, y = data(task)
    estimators = pair(task, batch_size=40, **SOLVERS[solver])
    for method in "fit", "partial_fit", "partial_fit", "fit", "partial_fit":
        call(estimators, method, x, y)
        assert_agree(estimators, x)


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("solver", [*SOLVERS, "lbfgs"])
def test_weights_that_were_set(task, solver):
    """People keep the two lists, and put them back by entry or whole."""
    x, y = data(task)
    estimators = pair(task, warm_start=True, **SOLVERS.get(solver, {"solver": solver}))
    call(estimators, "fit", x, y)
    for estimator in estimators:
        estimator.coefs_ = [1.5 * array for array in estimator.coefs_]
        estimator.intercepts_[0] = np.linspace(-1, 1, 7)
        estimator.intercepts_[1][:] = 0.25
    assert_agree(estimators, x)
    call(estimators, "fit", x, y)
    assert_agree(estimators, x)


# --- what is given ---


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_generator_is_left_in_the_same_state(task, early_stopping):
    x, y = data(task)
    estimators, states = pair(task, early_stopping=early_stopping, batch_size=30), []
    for estimator in estimators:
        estimator.set_params(random_state=np.random.RandomState(5))
    for _ in range(2):
        call(estimators, "fit", x, y)
        assert_agree(estimators, x)
        states += [estimator.random_state.get_state()[1:] for estimator in estimators]
    for expected, found in zip(states[::2], states[1::2], strict=True):
        assert np.array_equal(expected[0], found[0]) and expected[1:] == found[1:]
    assert not np.array_equal(states[0][0], states[2][0]) or states[0][1] != states[2][1]


@pytest.mark.parametrize("task", ["classes", "number"])
def test_without_a_random_state_it_draws_from_the_global_one(task):
    x, y = data(task)
    estimators, drawn = pair(task, random_state=None), []
    for estimator in estimators:
        np.random.seed(11)
        with pytest.warns(sklearn.exceptions.ConvergenceWarning):
            estimator.fit(x, y)
        drawn.append(np.random.random())
    assert drawn[0] == drawn[1]
    assert_agree(estimators, x)


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["csr_matrix", "csc_matrix", "csr_array", "csc_array"])
@pytest.mark.parametrize("solver", ["adam", "nesterov", "lbfgs"])
def test_sparse_input(task, kind, solver):
    x, y = data(task)
    x = getattr(sparse, kind)(np.where(np.abs(x) > 0.7, x, 0))
    estimators = pair(task, batch_size=30, early_stopping=True, **SOLVERS.get(solver, {"solver": solver}))
    call(estimators, "fit", x, y)
    assert_agree(estimators, x)


def laid_out(x, y):
    wide = np.full((2 * len(x), 3 * x.shape[1]), np.nan)
    wide[::2, ::3] = x
    return wide[::2, ::3], y


INPUTS = {
    "lists": lambda x, y: (x.tolist(), y.tolist()),
    "columns": lambda x, y: (np.asfortranarray(x), np.asfortranarray(y)),
    "gaps": laid_out,
    "big-endian": lambda x, y: (x.astype(">f8"), y),
    "integers": lambda x, y: ((10 * x).astype(np.int16), y),
    "half": lambda x, y: (x.astype(np.float16), y),
}


@pytest.mark.pairs
@pytest.mark.parametrize("task", ["two classes", "labels", "numbers", "counts"])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_input_of_other_kinds(task, kind, solver):
    x, y = INPUTS[kind](*data(task))
    estimators = pair(task, solver=solver, batch_size=30)
    call(estimators, "fit", x, y)
    assert_agree(estimators, x)


def test_a_column_is_a_row_with_a_warning():
    for task in "classes", "number":
        x, y = data(task)
        estimators = pair(task)
        assert len(call(estimators, "fit", x, y[:, None])) == 2
        assert_agree(estimators, x)


@pytest.mark.pairs
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weight", ["none", "zeros"])
def test_float32(task, activation, solver, early_stopping, weight):
    x, y = data(task)
    settings = {"activation": activation, "early_stopping": early_stopping, "batch_size": 30, "max_iter": 10}
    estimators = pair(task, **SOLVERS[solver] | settings)
    call(estimators, "fit", x.astype(np.float32), y, weights(weight))
    assert_agree(estimators, x.astype(np.float32), 1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_lbfgs_of_float32(task):
    """Theirs evaluates the loss in float32, where a line search goes elsewhere for a digit: both end in float64."""
    x, y = data(task)
    expected, found = pair(task, solver="lbfgs")
    call([expected, found], "fit", x.astype(np.float32), y)
    assert found.loss_ < expected.loss_ + 0.1 * abs(expected.loss_)
    for mine, theirs in zip(found.coefs_ + found.intercepts_, expected.coefs_ + expected.intercepts_, strict=True):
        assert mine.dtype == theirs.dtype == np.float64


# --- what is printed ---


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("learning_rate", ["constant", "adaptive"])
def test_verbose_prints_their_lines(task, early_stopping, learning_rate, capsys):
    x, y = data(task)
    settings = {"early_stopping": early_stopping, "learning_rate": learning_rate, "tol": 0.02, "n_iter_no_change": 2}
    printed = []
    for estimator in pair(task, verbose=True, max_iter=100, **SOLVERS["nesterov"], **settings):
        estimator.fit(x, y)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0].startswith("Iteration 1, loss = ")
