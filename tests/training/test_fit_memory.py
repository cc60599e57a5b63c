"""Memory: nothing is allocated per step, and mapped data stays on the disk."""

import os
import subprocess
import sys
import tracemalloc

import pytest
from fits import Double, backend, data, fit, setup

import fastnp as nn

__all__ = ["backend"]


@pytest.mark.parametrize("layers", [[(3, 2)], [(3, 2), Double]], ids=["kernel", "loop"])
def test_nothing_is_allocated_per_step(layers):
    """3,000 steps take no more memory than 100, but for the numbers in the history: not a pointer each."""
    run = setup(layers, data(100), batch_size=1, sgd={"learning_rate": 1e-5})
    fit(run, 1)

    def traced(epochs):
        history = nn.History()
        tracemalloc.start()
        try:
            fit(run, epochs, history=history)
            return tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    (kept, peak), (kept_long, peak_long) = traced(1), traced(30)
    assert kept_long - kept < 16_000
    assert peak_long - peak < 16_000


MAPPED = """
import sys, threading, time
import numpy as np
import fastnp as nn

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) // 1024

def training(X, Y):
    model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=1e-4)
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), shuffle=True, batch_size=256, reshuffle=True)
    return model, nn.MSE(), optimizer, loader

rows, columns = 400_000, slice(None, None, int(sys.argv[2]))
X = np.memmap(sys.argv[1], np.float32, "w+", shape=(rows, 128))
for start in range(0, rows, 10_000):
    X[start : start + 10_000] = np.arange(start, start + 10_000)[:, None] % 7 - 3.0
X = np.memmap(sys.argv[1], np.float32, "r", shape=(rows, 128))[:, columns]
Y = X[:, :1]
nn.fit(*training(X[:512], Y[:512]), 2, validation=(X[:512], Y[:512]))
before = most = anonymous()
finished = threading.Event()

def watch():
    global most
    while not finished.is_set():
        most = max(most, anonymous())
        time.sleep(0.002)

thread = threading.Thread(target=watch)
thread.start()
parts = training(X, Y)
history = nn.fit(*parts, 1, validation=(X, Y))
finished.set()
thread.join()
assert np.isfinite(history.loss).all()
print(X.nbytes // 2**20, max(most, anonymous()) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("step", "backend"),
    [
        (1, "numba"),
        (2, "numpy"),
        pytest.param(2, "numba", marks=pytest.mark.slow),
        pytest.param(1, "numpy", marks=pytest.mark.slow),
    ],
)
def test_mapped_data_stays_on_the_disk(step, tmp_path, backend):
    path = tmp_path / "X"
    code = [sys.executable, "-c", MAPPED, str(path), str(step)]
    try:
        done = subprocess.run(
            code, env=os.environ | {"FASTNP_BACKEND": backend}, capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        path.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    size, grown = map(int, done.stdout.split())
    assert size * step > 190
    assert grown < 50
