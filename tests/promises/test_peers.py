"""The same weights and batches through PyTorch, step by step; real data from scikit-learn through `fit`."""

import itertools

import numpy as np
import pytest
from bounds import unit_roundoff
from products import matrix_product

import fastnp as nn
from fastnp.backend import BACKENDS

backends = pytest.mark.parametrize("backend", BACKENDS)

WIDTHS = (7, 24, 33, 3)
RATE = 0.05
STEPS = 100


def network(dtype, widths=WIDTHS, seed=0):
    rng = np.random.default_rng(seed)
    model = nn.Sequential()
    for n_in, n_out in itertools.pairwise(widths):
        if model.graphs:
            model.add(nn.ReLU())
        model.add(nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=dtype))
        model.graphs[-1].bias.data = 0.1 * rng.normal(size=(1, n_out))
    return model


class TorchTwin:
    """The same network and optimizer in PyTorch."""

    def __init__(self, torch, model, optimizer, dtype):
        self.torch = torch
        layers = []
        for layer in model.graphs:
            if isinstance(layer, nn.Linear):
                layers.append(torch.nn.Linear(*layer.weights.shape, dtype=dtype))
            else:
                layers.append(torch.nn.ReLU())
        self.net = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=optimizer.learning_rate,
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
        )

    def load(self, model, optimizer):
        """Take up the parameters and velocities of the fastnp model."""
        with self.torch.no_grad():
            for p, tensor, v in zip(self.net.parameters(), model.parameters(), optimizer.velocity, strict=True):
                p.copy_(self.torch.from_numpy(tensor.data.copy()).T.reshape(p.shape))
                if optimizer.momentum:  # a buffer of zeros is what the first step starts from
                    stored = self.torch.from_numpy(v.copy()).T.reshape(p.shape).clone()
                    self.optimizer.state[p]["momentum_buffer"] = stored

    def step(self, x, y):
        """One step; the loss, and gradient, velocity and value of each parameter in fastnp's shapes."""
        x, y = self.torch.from_numpy(x), self.torch.from_numpy(y)
        self.optimizer.zero_grad()
        loss = 0.5 * self.torch.nn.functional.mse_loss(self.net(x), y)
        loss.backward()
        self.optimizer.step()

        def shaped(t):
            return t.detach().numpy().T if t.ndim == 2 else t.detach().numpy()[np.newaxis]

        parameters = list(self.net.parameters())
        state = self.optimizer.state
        velocities = [shaped(state[p]["momentum_buffer"]) if state[p].get("momentum_buffer") is not None else None
                      for p in parameters]  # fmt: skip
        return loss.item(), [shaped(p.grad) for p in parameters], velocities, [shaped(p) for p in parameters]


def magnitudes(model, x, y):
    """How large the terms are that a step sums: |x||W| + |b| and so on, layer by layer, in float64.

    Returns the loss gradient's bound and, for each parameter, the sum of the magnitudes of its terms.
    """
    linear = [layer for layer in model.graphs if isinstance(layer, nn.Linear)]
    value, size, inputs, masks = x.astype(np.float64), np.abs(x).astype(np.float64), [], []
    for i, layer in enumerate(linear):
        inputs.append(size)
        w, b = layer.weights.data.astype(np.float64), layer.bias.data.astype(np.float64)
        value, size = matrix_product(value, w) + b, matrix_product(size, np.abs(w)) + np.abs(b)
        if i + 1 < len(linear):
            masks.append(value > 0)
            value, size = np.where(value > 0, value, 0), np.where(value > 0, size, 0)
    d = (size + np.abs(y)) / y.size
    sizes = []
    for i in reversed(range(len(linear))):
        sizes[:0] = [matrix_product(inputs[i].T, d), d.sum(axis=0, keepdims=True)]
        if i:
            d = np.where(masks[i - 1], matrix_product(d, np.abs(linear[i].weights.data.astype(np.float64)).T), 0)
    return sizes


def kink_is_near(model, x, dtype):
    """Whether a ReLU's input lies so close to 0 that two correct programs may disagree about its sign."""
    value, size = x.astype(np.float64), np.abs(x).astype(np.float64)
    for layer in model.graphs:
        if isinstance(layer, nn.Linear):
            w, b = layer.weights.data.astype(np.float64), layer.bias.data.astype(np.float64)
            value, size = matrix_product(value, w) + b, matrix_product(size, np.abs(w)) + np.abs(b)
        else:
            if (np.abs(value) <= 200 * unit_roundoff(dtype) * size).any():
                return True
            value, size = np.maximum(value, 0), np.where(value > 0, size, 0)
    return False


