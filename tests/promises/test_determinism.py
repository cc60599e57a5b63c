"""The same seed gives the same bits: twice, elsewhere, on any number of threads, whatever ran before."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastnp as nn

HOW = ["loop", "fit", "reshuffle", "double", "clipped"]


def train(how, seed=0, epochs=4):
    """Train a network drawn from a seed; returns its losses, parameters, velocities and predictions in one digest."""
    rng = np.random.default_rng(seed)
    dtype = np.float64 if how == "double" else np.float32
    init = nn.HeNormal(rng=rng)
    model = nn.Sequential(
        nn.Linear(5, 17, weight_attr=init, dtype=dtype),
        nn.ReLU(),
        nn.Linear(17, 33, weight_attr=init, dtype=dtype),
        nn.ReLU(),
        nn.Linear(33, 3, weight_attr=init, dtype=dtype),
    )
    X, Y = rng.normal(size=(41, 5)), rng.normal(size=(41, 3))
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), shuffle=True, batch_size=6, reshuffle=how == "reshuffle", rng=rng)
    loss_fn, losses = nn.MSE(), []
    cls, options = nn.SGD, {"learning_rate": 0.02, "weight_decay": 0.01}
    if how == "clipped":
        cls, options = nn.Adam, {"learning_rate": nn.schedules.Cosine(0.02, 25, 3), "clip_norm": 0.5}
    optimizer = cls(parameters=model.parameters(), **options)
    if how == "loop":
        for _ in range(epochs):
            total = 0.0
            for x, y in loader:
                total += loss_fn(model(x), y)
                model.backward(loss_fn.backward())
                optimizer.step()
                optimizer.clear_grad()
            losses.append(total / len(loader))
    else:
        losses = nn.fit(model, loss_fn, optimizer, loader, epochs, progress=False).loss
    digest = hashlib.sha256(np.array(losses).tobytes())
    kept = [array for name in cls._kernel_rule.kept for array in getattr(optimizer, name)]
    for array in [p.data for p in model.parameters()] + kept + [model.predict(X)]:
        assert np.isfinite(array).all()
        digest.update(array.tobytes())
    return digest.hexdigest()


def digests(seeds=(0, 1)):
    """One line for each way of training and each seed."""
    return "".join(f"{how} {seed} {train(how, seed)}\n" for how in HOW for seed in seeds)


def poison():
    """Fill and free memory of many sizes, so that what is allocated next, uncleared, holds NaN."""
    held = [np.full(size, np.nan, np.float32) for size in [2**k + d for k in range(3, 18) for d in (-3, 0, 16)] * 3]
    del held


@pytest.fixture(params=["numba", "numpy"])
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


def test_digests_tell_seeds_and_ways_apart(backend):
    """Else the tests below could not fail. `fit` without reshuffling is the loop, to the bit."""
    found = {(how, seed): train(how, seed) for how in HOW for seed in (0, 1)}
    assert found["loop", 0] == found["fit", 0]
    assert found["loop", 1] == found["fit", 1]
    assert len(set(found.values())) == 2 * (len(HOW) - 1)
    assert train("fit", epochs=5) != found["fit", 0]


@pytest.mark.parametrize("how", HOW)
def test_twice_in_a_process(how, backend):
    assert train(how) == train(how)


@pytest.mark.parametrize("how", HOW)
def test_whatever_lay_in_memory_before(how, backend):
    expected = train(how)
    for _ in range(5):
        poison()
        assert train(how) == expected


@pytest.mark.parametrize("how", HOW)
def test_whatever_ran_before(how, backend):
    expected = train(how)
    others = []
    for width in 3, 64:  # other models, kept alive, one of them diverged
        model = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))
        optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.1)
        loader = nn.DataLoader(nn.ArrayDataset(np.ones((9, 2)), np.ones((9, 1))), batch_size=4)
        nn.fit(model, nn.MSE(), optimizer, loader, 3, progress=False)
        model.parameters()[0].data[:] = np.nan
        with pytest.raises(nn.DivergedError):
            nn.fit(model, nn.MSE(), optimizer, loader, 3, progress=False)
        others.append((model, optimizer))
    assert np.isnan(others[0][0](np.ones((3, 2)))).all()
    np.random.normal(size=7)
    assert train(how) == expected


def test_other_rows_in_a_workspace_that_was_larger(backend):
    """Rows that a larger batch left behind do not show, not even as NaN."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 9, weight_attr=nn.HeNormal(rng=rng)), nn.ReLU(), nn.Linear(9, 2))
    x, g = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))

    def results():
        for tensor in model.parameters():
            tensor.grad = np.zeros(tensor.shape)
        y = model(x)
        dx = model.backward(g)
        return [y, dx, model.predict(x), *(tensor.grad.copy() for tensor in model.parameters())]

    expected = results()
    model(np.full((30, 3), np.nan))
    model.backward(np.full((30, 2), np.nan))
    model.predict(np.full((30, 3), np.nan))
    for mine, theirs in zip(results(), expected, strict=True):
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("threads", [1, 8])
def test_on_one_thread_and_on_eight(threads, backend):
    """Each thread starts the same trainings, in an order of its own."""
    work = [(how, seed) for how in HOW for seed in (0, 1)]
    expected = {(how, seed): train(how, seed) for how, seed in work}
    found, start = [], threading.Barrier(threads)

    def run(i):
        start.wait()
        with nn.use_backend(backend):
            found.extend((each, train(*each)) for each in work[i:] + work[:i])

    running = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(found) == threads * len(work)
    assert all(digest == expected[each] for each, digest in found)


@pytest.mark.parametrize("settings", [{"PYTHONHASHSEED": "1", "NUMBA_NUM_THREADS": "1"}, {"PYTHONMALLOC": "malloc"}])
def test_in_another_process(settings):
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parents[1]), os.environ.get("PYTHONPATH", "")])
    code = "import test_determinism as t; print(t.digests(), end='')"
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")}
    env |= {"PYTHONPATH": path, "FASTNP_QUIET": "1", "FASTNP_BACKEND": nn.get_backend()} | settings
    if sys.platform.startswith("linux"):
        env["MALLOC_PERTURB_"] = "165"  # glibc fills what is freed and what is allocated
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == digests()
