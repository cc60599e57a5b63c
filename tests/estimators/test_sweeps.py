"""Searches over processes and threads: results are those of one process, and what was compiled is taken by all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cached import assert_announced_once, files
from estimating import LABELS, X

pytest.importorskip("sklearn")
import joblib
from sklearn.model_selection import GridSearchCV

import fastnp
from fastnp.estimators import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WAYS = {
    "loky": """
    @contextlib.contextmanager
    def workers():
        with joblib.parallel_config("loky"):
            yield
        get_reusable_executor().shutdown(wait=True)
""",
    "dask": """
    from distributed import Client, LocalCluster

    @contextlib.contextmanager
    def workers():
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
        with cluster, Client(cluster), joblib.parallel_config("dask"):
            yield
""",
}
SWEEP = """
import contextlib, json, os, sys, time, warnings
import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from fastnp.estimators import MLPClassifier

GRID = {{"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(12,), (24,)]}}


def busy(estimator, x, y):
    "Seconds of CPU of this thread and of all others while it fits."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mine, all_of_it = time.thread_time(), time.process_time()
        estimator.set_params(max_iter=200, tol=0.0, n_iter_no_change=10**6).fit(x, y)
        mine, all_of_it = time.thread_time() - mine, time.process_time() - all_of_it
    return os.getpid(), mine, all_of_it - mine


def score(estimator, x, y):
    return estimator.score(x, y)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 16))
    y = x[:, :3].argmax(axis=1)
{workers}
    net = MLPClassifier(max_iter=15, random_state=0, batch_size=16)
    found = {{}}
    if sys.argv[1] == "one":
        search = GridSearchCV(net, GRID, cv=3).fit(x, y)
        found["scores"] = search.cv_results_["mean_test_score"].tolist()
    else:
        with workers():
            search = GridSearchCV(net, GRID, cv=3, n_jobs=2, error_score="raise").fit(x, y)
            found["scores"] = search.cv_results_["mean_test_score"].tolist()
            found["busy"] = joblib.Parallel(n_jobs=2)(joblib.delayed(busy)(net, x, y) for _ in range(4))
    found["parameters"] = [w.ravel().tolist() for w in search.best_estimator_.coefs_]
    found["pid"] = os.getpid()
    print(json.dumps(found))
"""


def sweep(way, how, cache, folder):
    """Run the script in a process of its own; what it found and what was said on stderr, by the workers, too."""
    script = folder / f"sweep_{way}.py"
    script.write_text(SWEEP.format(workers=WAYS[way]), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")}
    root = Path(fastnp.__file__).parents[1]
    env |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join([str(root), env.get("PYTHONPATH", "")])}
    env |= {"PYTHONWARNINGS": "ignore", "DASK_TEMPORARY_DIRECTORY": str(folder), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), how], env=env, cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A cache folder as one process has filled it, and what that process found."""
    cache = tmp_path_factory.mktemp("cache")
    found, said = sweep("loky", "one", cache, tmp_path_factory.mktemp("one"))
    assert_announced_once(said)
    return cache, found


@pytest.mark.parametrize("way", WAYS)
def test_processes(way, alone, tmp_path):
    """Two workers find what one process found, compile nothing, and each computes by one thread."""
    if way == "dask":
        pytest.importorskip("distributed")
    cache, expected = alone
    before = files(cache)
    found, said = sweep(way, "two", cache, tmp_path)
    assert found["scores"] == expected["scores"] and len(found["scores"]) == 4
    assert found["parameters"] == expected["parameters"]
    assert "compiling" not in said and files(cache) == before
    pids = {pid for pid, _, _ in found["busy"]}
    assert found["pid"] not in pids and 1 <= len(pids) <= 2
    mine, others = np.sum([seconds[1:] for seconds in found["busy"]], axis=0)
    assert mine > 0.05 and others < mine / 2, "other threads of a worker compute, too"


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_processes_that_compile_at_once(way, alone, tmp_path):
    """Without a cache, the workers find the same, and what they leave serves the next."""
    if way == "dask":
        pytest.importorskip("distributed")
    found, _ = sweep(way, "two", tmp_path / "cold", tmp_path)
    assert found["scores"] == alone[1]["scores"] and found["parameters"] == alone[1]["parameters"]
    _, said = sweep(way, "one", tmp_path / "cold", tmp_path)
    assert "compiling" not in said


def test_threads():
    grid = {"alpha": [1e-4, 1.0], "dropout": [0.0, 0.3]}
    scores = []
    for n_jobs in 1, 3:
        with joblib.parallel_config("threading"):
            net = MLPClassifier((6,), max_iter=10, random_state=0)
            search = GridSearchCV(net, grid, cv=3, n_jobs=n_jobs, error_score="raise").fit(X, LABELS)
        scores.append(search.cv_results_["mean_test_score"])
    assert np.array_equal(*scores)


def test_a_generator_of_ones_own_as_random_state():
    """As scikit-learn has it: each clone starts with a copy of the generator."""
    searches = [
        GridSearchCV(MLPClassifier((6,), max_iter=4, random_state=np.random.RandomState(1)), {"alpha": [1.0]}, cv=2)
        for _ in range(2)
    ]
    first, second = (search.fit(X, LABELS).cv_results_["mean_test_score"] for search in searches)
    assert np.array_equal(first, second)