def terms(model, batch):
    """How many roundings lie on the longest way through a step: γ of this, times `magnitudes`, bounds the error.

    Forward and backward each pass every layer once (n_in + 1 and n_out terms), then the sum over the batch.
    """
    shapes = [layer.weights.shape for layer in model.graphs if isinstance(layer, nn.Linear)]
    return sum(n_in + 1 + n_out for n_in, n_out in shapes) + batch + 4


@backends
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.0), (0.9, 0.02), (0.0, 0.0), (0.0, 0.02)])
def test_every_step_in_torch(backend, dtype, momentum, weight_decay):
    """PyTorch starts each step from fastnp's state, so that errors do not add up over the steps.

    Both err by at most γ_m times the magnitudes of the terms, from the exact result; m is `terms`.
    """
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    model = network(dtype)
    optimizer = nn.SGD(momentum, model.parameters(), RATE, weight_decay)
    loss_fn = nn.MSE()
    twin = TorchTwin(torch, model, optimizer, getattr(torch, np.dtype(dtype).name))
    worst, compared = 0.0, 0
    with nn.use_backend(backend):
        for step in range(STEPS):
            batch = (4, 1, 17, 8)[step % 4]
            x, y = rng.normal(size=(batch, WIDTHS[0])).astype(dtype), rng.normal(size=(batch, 3)).astype(dtype)
            mu = terms(model, batch) * unit_roundoff(dtype)
            gamma = 2 * mu / (1 - mu)
            bounds = [gamma * size for size in magnitudes(model, x, y)]
            kink = kink_is_near(model, x, dtype)
            before = [tensor.data.astype(np.float64) for tensor in model.parameters()]
            old = [v.astype(np.float64) for v in optimizer.velocity]
            twin.load(model, optimizer)
            loss = loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            gradients = [tensor.grad.copy() for tensor in model.parameters()]
            optimizer.step()
            optimizer.clear_grad()
            expected_loss, *expected = twin.step(x, y)
            if kink:
                continue
            compared += 1
            assert loss == pytest.approx(expected_loss, rel=float(100 * gamma))
            mine = gradients, optimizer.velocity, [tensor.data for tensor in model.parameters()]
            for i, bound in enumerate(bounds):
                # Three roundings more in a velocity, of terms no larger than these; two more in a parameter.
                u = unit_roundoff(dtype)
                v_bound = bound + 6 * u * (np.abs(momentum * old[i]) + np.abs(gradients[i])) + 6 * u * np.abs(
                    weight_decay * before[i]
                )  # fmt: skip
                p_bound = RATE * v_bound + 4 * u * (np.abs(before[i]) + RATE * np.abs(optimizer.velocity[i]))
                for kind, limit in enumerate((bound, v_bound, p_bound)):
                    if expected[kind][i] is None:  # PyTorch keeps no velocity without momentum
                        continue
                    error = np.abs(mine[kind][i].astype(np.float64) - expected[kind][i])
                    assert mine[kind][i].shape == expected[kind][i].shape
                    worst = max(worst, float((error / (limit + np.finfo(dtype).tiny)).max()))
                    assert (error <= limit + np.finfo(dtype).tiny).all(), (step, i, kind)
    assert compared >= 0.8 * STEPS
    assert worst > 0  # two programs of one origin would agree to the bit


