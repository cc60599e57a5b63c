"""Layers, optimizers, initializers, data sets and samplers of users' own."""

import numpy as np
import pytest
from models import Scale, batches, build, gradients, sgd, train, values

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


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


NAMES = ["kind", "rule", "kept", "numbers", "value", "slope", "settings", "start", "pieces", "inside", "terms", "state"]


@pytest.mark.parametrize("name", NAMES)
def test_attributes_of_ones_own_may_have_natural_names(name):
    """With an underscore, too: a subclass keeps there what it likes."""

    class Mine(nn.Layer):
        def forward(self, x):
            return x

        def backward(self, gradient):
            return gradient

    classes = {base: type(f"Own{base.__name__}", (base,), {f"_{name}": 7}) for base in (nn.ReLU, nn.SGD, nn.MSE)}
    layers = [nn.Linear(3, 4), classes[nn.ReLU](), Mine(), nn.Linear(4, 2)]
    model, loss_fn = nn.Sequential(*layers), classes[nn.MSE]()
    optimizer = classes[nn.SGD](parameters=model.parameters())
    for thing in (*layers, model, loss_fn, optimizer, *model.parameters()):
        setattr(thing, f"_{name}", 7)
        setattr(thing, name, 7)
    x = np.ones((4, 3))
    loader = nn.DataLoader(nn.ArrayDataset(x, np.ones((4, 2))), batch_size=2)
    nn.fit(model, loss_fn, optimizer, loader, 2, progress=False)
    nn.cross_check(model, x).raise_if_failed()
    nn.gradient_check(model, loss_fn, x, np.ones((4, 2))).raise_if_failed()
    assert all(getattr(thing, name) == 7 for thing in layers)
