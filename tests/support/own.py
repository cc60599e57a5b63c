"""Layers, optimizers, initializers and data of users' own that several test files share."""

import numpy as np

import fastnp as nn

X = np.random.default_rng(1).normal(size=(11, 3))
Y = np.random.default_rng(2).normal(size=(11, 2))


class Descent(nn.Optimizer):
    def step(self):
        for p in self.parameters:
            p.data = p.data - self.learning_rate * (p.grad + self.get_decay(p.data))


class Absolute(nn.Loss):
    def forward(self, pred, target):
        self.difference = pred - target
        return float(np.mean(abs(self.difference)))

    def backward(self):
        return np.sign(self.difference) / self.difference.size


class Points(nn.Dataset):
    def __getitem__(self, idx):
        return X[idx], Y[idx]

    def __len__(self):
        return len(X)


class Ramp(nn.Initializer):
    def __call__(self, shape):
        return np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


POINTS = np.random.default_rng(0).standard_normal((40, 2))


def he(n_in, n_out, seed=0):
    return nn.Linear(n_in, n_out, weight_attr=nn.HeNormal(rng=np.random.default_rng(seed)))


class Skip(nn.Sequential):
    """y = x + layers(x)."""

    def forward(self, x):
        return x + super().forward(x)

    def backward(self, gradient):
        return gradient + super().backward(gradient)


def loader_of(dataset):
    return nn.DataLoader(dataset, batch_size=4)
