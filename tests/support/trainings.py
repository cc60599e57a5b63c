"""Small trainings made anew from seeds, their bits, and whether a model is whole; calls in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from products import matrix_product

import fastnp as nn

SUPPORT = Path(__file__).parent

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(11, 3)), RNG.normal(size=(11, 2))


class Own(nn.Layer):
    """Makes `fit` run the loop."""

    def forward(self, x):
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


def training(own=False, reshuffle=False, dataset=None):
    """Model, loss, optimizer and loader, made anew from seeds."""
    init = nn.HeNormal(rng=np.random.default_rng(0))
    model = nn.Sequential(
        *[Own()] * own, nn.Linear(3, 16, weight_attr=init), nn.ReLU(), nn.Linear(16, 2, weight_attr=init)
    )
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.01)
    dataset = nn.ArrayDataset(X, Y) if dataset is None else dataset
    loader = nn.DataLoader(dataset, shuffle=True, batch_size=4, reshuffle=reshuffle, rng=np.random.default_rng(2))
    return model, nn.MSE(), optimizer, loader


def fit(parts, epochs, **options):
    return nn.fit(*parts, epochs, progress=False, **options).loss


def loop(parts, epochs):
    model, loss_fn, optimizer, loader = parts
    for _ in range(epochs):
        for x, y in loader:
            loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()


def bits(parts):
    """Parameters and velocities."""
    model, _, optimizer, _ = parts
    return b"".join(array.tobytes() for array in [*(p.data for p in model.parameters()), *optimizer.velocity])


def assert_whole(parts):
    """Outputs are those of the parameters, for batches of several sizes, and training goes on."""
    model, loss_fn, optimizer, _ = parts
    for rows in 2, 4, 3, 11, 64, 1:
        x, y = np.resize(X, (rows, 3)), np.resize(Y, (rows, 2))
        w, b, v, c = (p.data.astype(np.float64) for p in model.parameters())
        factor = 2 if isinstance(model.graphs[0], Own) else 1
        expected = matrix_product(np.maximum(matrix_product(factor * x, w) + b, 0), v) + c
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(model(x), expected, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(model.predict(x), expected, atol=1e-4, rtol=1e-4)
        optimizer.clear_grad()
        loss_fn(model(x), y)
        model.backward(loss_fn.backward())
        np.testing.assert_allclose(model.parameters()[-1].grad, loss_fn.backward().sum(axis=0)[None], atol=1e-4)
        optimizer.step()
        optimizer.clear_grad()
    assert np.isfinite(fit(parts, 3)).all()


def states_after(updates, **options):
    """The bits after each number of updates, from 0 on."""
    parts = training(**options)
    model, loss_fn, optimizer, loader = parts
    states = [bits(parts)]
    while len(states) <= updates:
        for x, y in loader:
            loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
            states.append(bits(parts))
    return states


def alone(module, call, cache=None, **environment):
    """Run a call of a test module in a process of its own; returns its stderr, and fails where it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FASTNP_")} | environment
    folders = Path(sys.modules[module].__file__).parent, SUPPORT, SUPPORT.parents[1]
    env["PYTHONPATH"] = os.pathsep.join([*map(str, folders), env.get("PYTHONPATH", "")])
    if cache is not None:
        env["NUMBA_CACHE_DIR"] = str(cache)
    code = f"import {module}; {module}.{call}"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-2000:]}"
    return done.stderr