@backends
def test_a_hundred_steps_in_torch_without_starting_anew(backend):
    """In float64, where errors of 1e-16 have not grown far after 100 steps."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    model = network(np.float64)
    optimizer = nn.SGD(0.9, model.parameters(), RATE, 0.01)
    loss_fn = nn.MSE()
    twin = TorchTwin(torch, model, optimizer, torch.float64)
    twin.load(model, optimizer)
    twin.optimizer.state.clear()  # PyTorch's own first step: its velocity is the gradient
    with nn.use_backend(backend):
        for _ in range(STEPS):
            x, y = rng.normal(size=(8, WIDTHS[0])), rng.normal(size=(8, 3))
            loss = loss_fn(model(x), y)
            model.backward(loss_fn.backward())
            optimizer.step()
            optimizer.clear_grad()
            expected_loss, _, velocities, parameters = twin.step(x, y)
            assert loss == pytest.approx(expected_loss, rel=1e-10)
            for tensor, p in zip(model.parameters(), parameters, strict=True):
                np.testing.assert_allclose(tensor.data, p, rtol=0, atol=1e-11)
            for mine, v in zip(optimizer.velocity, velocities, strict=True):
                np.testing.assert_allclose(mine, v, rtol=0, atol=1e-11)


def real_data(name):
    datasets = pytest.importorskip("sklearn.datasets")
    if name == "diabetes":
        X, y = datasets.load_diabetes(return_X_y=True)
        X, Y = X / X.std(axis=0), ((y - y.mean()) / y.std())[:, np.newaxis]
    else:
        X, y = datasets.load_digits(return_X_y=True)
        X, Y = X / 16, np.eye(10)[y]
    return X, Y


@backends
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "factor"), [("diabetes", 0.9), ("digits", 0.35)])
def test_real_data_is_learned(backend, dtype, name, factor):
    X, Y = real_data(name)
    model = network(dtype, (X.shape[1], 32, Y.shape[1]))
    optimizer = nn.SGD(parameters=model.parameters(), learning_rate=0.01 if name == "diabetes" else 0.1)
    loader = nn.DataLoader(nn.ArrayDataset(X, Y), shuffle=True, batch_size=32, rng=np.random.default_rng(3))
    with nn.use_backend(backend):
        loss = nn.fit(model, nn.MSE(), optimizer, loader, 10, progress=False).loss
        assert loss[-1] < factor * loss[0]
        if name == "digits":
            right = np.mean(model.predict(X).argmax(axis=1) == Y.argmax(axis=1))
            assert right > 0.9
        else:
            residual = np.mean((model.predict(X) - Y) ** 2)
            assert residual < 0.6  # of the variance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["diabetes", "digits"])
def test_the_backends_agree_on_each_step_over_real_data(dtype, name):
    """One `fit` of one batch a step, NumPy from the state that Numba has reached."""
    X, Y = (a.astype(dtype) for a in real_data(name))
    models = [network(dtype, (X.shape[1], 32, Y.shape[1])) for _ in BACKENDS]
    optimizers = [nn.SGD(parameters=model.parameters(), learning_rate=0.02, weight_decay=0.01) for model in models]
    compared = 0
    u = unit_roundoff(dtype)
    for step in range(12):
        x, y = X[step * 32 : step * 32 + 32], Y[step * 32 : step * 32 + 32]
        for mine, theirs in zip(models[1].parameters(), models[0].parameters(), strict=True):
            mine.data = theirs.data
        for mine, theirs in zip(optimizers[1].velocity, optimizers[0].velocity, strict=True):
            mine[...] = theirs
        mu = terms(models[0], len(x)) * u
        bounds = [2 * mu / (1 - mu) * size for size in magnitudes(models[0], x, y)]
        kink = kink_is_near(models[0], x, dtype)
        old = [(tensor.data.copy(), v.copy()) for tensor, v in zip(
            models[0].parameters(), optimizers[0].velocity, strict=True)]  # fmt: skip
        losses = []
        for backend, model, optimizer in zip(BACKENDS, models, optimizers, strict=True):
            loader = nn.DataLoader(nn.ArrayDataset(x, y), batch_size=32)
            with nn.use_backend(backend):
                losses += nn.fit(model, nn.MSE(), optimizer, loader, 1, progress=False).loss
        if kink:
            continue
        compared += 1
        assert losses[0] == pytest.approx(losses[1], rel=float(200 * mu))
        pairs = zip(*(zip(m.parameters(), o.velocity, strict=True) for m, o in zip(models, optimizers, strict=True)),
                    bounds, old, strict=True)  # fmt: skip
        for (tensor, v), (other, other_v), bound, (p0, v0) in pairs:
            limit = bound + 8 * u * (0.9 * np.abs(v0) + np.abs(v) + 0.01 * np.abs(p0)) + np.finfo(dtype).tiny
            assert (np.abs(v.astype(np.float64) - other_v) <= limit).all()
            limit = 0.02 * limit + 4 * u * (np.abs(p0) + 0.02 * np.abs(v)) + np.finfo(dtype).tiny
            assert (np.abs(tensor.data.astype(np.float64) - other.data) <= limit).all()
    assert compared >= 6
