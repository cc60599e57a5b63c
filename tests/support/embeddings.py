"""Models for jitted code, one for each kind of layer, and what jitted code calls of them."""

import numba
import numpy as np
from declared import ACTIVATIONS

import fastnp as nn


def _filled(model, seed=0):
    """The model, with other numbers in all its parameters."""
    rng = np.random.default_rng(seed)
    for tensor in model.parameters():
        tensor.data = rng.normal(size=tensor.shape) / np.sqrt(tensor.shape[0])
    return model


def _linear(n_in, n_out, dtype):
    return nn.Linear(n_in, n_out, dtype=dtype)


MODELS = {
    "one": lambda d: _linear(3, 2, d),
    "one_wide": lambda d: nn.Sequential(_linear(1, 1, d)),
    "column": lambda d: nn.Sequential(_linear(5, 7, d), nn.ReLU(), _linear(7, 1, d)),
    "column_between": lambda d: nn.Sequential(_linear(5, 1, d), nn.ReLU(), _linear(1, 4, d)),
    "column_first": lambda d: nn.Sequential(nn.Tanh(), _linear(33, 1, d), nn.SiLU()),
    "sin": lambda d: nn.Sequential(_linear(1, 16, d), nn.ReLU(), _linear(16, 64, d), nn.ReLU(), _linear(64, 1, d)),
    "dropout": lambda d: nn.Sequential(nn.Dropout(), _linear(4, 9, d), nn.Dropout(0.9), nn.ReLU(), _linear(9, 3, d)),
    "softmax": lambda d: nn.Sequential(_linear(4, 9, d), nn.LeakyReLU(), _linear(9, 5, d), nn.Softmax()),
    "norm": lambda d: nn.Sequential(nn.LayerNorm(6, dtype=d), _linear(6, 20, d), nn.LayerNorm(20, dtype=d), nn.ELU()),
    "nested": lambda d: nn.Sequential(nn.Sequential(_linear(4, 70, d), nn.Tanh()), nn.Sequential(_linear(70, 2, d))),
    "many_outputs": lambda d: nn.Sequential(_linear(3, 40, d), nn.Sigmoid(), _linear(40, 71, d)),
    "large": lambda d: nn.Sequential(_linear(300, 200, d), nn.Softplus(), _linear(200, 3, d)),
} | {
    name: lambda d, make=make: nn.Sequential(make(), _linear(5, 19, d), make(), _linear(19, 4, d), make())
    for name, make in ACTIVATIONS.items()
}  # fmt: skip


def embedded(name, dtype, **options):
    """A model and what `jit` makes of it."""
    model = _filled(MODELS[name](dtype))
    return model, nn.jit(model, **options)


def sample(f, count=None, seed=3):
    """A sample for f, or so many."""
    shape = f.n_in if count is None else (count, f.n_in)
    return np.random.default_rng(seed).normal(size=shape).astype(f.dtype)


@numba.njit
def call(f, x):
    return f(x)


@numba.njit
def into(f, out, x):
    f.into(out, x, f.workspace())


@numba.njit
def into_room(f, out, x, work):
    f.into(out, x, work)


@numba.njit
def vjp(f, x, dy):
    return f.vjp(x, dy)


@numba.njit
def jacobian(f, x):
    return f.jacobian(x)
