"""What tests of `fit` share: trainings made anew from seeds, by `fit` and by the loop, and all that is seen of them."""

from types import SimpleNamespace

import numpy as np
import pytest

import fastnp as nn
from fastnp.program.program import Program
from fastnp.training import ahead, compiled


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


@pytest.fixture
def unhurried(monkeypatch):
    """As many batches in each call as there is room for, however busy the machine is."""
    _take_time(monkeypatch)


def _take_time(monkeypatch):
    for module in ahead, compiled:
        monkeypatch.setattr(module, "SECONDS_PER_CALL", 1e9)


@pytest.fixture
def kernel_calls(monkeypatch):
    """A list that grows by (epochs, rows) with every call of the whole-run kernel."""
    calls, train = [], Program.train
    _take_time(monkeypatch)

    def counted(self, losses, job, *others):
        calls.append((len(losses), job.rows))
        return train(self, losses, job, *others)

    monkeypatch.setattr(Program, "train", counted)
    return calls


class Double(nn.Layer):
    """A layer of a user's own: makes `fit` run the loop."""

    def forward(self, x):
        self.seen = x.copy()
        return 2 * x

    def backward(self, gradient):
        return 2 * gradient


def build(layers, dtype=np.float32, seed=0):
    """A Sequential of (n_in, n_out), "relu" and classes or objects, with the weights of a seed."""
    rng = np.random.default_rng(seed)
    made = []
    for layer in layers:
        if isinstance(layer, tuple):
            made.append(nn.Linear(*layer, weight_attr=nn.HeNormal(rng=rng), dtype=dtype))
            made[-1].bias.data = 0.1 * rng.normal(size=(1, layer[1]))
        else:
            made.append(nn.ReLU() if layer == "relu" else layer())
    return nn.Sequential(*made)


def data(rows=23, n_in=3, n_out=2, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, n_in)), rng.normal(size=(rows, n_out))


CHAIN = [(3, 20), "relu", (20, 5), "relu", (5, 2)]


def setup(layers=CHAIN, arrays=None, dtype=np.float32, optimizer_of=nn.SGD, sgd=(), loss=(), loss_of=nn.MSE, **loader):
    """Everything that a training needs, made anew from seeds; `arrays` are X, Y and, where there are any, weights."""
    model = build(layers, dtype)
    optimizer = optimizer_of(**{"parameters": model.parameters(), "learning_rate": 0.02} | dict(sgd))
    rng = np.random.default_rng(5)
    np.random.seed(6)
    options = {"shuffle": True, "batch_size": 5} | loader
    if options.pop("own_rng", True):
        options["rng"] = rng
    return SimpleNamespace(
        model=model,
        loss_fn=loss_of(**dict(loss)),
        optimizer=optimizer,
        loader=nn.DataLoader(nn.ArrayDataset(*data() if arrays is None else arrays), **options),
        rng=rng,
    )


def fit(run, epochs, **options):
    return nn.fit(run.model, run.loss_fn, run.optimizer, run.loader, epochs, **options).loss


def loop(run, epochs, after=lambda epoch: None):
    """The tutorial's loop."""
    losses = []
    for epoch in range(epochs):
        total, batches = 0.0, 0
        for x, y, *weight in run.loader:
            pred = run.model(x)
            loss = run.loss_fn(pred, y, *weight)
            grad = run.loss_fn.backward()
            run.model.backward(grad)
            run.optimizer.step()
            run.optimizer.clear_grad()
            total += float(np.mean(loss))
            batches += 1
        losses.append(total / batches)
        after(epoch)
    return losses


def kept(optimizer):
    """What an optimizer keeps of its parameters, as {name: arrays}."""
    return {name: getattr(optimizer, name) for name in optimizer._kernel_rule.kept}


def state(run):
    """All that a user can see of a training, as {name: array}."""
    seen = {}
    for i, tensor in enumerate(run.optimizer.parameters):
        seen |= {f"data {i}": tensor.data, f"grad {i}": tensor.grad}
    for name, arrays in kept(run.optimizer).items():
        seen |= {f"{name} {i}": array for i, array in enumerate(arrays)}
    seen |= {"updates": run.optimizer.updates, "learning_rate": run.optimizer.learning_rate}
    for i, layer in enumerate(run.model.graphs):
        for name in "input", "activated", "seen":
            if hasattr(type(layer), name) or hasattr(layer, name):
                seen[f"{name} {i}"] = getattr(layer, name)
    seen |= {"pred": run.loss_fn.pred, "target": run.loss_fn.target, "dpred": run.loss_fn.backward()}
    seen |= {"drawn": run.rng.bit_generator.state, "order": run.loader.sampler.indices}
    seen["drawn globally"] = np.random.get_state()[1].copy()
    return {name: np.copy(value) for name, value in seen.items()}


def assert_same(mine, theirs):
    """Two trainings, or their states, are the same."""
    mine, theirs = (each if isinstance(each, dict) else state(each) for each in (mine, theirs))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert value.dtype == theirs[name].dtype and value.shape == theirs[name].shape, name
        assert np.array_equal(value, theirs[name]), name


def compare(epochs=4, **options):
    """Train by `fit` and by the loop: the same losses and state; and one step more from that state, too."""
    run = setup(**options)
    losses, seen = fit(run, epochs), state(run)
    other = setup(**options)
    assert losses == (expected := loop(other, epochs))
    assert_same(seen, other)
    assert len(set(expected)) == epochs
    gradients = [each.model.backward(each.loss_fn.backward()) for each in (run, other)]
    assert np.array_equal(*gradients)
    assert_same(run, other)
    assert any(tensor.grad.any() for tensor in run.model.parameters())
