"""Models: users' own parts, shared layers, input layouts, pickles, backends."""

import copy
import itertools
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


@pytest.fixture
def numba():
    """For what only the compiled kernels promise."""
    with nn.use_backend("numba"):
        yield


def build(*widths, seed=0, dtype=np.float32):
    """Linear, ReLU, Linear, … with the weights of a seed."""
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.ReLU()] if layers else []
        layers.append(nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=rng), dtype=dtype))
        layers[-1].bias.data = rng.normal(size=(1, n_out))
    return nn.Sequential(*layers)


def batches(n_in, n_out, count=6, size=5, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(size, n_in)), rng.normal(size=(size, n_out))) for _ in range(count)]


def sgd(model, **options):
    return nn.SGD(**{"parameters": model.parameters(), "learning_rate": 0.05} | options)


def train(model, optimizer, data, loss_fn=None):
    loss_fn = loss_fn or nn.MSE()
    losses = []
    for x, y in data:
        losses.append(loss_fn(model(x), y))
        model.backward(loss_fn.backward())
        optimizer.step()
        optimizer.clear_grad()
    return losses


def values(model):
    return [p.data.copy() for p in model.parameters()]


def gradients(model):
    return [p.grad.copy() for p in model.parameters()]


def assert_same_bits(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert a.tobytes() == b.tobytes()


# --- the tutorial's program ---


def test_the_tutorials_program_runs_and_learns(tmp_path):
    rng = np.random.default_rng(0)
    points = np.linspace(-np.pi, np.pi, 200).reshape(-1, 1)
    np.save(tmp_path / "x.npy", points)
    np.save(tmp_path / "y.npy", 2 * np.sin(points) + rng.normal(0, 0.1, points.shape))

    class LinearDataset(nn.Dataset):
        def __init__(self, X, Y):
            self.X = X
            self.Y = Y

        def __len__(self):
            return len(self.X)

        def __getitem__(self, idx):
            return self.X[idx], self.Y[idx]

    np.random.seed(4)
    X = np.load(tmp_path / "x.npy")
    Y = np.load(tmp_path / "y.npy")
    index = np.random.choice(range(200), 100, replace=False)
    dataloader = nn.DataLoader(LinearDataset(X[index], Y[index]), shuffle=True, batch_size=4, drop_last=True)
    model = nn.Sequential(
        nn.Linear(1, 16, name="linear1"),
        nn.ReLU(name="relu1"),
        nn.Linear(16, 64, name="linear2"),
        nn.ReLU(name="relu2"),
        nn.Linear(64, 16, name="linear3"),
        nn.ReLU(name="relu3"),
        nn.Linear(16, 1, name="linear4"),
    )
    opt = nn.SGD(parameters=model.parameters(), learning_rate=0.01, weight_decay=0.0, decay_type="l2")
    loss_fn = nn.MSE()
    losses = []
    for _ in range(300):
        total = 0
        for x, y in dataloader:
            pred = model(x)
            loss = loss_fn(pred, y)
            grad = loss_fn.backward()
            model.backward(grad)
            opt.step()
            opt.clear_grad()
            total += loss
        losses.append(total / len(dataloader))
    assert losses[0] > 0.8
    assert losses[-1] < 0.1

    grid = np.linspace(-np.pi, np.pi, 500).reshape(-1, 1)
    outputs = [model(x) for x, _ in nn.DataLoader(LinearDataset(grid, grid), batch_size=2)]
    fit = np.stack(outputs).reshape(-1, 1)
    assert np.mean((fit - 2 * np.sin(grid)) ** 2) < 0.1

    printed = [
        "\n".join(map(str, (layer.name, layer.weights.data, layer.bias.data)))
        for layer in model.graphs
        if isinstance(layer, nn.Linear)
    ]
    assert [text.split("\n")[0] for text in printed] == ["linear1", "linear2", "linear3", "linear4"]
    for text, layer in zip(printed, model.graphs[::2], strict=True):
        last = float(text.replace("[", " ").strip("]").split()[-1])
        assert last == pytest.approx(layer.bias.data[0, -1], rel=1e-4, abs=1e-7)


# --- against a plain NumPy oracle in double ---


def oracle(model, data, momentum, learning_rate, weight_decay):
    """Losses of the textbook's formulas, from the model's present parameters, in double."""
    p = [value.astype(np.float64) for value in values(model)]
    v = [np.zeros_like(value) for value in p]
    losses = []
    for x, y in data:
        inputs = [x]
        for i in range(0, len(p), 2):
            z = inputs[-1] @ p[i] + p[i + 1]
            inputs.append(np.maximum(z, 0) if i + 2 < len(p) else z)
        losses.append(np.mean(0.5 * (inputs[-1] - y) ** 2))
        dy, g = (inputs[-1] - y) / y.size, [None] * len(p)
        for i in range(len(p) - 2, -1, -2):
            g[i], g[i + 1] = inputs[i // 2].T @ dy, dy.sum(axis=0, keepdims=True)
            dy = (dy @ p[i].T) * (inputs[i // 2] > 0)
        for i in range(len(p)):
            v[i] = momentum * v[i] + g[i] + weight_decay * p[i]
            p[i] = p[i] - learning_rate * v[i]
    return losses, p


@pytest.mark.parametrize("widths", [(1, 16, 1), (3, 17, 5, 2), (7, 1, 9)])
def test_training_in_double_follows_the_textbook(widths):
    model = build(*widths, dtype=np.float64)
    data = batches(widths[0], widths[-1], count=30)
    expected_losses, expected = oracle(model, data, 0.9, 0.02, 0.01)
    losses = train(model, sgd(model, learning_rate=0.02, weight_decay=0.01), data)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    for got, want in zip(values(model), expected, strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def test_training_in_single_stays_near_the_textbook():
    model, data = build(3, 17, 5, 2), batches(3, 2, count=20)
    expected_losses, _ = oracle(model, data, 0.9, 0.02, 0.0)
    np.testing.assert_allclose(train(model, sgd(model, learning_rate=0.02), data), expected_losses, rtol=1e-4)


# --- users' own parts ---


class Scale(nn.Layer):
    """y = s · x, one trained number."""

    def __init__(self, name="scale"):
        super().__init__(name)
        self.s = nn.Tensor((1, 1), np.float64)
        self.s.data = np.ones((1, 1))

    def forward(self, x):
        self.x = x
        return self.s.data * x

    def backward(self, gradient):
        self.s.grad += np.sum(gradient * self.x)
        return gradient * self.s.data

    def parameters(self):
        return [self.s]


class Residual(nn.Layer):
    """y = x + f(x), with a model of its own inside."""

    def __init__(self, width):
        super().__init__("residual")
        self.inside = build(width, 9, width, seed=3, dtype=np.float64)

    def forward(self, x):
        return x + self.inside(x)

    def backward(self, gradient):
        return gradient + self.inside.backward(gradient)

    def parameters(self):
        return self.inside.parameters()


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

    def backward(self, gradient):
        return super().backward(2 * gradient)


class Leaky(nn.ReLU):
    def forward(self, x):
        self.x = np.array(x)
        return np.where(x > 0, x, 0.1 * x)

    def backward(self, gradient):
        return gradient * np.where(self.x > 0, 1, 0.1)


class HandWritten(nn.Linear):
    """Both passes written out, as the tutorial's readers do."""

    def forward(self, x):
        self.input = x
        return np.matmul(x, self.weights.data) + self.bias.data

    def backward(self, gradient):
        self.weights.grad += np.matmul(self.input.T, gradient)
        self.bias.grad += np.sum(gradient, axis=0, keepdims=True)
        return np.matmul(gradient, self.weights.data.T)


class HandWrittenReLU(nn.ReLU):
    def forward(self, x):
        self.activated = np.maximum(x, 0)
        return self.activated

    def backward(self, gradient):
        return gradient * (self.activated > 0)


OWN = {
    "layer": Scale,
    "layer with a model inside": lambda: Residual(4),
    "subclass of Linear": lambda: Doubling(4, 4, dtype=np.float64),
    "subclass of ReLU": Leaky,
    "Linear written out": lambda: HandWritten(4, 4, dtype=np.float64),
    "ReLU written out": HandWrittenReLU,
}


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_gradients_with_a_users_own_layer_are_the_slope_of_the_loss(own, place):
    np.random.seed(0)
    first, second = nn.Linear(4, 4, dtype=np.float64), nn.Linear(4, 4, dtype=np.float64)
    for layer in first, second:
        layer.weights.data = np.random.normal(size=(4, 4))
    layers = [first, second]
    layers.insert(place, OWN[own]())
    model, loss_fn = nn.Sequential(*layers), nn.MSE()
    x, y = np.random.normal(size=(2, 6, 4))
    loss_fn(model(x), y)
    dx = model.backward(loss_fn.backward())
    grads = gradients(model)
    directions = [np.random.normal(size=p.shape) for p in model.parameters()]
    direction_x = np.random.normal(size=x.shape)

    def loss(eps):
        for p, direction in zip(model.parameters(), directions, strict=True):
            p.data += eps * direction
        value = loss_fn(model(x + eps * direction_x), y)
        for p, direction in zip(model.parameters(), directions, strict=True):
            p.data -= eps * direction
        return value

    slope = sum(np.sum(g * d) for g, d in zip(grads, directions, strict=True)) + np.sum(dx * direction_x)
    assert slope == pytest.approx((loss(1e-6) - loss(-1e-6)) / 2e-6, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("own", OWN)
def test_a_model_with_a_users_own_layer_learns(own):
    np.random.seed(0)
    model = nn.Sequential(
        nn.Linear(2, 4, weight_attr=nn.HeNormal()), OWN[own](), nn.Linear(4, 1, weight_attr=nn.HeNormal())
    )
    x = np.random.normal(size=(64, 2))
    losses = train(model, sgd(model, learning_rate=0.02), [(x, x[:, :1] - x[:, 1:])] * 400)
    assert losses[-1] < 0.2 * losses[0]


class Descent(nn.Optimizer):
    def step(self):
        for p in self.parameters:
            p.data = p.data - self.learning_rate * p.grad


def test_own_optimizer_equals_sgd_without_momentum():
    data = batches(3, 2)
    models = [build(3, 8, 2, dtype=np.float64) for _ in range(2)]
    train(models[0], Descent(models[0].parameters(), 0.05), data)
    train(models[1], sgd(models[1], momentum=0.0), data)
    for a, b in zip(*map(values, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_own_optimizer_with_decay():
    class Decaying(nn.Optimizer):
        def step(self):
            for p in self.parameters:
                p.data = p.data - self.learning_rate * (p.grad + self.get_decay(p.data))

    data = batches(3, 2)
    models = [build(3, 8, 2, dtype=np.float64) for _ in range(2)]
    train(models[0], Decaying(models[0].parameters(), 0.05, 0.1, "l1"), data)
    train(models[1], sgd(models[1], momentum=0.0, weight_decay=0.1, decay_type="l1"), data)
    for a, b in zip(*map(values, models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_own_initializers():
    class Ramp(nn.Initializer):
        def __call__(self, shape):
            return np.arange(np.prod(shape)).reshape(shape)

    layer = nn.Linear(2, 3, weight_attr=Ramp(), bias_attr=lambda shape: [[7] * shape[1]])
    np.testing.assert_array_equal(layer.weights.data, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(layer.bias.data, [[7, 7, 7]])


def test_own_dataset_and_sampler_feed_a_model():
    class Squares(nn.Dataset):
        def __getitem__(self, idx):
            return [idx / 4], [idx**2 / 16]

        def __len__(self):
            return 6

    class Odd:
        def __init__(self, dataset, shuffle, batch_size, drop_last):
            self.n = len(dataset)

        def __iter__(self):
            yield list(range(1, self.n, 2))

        def __len__(self):
            return 1

    ((x, y),) = nn.DataLoader(Squares(), Odd)
    np.testing.assert_array_equal(x * x, y)
    model = build(1, 8, 1)
    losses = train(model, sgd(model), list(nn.DataLoader(Squares(), Odd)) * 40)
    assert losses[-1] < losses[0] / 2


# --- models side by side, parts and wholes ---


def test_two_models_share_no_state():
    data = batches(3, 2, count=10)
    alone = [build(3, 8, 2, seed=s) for s in (0, 1)]
    for model in alone:
        train(model, sgd(model), data)
    together = [build(3, 8, 2, seed=s) for s in (0, 1)]
    optimizers = [sgd(model) for model in together]
    loss_fns = [nn.MSE(), nn.MSE()]
    for x, y in data:
        preds = [model(x) for model in together]
        for loss_fn, pred in zip(loss_fns, preds, strict=True):
            loss_fn(pred, y)
        for model, loss_fn in zip(together, loss_fns, strict=True):
            model.backward(loss_fn.backward())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.clear_grad()
    for one, other in zip(alone, together, strict=True):
        assert_same_bits(values(one), values(other))


def test_two_threads_train_two_models_as_one_after_the_other(backend):
    data = batches(3, 2, count=200)
    expected = [build(3, 33, 2, seed=s) for s in (0, 1)]
    for model in expected:
        train(model, sgd(model), data)
    models = [build(3, 33, 2, seed=s) for s in (0, 1)]

    def work(model):
        with nn.use_backend(backend):
            train(model, sgd(model), data)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(expected, models, strict=True):
        assert_same_bits(values(one), values(other))


class Both:
    """Two optimizers used as one."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()

    def clear_grad(self):
        for optimizer in self.optimizers:
            optimizer.clear_grad()


@pytest.mark.parametrize("cut", [(0, 2), (1, 4), (0, 3, 5)])
def test_two_optimizers_over_parts_equal_one_over_all(cut):
    data = batches(3, 2)
    whole, parts = build(3, 8, 17, 2), build(3, 8, 17, 2)
    train(whole, sgd(whole), data)
    mine = [parts.parameters()[i] for i in cut]
    rest = [p for p in parts.parameters() if not any(p is q for q in mine)]
    both = Both(*(nn.SGD(parameters=some, learning_rate=0.05) for some in (mine, rest)))
    train(parts, both, data)
    assert_same_bits(values(whole), values(parts))


def test_an_optimizer_over_a_part_leaves_the_rest_alone():
    model = build(3, 8, 2)
    before = values(model)
    train(model, nn.SGD(parameters=model.graphs[0].parameters()), batches(3, 2))
    after = values(model)
    assert_same_bits(before[2:], after[2:])
    assert before[0].tobytes() != after[0].tobytes()


@pytest.mark.parametrize("new_optimizer", [True, False])
def test_adding_a_layer_after_training_started(new_optimizer):
    model = build(3, 8)
    optimizer = sgd(model)
    train(model, optimizer, batches(3, 8))
    trained, velocity = values(model), [v.copy() for v in optimizer.velocity]
    model.add(nn.ReLU())
    model.add(nn.Linear(8, 2, weight_attr=nn.HeNormal(rng=np.random.default_rng(5))))
    assert_same_bits(values(model)[:2], trained)
    if new_optimizer:
        optimizer = sgd(model)
    else:
        assert_same_bits(optimizer.velocity, velocity)
        optimizer.parameters = model.parameters()
        assert_same_bits(optimizer.velocity[:2], velocity)
        assert len(optimizer.velocity) == 4
    losses = train(model, optimizer, batches(3, 2, count=1) * 40)
    assert losses[-1] < losses[0] / 2
    assert all(a.tobytes() != b.tobytes() for a, b in zip(values(model), trained, strict=False))


def test_an_old_optimizer_goes_on_with_its_own_layers_when_one_is_added():
    model = build(3, 8)
    optimizer = sgd(model)
    train(model, optimizer, batches(3, 8))
    model.add(nn.Linear(8, 2))
    before = values(model)
    train(model, optimizer, batches(3, 2))
    after = values(model)
    assert_same_bits(before[2:], after[2:])
    assert before[1].tobytes() != after[1].tobytes()


def test_the_same_layer_twice_is_refused():
    layer = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="twice"):
        nn.Sequential(layer, nn.ReLU(), layer)
    model = nn.Sequential(layer)
    with pytest.raises(ValueError, match="twice"):
        model.add(layer)
    assert model.graphs == [layer]


@pytest.mark.parametrize("nest", [
    lambda layer: nn.Sequential(layer, nn.Sequential(layer)),
    lambda layer: nn.Sequential(nn.Sequential(layer), nn.Sequential(nn.ReLU(), layer)),
])  # fmt: skip
def test_the_same_layer_twice_is_refused_in_nested_models_too(nest):
    with pytest.raises(ValueError, match="twice"):
        nest(nn.Linear(3, 3))(np.ones((1, 3)))


def test_a_nested_sequential_gives_the_flat_models_bits():
    flat, parts = build(3, 8, 17, 2), build(3, 8, 17, 2)
    nested = nn.Sequential(*parts.graphs[:2], nn.Sequential(*parts.graphs[2:4]), parts.graphs[4])
    data = batches(3, 2)
    assert train(flat, sgd(flat), data) == train(nested, sgd(nested), data)
    assert_same_bits(values(flat), values(nested))


def test_graphs_may_be_edited():
    model = build(3, 8, 2)
    x = np.ones((2, 3))
    expected = nn.Sequential(*copy.deepcopy(model.graphs[:1]))(x)
    model(x)
    del model.graphs[1:]
    assert_same_bits([model(x)], [expected])


def test_an_encoder_shares_layers_with_the_full_model():
    alone = build(3, 8, 2)
    layers = copy.deepcopy(alone).graphs
    encoder = nn.Sequential(*layers[:2])
    encoder_optimizer = sgd(encoder)
    x = np.random.default_rng(0).normal(size=(5, 3))
    code = encoder(x)
    full = nn.Sequential(*layers)
    data = batches(3, 2)
    train(full, sgd(full), data)
    train(alone, sgd(alone), data)
    assert_same_bits(values(full), values(alone))

    w, b = full.graphs[0].weights.data, full.graphs[0].bias.data
    np.testing.assert_allclose(encoder(x), np.maximum(x @ w + b, 0), rtol=1e-5, atol=1e-6)
    assert encoder(x).tobytes() != code.tobytes()
    before = values(full)
    losses = train(encoder, encoder_optimizer, [(x, np.ones((5, 8)))] * 30)
    assert losses[-1] < losses[0]
    assert_same_bits(values(full)[2:], before[2:])
    assert_same_bits(values(full)[:2], values(encoder))
    losses = train(full, sgd(full), data[:1] * 20)
    assert losses[-1] < losses[0]


def test_overlapping_models_pass_gradients_through_their_own_layers():
    l1, l2, l3 = (nn.Linear(3, 3, weight_attr=nn.HeNormal(), dtype=np.float64) for _ in range(3))
    a, b = nn.Sequential(l1, l2), nn.Sequential(l2, l3)
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 4, 3))
    w1, w2, w3 = (layer.weights.data.copy() for layer in (l1, l2, l3))
    for _ in range(2):
        for layer in l1, l2, l3:
            layer.weights.clear_grad()
            layer.bias.clear_grad()
        a(x)
        np.testing.assert_allclose(a.backward(g), g @ w2.T @ w1.T)
        np.testing.assert_allclose(l2.weights.grad, (x @ w1 + l1.bias.data).T @ g)
        assert not l3.weights.grad.any()
        b(x)
        np.testing.assert_allclose(b.backward(g), g @ w3.T @ w2.T)
        np.testing.assert_allclose(l2.weights.grad, (x @ w1 + l1.bias.data).T @ g + x.T @ (g @ w3.T))
        np.testing.assert_allclose(l1.weights.grad, x.T @ (g @ w2.T))


def test_a_layer_run_in_another_model_meanwhile_holds_its_last_input():
    l1, l2, l3 = (nn.Linear(3, 3, weight_attr=nn.HeNormal(), dtype=np.float64) for _ in range(3))
    a, b = nn.Sequential(l1, l2), nn.Sequential(l2, l3)
    rng = np.random.default_rng(0)
    x, z, g = rng.normal(size=(3, 4, 3))
    a(x)
    b(z)
    a.backward(g)
    np.testing.assert_allclose(l2.weights.grad, z.T @ g)
    np.testing.assert_allclose(l1.weights.grad, x.T @ (g @ l2.weights.data.T))


# --- forward state and gradients ---


@pytest.mark.parametrize("size", [1, 5, 16, 33])
def test_walking_the_graphs_by_hand_gives_the_same_bits(size):
    models = build(3, 8, 17, 2), build(3, 8, 17, 2)
    ((x, g),) = batches(3, 2, count=1, size=size)
    for model in models:
        model(x)
    whole = models[0].backward(g)
    for layer in reversed(models[1].graphs):
        g = layer.backward(g)
    assert_same_bits([whole, *gradients(models[0])], [g, *gradients(models[1])])


def test_walking_forward_by_hand_then_model_backward():
    models = build(3, 8, 2), build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    y = models[0](x)
    z = x
    for layer in models[1].graphs:
        z = layer(z)
    assert_same_bits([y], [z])
    models[1](np.zeros((5, 3)))
    for layer in models[1].graphs:
        x = layer(x)
    models[0].backward(g)
    models[1].backward(g)
    assert_same_bits(gradients(models[0]), gradients(models[1]))


def test_a_layer_run_alone_between_forward_and_backward_holds_that_input():
    model = build(3, 8, 2, dtype=np.float64)
    ((x, g),) = batches(3, 2, count=1)
    other = np.random.default_rng(7).normal(size=x.shape)
    model(x)
    first, relu, last = model.graphs
    first(other)
    model.backward(g)
    np.testing.assert_allclose(last.weights.grad, relu.activated.T @ g)
    hidden = (g @ last.weights.data.T) * (relu.activated > 0)
    np.testing.assert_allclose(first.weights.grad, other.T @ hidden)
    np.testing.assert_array_equal(first.input, other)


def test_inputs_and_activations_are_kept_by_the_layers():
    model = build(3, 8, 2, dtype=np.float64)
    ((x, _),) = batches(3, 2, count=1)
    model(x)
    first, relu, last = model.graphs
    np.testing.assert_array_equal(first.input, x)
    np.testing.assert_allclose(relu.activated, np.maximum(x @ first.weights.data + first.bias.data, 0), rtol=1e-12)
    np.testing.assert_array_equal(last.input, relu.activated)


def test_gradients_add_up_over_two_backwards():
    model = build(3, 8, 17, 2)
    one, two = batches(3, 2, count=2)
    parts = []
    for x, g in one, two:
        for p in model.parameters():
            p.clear_grad()
        model(x)
        model.backward(g)
        parts.append(gradients(model))
    sgd(model).clear_grad()
    for x, g in one, two:
        model(x)
        model.backward(g)
    assert_same_bits(gradients(model), [a + b for a, b in zip(*parts, strict=True)])


@pytest.mark.parametrize("clear", ["optimizer", "tensors"])
def test_cleared_gradients_read_zero_and_the_next_backward_starts_anew(clear):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    first = gradients(model)
    for read_between in False, True:
        if clear == "optimizer":
            optimizer.clear_grad()
        else:
            for p in model.parameters():
                p.clear_grad()
        if read_between:
            assert not any(grad.any() for grad in gradients(model))
        model(x)
        model.backward(g)
        assert_same_bits(gradients(model), first)


def test_a_step_after_clear_grad_only_coasts():
    model = build(3, 8, 2, dtype=np.float64)
    optimizer = sgd(model, momentum=0.5)
    train(model, optimizer, batches(3, 2, count=1))
    before, velocity = values(model), [v.copy() for v in optimizer.velocity]
    optimizer.step()
    for new, old, v in zip(values(model), before, velocity, strict=True):
        np.testing.assert_allclose(new, old - 0.05 * 0.5 * v, rtol=1e-12)


def test_clear_grad_of_one_tensor_after_clear_grad_of_all():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    optimizer.clear_grad()
    model.graphs[0].weights.clear_grad()
    model.graphs[0].bias.grad = np.ones((1, 8))
    assert [grad.any() for grad in gradients(model)] == [False, True, False, False]


def test_clear_grad_by_an_optimizer_over_a_part_keeps_the_other_gradients():
    model = build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    kept = gradients(model)[:2]
    nn.SGD(parameters=model.graphs[2].parameters()).clear_grad()
    assert_same_bits(gradients(model)[:2], kept)
    assert [grad.any() for grad in gradients(model)] == [True, True, False, False]


def test_cleared_gradients_stay_zero_when_the_layer_joins_a_model():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    optimizer.clear_grad()
    model.add(nn.Linear(2, 1))
    assert not any(grad.any() for grad in gradients(model))


def test_a_partial_backward_after_clear_grad_leaves_zeros_elsewhere():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    optimizer.clear_grad()
    model.graphs[2].backward(g)
    assert [grad.any() for grad in gradients(model)] == [False, False, True, True]


SIZES = [5, 300, 1, 0, 2, 700, 3, 64, 0, 5]


def test_batch_sizes_may_change_between_calls():
    model = build(3, 17, 2, dtype=np.float64)
    w1, b1, w2, b2 = values(model)
    for i, size in enumerate(SIZES):
        ((x, g),) = batches(3, 2, count=1, size=size, seed=i)
        hidden = np.maximum(x @ w1 + b1, 0)
        np.testing.assert_allclose(model(x), hidden @ w2 + b2, rtol=1e-12, atol=1e-12)
        dx = model.backward(g)
        dh = (g @ w2.T) * (hidden > 0)
        np.testing.assert_allclose(dx, dh @ w1.T, rtol=1e-12, atol=1e-12)
        for got, want in zip(
            gradients(model), (x.T @ dh, dh.sum(0, keepdims=True), hidden.T @ g, g.sum(0, keepdims=True)), strict=True
        ):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)
        sgd(model).clear_grad()


@pytest.mark.parametrize("clear_first", [False, True])
def test_an_empty_batch_adds_nothing(clear_first):
    model = build(3, 8, 2)
    if clear_first:
        sgd(model).clear_grad()
    assert model(np.zeros((0, 3))).shape == (0, 2)
    assert model.backward(np.zeros((0, 2))).shape == (0, 3)
    assert not any(grad.any() for grad in gradients(model))


def test_results_survive_the_next_call():
    model, loss_fn = build(3, 8, 2), nn.MSE()
    kept = []
    for x, y in batches(3, 2, count=3):
        pred = model(x)
        loss_fn(pred, y)
        grad = loss_fn.backward()
        arrays = [pred, grad, model.backward(grad), model.graphs[0].input, model.graphs[1].activated, loss_fn.pred]
        kept.append((arrays, [a.tobytes() for a in arrays]))
    for arrays, bits in kept:
        assert [a.tobytes() for a in arrays] == bits


def test_writing_into_a_result_changes_no_state():
    models = build(3, 8, 2), build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    for model, spoil in zip(models, (False, True), strict=True):
        y = model(x)
        if spoil:
            y[:] = np.nan
            model.graphs[0].input[:] = np.nan
            model.graphs[1].activated[:] = np.nan
        model.backward(g)
    assert_same_bits(gradients(models[0]), gradients(models[1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_in", [1, 3, 16, 33])
@pytest.mark.parametrize("n_out", [1, 15, 16, 17, 48, 70])
def test_a_rows_bits_do_not_depend_on_its_neighbours(numba, n_in, n_out, dtype):
    model = build(n_in, 20, n_out, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(11, n_in))
    whole = model(x)
    for i in range(11):
        assert_same_bits([model(x[i : i + 1])[0]], [whole[i]])
    for size in 2, 3, 5, 7:
        assert_same_bits([model(x[:size])], [whole[:size]])
    x[1] = np.nan
    x[2] = np.inf
    spoilt = model(x)
    assert_same_bits([spoilt[0], spoilt[3:]], [whole[0], whole[3:]])


# --- what users give ---


def strided(a):
    holder = np.full((2 * a.shape[0], 3 * a.shape[1]), np.nan, a.dtype)
    holder[::2, ::3] = a
    return holder[::2, ::3]


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.setflags(write=False)
    return a


LAYOUTS = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.array(a.T).T,
    "strided, NaN between": strided,
    "negative strides": lambda a: np.array(a[::-1, ::-1])[::-1, ::-1],
    "misaligned": misaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
}


def memory_mapped(a, folder):
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


@pytest.fixture(params=[*LAYOUTS, "memory-mapped"])
def layout(request, tmp_path):
    if request.param == "memory-mapped":
        return lambda a: memory_mapped(a, tmp_path)
    return LAYOUTS[request.param]


def bits_under(a):
    """The bits of an array and of everything around it in its buffer."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a.tobytes()


def run(model, x, g, target):
    """Everything a model and a loss give for one batch, as plain arrays."""
    sgd(model).clear_grad()
    y = model(x)
    dx = model.backward(g)
    loss_fn = nn.MSE()
    loss = loss_fn(target, g)
    relu = nn.ReLU()
    return [y, dx, *gradients(model), np.float64(loss), loss_fn.backward(), relu(target), relu.backward(g)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layout_gives_the_same_bits_and_is_left_as_it_was(layout, dtype):
    rng = np.random.default_rng(0)
    plain = [rng.normal(size=shape).astype(dtype) for shape in ((7, 5), (7, 3), (7, 3))]
    model = build(5, 17, 3, dtype=dtype)
    expected = run(model, *plain)
    given = [layout(a) for a in plain]
    before = [bits_under(a) for a in given]
    assert_same_bits(run(model, *given), expected)
    assert [bits_under(a) for a in given] == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layout_can_be_assigned_to_a_tensor(layout, dtype):
    plain = np.random.default_rng(0).normal(size=(7, 5)).astype(dtype)
    tensor = nn.Tensor((7, 5), dtype)
    tensor.data = layout(plain)
    tensor.grad = layout(plain)
    assert_same_bits([tensor.data, tensor.grad], [plain, plain])


def test_broadcast_arrays_with_stride_zero():
    rows = [np.random.default_rng(i).normal(size=(1, n)).astype(np.float32) for i, n in enumerate((5, 3, 3))]
    model = build(5, 17, 3)
    expected = run(model, *(np.repeat(row, 7, axis=0) for row in rows))
    assert_same_bits(run(model, *(np.broadcast_to(row, (7, row.shape[1])) for row in rows)), expected)


@pytest.mark.parametrize("kind", ["float16", "int8", "uint8", "int64", ">i4", "bool", "longdouble"])
def test_other_real_dtypes_give_the_bits_of_the_same_numbers_in_float32(kind):
    numbers = [np.random.default_rng(i).integers(0, 2, size=(7, n)) for i, n in enumerate((5, 3, 3))]
    model = build(5, 17, 3)
    expected = run(model, *(a.astype(np.float32) for a in numbers))
    assert_same_bits(run(model, *(a.astype(kind) for a in numbers)), expected)


def test_lists_give_the_bits_of_the_same_arrays():
    model, rng = build(5, 17, 3, dtype=np.float64), np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((7, 5), (7, 3), (7, 3))]
    assert_same_bits(run(model, *(a.tolist() for a in arrays)), run(model, *arrays))
    assert_same_bits(run(model, *(tuple(a) for a in arrays)), run(model, *arrays))


def test_double_inputs_of_a_single_model_are_rounded_once():
    model = build(5, 17, 3)
    x = np.random.default_rng(0).normal(size=(4, 5))
    assert_same_bits([model(x)], [model(x.astype(np.float32))])


def test_mixed_dtypes_in_one_model():
    np.random.seed(0)
    he = nn.HeNormal()
    model = nn.Sequential(
        nn.Linear(3, 8, weight_attr=he),
        nn.ReLU(),
        nn.Linear(8, 8, weight_attr=he, dtype=np.float64),
        nn.ReLU(),
        nn.Linear(8, 2, weight_attr=he),
    )
    twin = nn.Sequential(*(
        nn.Linear(*layer.weights.shape, dtype=np.float64) if isinstance(layer, nn.Linear) else nn.ReLU()
        for layer in model.graphs
    ))  # fmt: skip
    for p, q in zip(twin.parameters(), model.parameters(), strict=True):
        p.data = q.data
    data = batches(3, 2, count=10)
    np.testing.assert_allclose(train(model, sgd(model), data), train(twin, sgd(twin), data), rtol=1e-4)
    assert [p.data.dtype for p in model.parameters()] == [np.float32] * 2 + [np.float64] * 2 + [np.float32] * 2


# --- pickles and copies ---


def pickled(*objects):
    return pickle.loads(pickle.dumps(objects))


def deepcopied(*objects):
    return copy.deepcopy(objects)


@pytest.mark.parametrize("clone", [pickled, deepcopied])
@pytest.mark.parametrize("order", ["model first", "optimizer first"])
def test_copies_of_model_and_optimizer_go_on_with_the_same_bits(clone, order):
    model = nn.Sequential(*build(3, 8, 4).graphs, Scale(), nn.Sequential(*build(4, 9, 2, seed=2).graphs))
    optimizer, data = sgd(model), batches(3, 2, count=12)
    train(model, optimizer, data[:5])
    if order == "model first":
        model2, optimizer2 = clone(model, optimizer)
    else:
        optimizer2, model2 = clone(optimizer, model)
    assert_same_bits(optimizer2.velocity, optimizer.velocity)
    losses = train(model, optimizer, data[5:])
    assert train(model2, optimizer2, data[5:]) == losses
    assert_same_bits(values(model2), values(model))


@pytest.mark.parametrize("clone", [pickled, deepcopied])
def test_a_copy_keeps_gradients_and_is_independent(clone):
    model = build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    (other,) = clone(model)
    assert_same_bits(gradients(other), gradients(model))
    before = values(model)
    train(other, sgd(other), batches(3, 2))
    assert_same_bits(values(model), before)
    model.backward(g)


@pytest.mark.parametrize("clone", [pickled, deepcopied])
@pytest.mark.parametrize("make", [
    lambda: nn.Linear(2, 3, "fc"), lambda: nn.ReLU("bend"), lambda: nn.MSE("half", "sum"), lambda: nn.Normal(1, 2),
    lambda: nn.Tensor((2, 3)), lambda: nn.BatchSampler(range(5), True, 2), lambda: build(2, 3, 1),
])  # fmt: skip
def test_everything_can_be_copied(clone, make):
    original = make()
    (other,) = clone(original)
    assert str(other) == str(original) or type(original) is nn.BatchSampler
    assert type(other) is type(original)


def test_pickled_weights_hold_no_padding():
    assert len(pickle.dumps(nn.Tensor((100, 1)))) < 2 * 100 * 4 + 600


# --- backends ---


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


def test_set_backend_is_for_all_threads():
    seen = []
    try:
        nn.set_backend("numpy")
        thread = threading.Thread(target=lambda: seen.append(nn.get_backend()))
        thread.start()
        thread.join()
    finally:
        nn.set_backend("numba")
    assert seen == ["numpy"]


def test_the_library_draws_random_numbers_only_to_start_and_to_shuffle():
    model = build(3, 8, 2)
    before = np.random.get_state()[1:3]
    train(model, sgd(model), list(nn.DataLoader(nn.ArrayDataset(*batches(3, 2, count=1)[0]), batch_size=2)))
    pickled(model)
    copy.deepcopy(model)
    after = np.random.get_state()[1:3]
    assert (before[0] == after[0]).all()
    assert before[1] == after[1]


# --- in a process of their own ---

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
