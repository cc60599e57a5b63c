"""Models, data and the loop that several test files share."""

import itertools

import numpy as np

import fastnp as nn


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
