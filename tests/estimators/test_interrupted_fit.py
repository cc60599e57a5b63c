"""Ctrl-C ends a fit, not the program: the weights so far are there, and a warning."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from estimating import LABELS, X_VAL, X, Y, like, parameters

pytest.importorskip("sklearn")

from fastnp.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 10, "early_stopping": True}


@pytest.mark.parametrize("made", [MLPRegressor, MLPClassifier])
def test_a_function_of_the_users_that_is_interrupted(made):
    y, scores = Y if made is MLPRegressor else LABELS, [0.1, 0.3, 0.2]

    def scorer(model, x, y):
        if not left:
            raise KeyboardInterrupt
        return left.pop(0)

    left = list(scores)
    model = made(**SETTINGS, scoring=scorer)
    with pytest.warns(UserWarning, match="interrupted"):
        assert model.fit(X, y, X_val=X_VAL, y_val=like(y)) is model
    assert model.validation_scores_ == scores and model.best_validation_score_ == 0.3
    left = list(scores[:2])
    best = made(**SETTINGS | {"max_iter": 2}, scoring=scorer).fit(X, y, X_val=X_VAL, y_val=like(y))
    assert np.array_equal(parameters(model), parameters(best)), "not the best weights so far"
    left = list(scores)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y, X_val=X_VAL, y_val=like(y))
    assert np.array_equal(parameters(model), parameters(best))


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_another_exception_of_the_users_function_comes_through(error):
    def scorer(model, x, y):
        raise error("mine")

    with pytest.raises(error, match="mine"):
        MLPRegressor(**SETTINGS, scoring=scorer).fit(X, Y)


INTERRUPTED = """
import os, signal, sys, threading, time, warnings
import numpy as np
from fastnp.estimators import MLPRegressor

x = np.random.default_rng(0).standard_normal((500, 4))
y = x[:, 0] + 0.5 * np.random.default_rng(1).standard_normal(500)


def send():
    time.sleep(0.4)
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)


for settings in eval(sys.argv[1]):
    model = MLPRegressor(max_iter=2, tol=0.0, n_iter_no_change=10**7, random_state=0, **settings)
    model.fit(x, y)  # compiles
    sent = []
    model.set_params(max_iter=10**7)
    threading.Thread(target=send).start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(x, y)
    took = time.perf_counter() - sent[0]
    said = [str(w.message) for w in caught]
    assert len(said) == 1 and "interrupted" in said[0], (settings, said)
    assert took < 2, (settings, took)
    assert 2 < model.n_iter_ < 10**7 and np.isfinite(model.loss_), (settings, model.n_iter_, model.loss_)
    assert len(model.loss_curve_) == model.n_iter_ and model.loss_ == model.loss_curve_[-1], settings
    assert model.t_ == model.n_iter_ * (450 if model.early_stopping else 500), (settings, model.t_)
    assert model.score(x, y) > 0.3, (settings, model.score(x, y))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    model.set_params(max_iter=3).fit(x, y)
    print("done")
"""


def test_ctrl_c():
    """In a process of its own, with one kind of training after the other."""
    kinds = [
        {}, {"solver": "sgd", "shuffle": False}, {"early_stopping": True}, {"early_stopping": True, "scoring": "loss"},
        {"dropout": 0.1}, {"batch_size": 1}, {"scale_y": True, "dtype": "float32"},
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED, repr(kinds)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == "done\n" * len(kinds), done.stderr
