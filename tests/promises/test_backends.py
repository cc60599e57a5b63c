"""Choosing a backend, in a process, a thread and the environment."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from models import batches, build, sgd, train

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def test_switching_the_backend_in_the_middle_stays_within_tolerance():
    data = batches(3, 2, count=40)
    straight, switched = build(3, 17, 2), build(3, 17, 2)
    expected = train(straight, sgd(straight), data)
    optimizer, loss_fn, losses = sgd(switched), nn.MSE(), []
    for i, (x, y) in enumerate(data):
        with nn.use_backend(("numba", "numpy")[i % 2]):
            losses.append(loss_fn(switched(x), y))
        with nn.use_backend(("numba", "numpy")[i // 2 % 2]):
            switched.backward(loss_fn.backward())
        optimizer.step()
        optimizer.clear_grad()
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_use_backend_is_of_its_own_thread(backend):
    other = {"numba": "numpy", "numpy": "numba"}[backend]
    default = os.environ.get("FASTNP_BACKEND") or "numba"
    inside, checked, seen = threading.Event(), threading.Event(), []

    def work():
        seen.append(nn.get_backend())
        with nn.use_backend(other):
            inside.set()
            checked.wait(10)
            seen.append(nn.get_backend())
        seen.append(nn.get_backend())

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    assert nn.get_backend() == backend
    checked.set()
    thread.join()
    assert seen == [default, other, default]


def test_use_backend_is_undone_after_an_error(backend):
    with pytest.raises(RuntimeError), nn.use_backend("numpy"):
        raise RuntimeError
    assert nn.get_backend() == backend


def test_set_backend_is_for_all_threads(monkeypatch):
    monkeypatch.setattr("fastnp.backend.process", "numba")  # afterwards it is again what it was
    seen = []
    nn.set_backend("numpy")
    thread = threading.Thread(target=lambda: seen.append(nn.get_backend()))
    thread.start()
    thread.join()
    assert seen == ["numpy"]


def test_the_library_draws_random_numbers_only_to_start_and_to_shuffle():
    model = build(3, 8, 2)
    before = np.random.get_state()[1:3]
    train(model, sgd(model), list(nn.DataLoader(nn.ArrayDataset(*batches(3, 2, count=1)[0]), batch_size=2)))
    pickle.loads(pickle.dumps(model))
    copy.deepcopy(model)
    after = np.random.get_state()[1:3]
    assert (before[0] == after[0]).all()
    assert before[1] == after[1]


RUN = """
import numpy as np, fastnp
model = fastnp.Sequential(fastnp.Linear(2, 3), fastnp.ReLU(), fastnp.Linear(3, 1))
optimizer, loss_fn = fastnp.SGD(parameters=model.parameters()), fastnp.MSE()
for _ in range(3):
    loss_fn(model(np.ones((4, 2))), np.zeros((4, 1)))
    model.backward(loss_fn.backward())
    optimizer.step()
print(fastnp.get_backend(), model(np.ones((1, 2))).shape, "numba" in sys.modules)
"""


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys\n" + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def once(backend):
    """Skip the second backend: the process chooses its own."""
    if backend == "numpy":
        pytest.skip("runs once")


@pytest.mark.parametrize(("name", "loaded"), [("numpy", False), ("numba", True), ("", True)])
def test_the_environment_chooses_the_backend(once, name, loaded):
    done = python(RUN, FASTNP_BACKEND=name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == f"{name or 'numba'} (1, 1) {loaded}"


def test_the_environment_names_an_unknown_backend(once):
    done = python("import fastnp", FASTNP_BACKEND="cuda")
    assert done.returncode != 0
    assert "FASTNP_BACKEND" in done.stderr
    assert "'cuda'" in done.stderr
    assert "'numba', 'numpy'" in done.stderr


def test_without_numba_it_says_so_once_and_runs(once):
    done = python("sys.modules['numba'] = None" + RUN + RUN, FASTNP_BACKEND="")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Numba cannot be used") == 1
    assert done.stdout.count("(1, 1)") == 2


def test_importing_fastnp_does_not_import_numba(once):
    done = python("import fastnp\nfastnp.Sequential(fastnp.Linear(1, 1))\nprint('numba' in sys.modules)")
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_a_quiet_run_prints_nothing(once):
    done = python(RUN, FASTNP_QUIET="1")
    assert (done.returncode, done.stderr) == (0, "")
