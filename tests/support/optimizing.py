"""Every optimizer in every way: settings that between them ask for all rules, decays, schedules and clipping."""

from functools import partial

import numpy as np
from public import optimizers

import fastnp as nn

SCHEDULE = nn.schedules.Cosine(0.02, 18, 3, 0.001)


def gentle(update):
    """A schedule of a user's own."""
    return 0.02 / (1 + 0.1 * update)


# What every optimizer takes: plain; biases do not decay; all there is.
WAYS = {
    "plain": {"learning_rate": SCHEDULE},
    "apart": {"weight_decay": 0.3, "decay_type": "l1", "decay_bias": False, "learning_rate": 0.01},
    "all": {"weight_decay": 0.2, "decay_bias": False, "clip_norm": 1.0, "learning_rate": gentle},
    "clipped": {"weight_decay": 0.2, "clip_norm": 0.8, "learning_rate": SCHEDULE},
}
# What only some take: their other rules, also with all there is.
OWN_WAYS = {
    nn.SGD: {"nesterov": {"nesterov": True, "momentum": 0.8}, "nesterov, all": {"nesterov": True} | WAYS["all"]},
    nn.RMSprop: {"momentum": {"momentum": 0.9, "alpha": 0.9}, "momentum, all": {"momentum": 0.5} | WAYS["all"]},
}


def ways(cls):
    """Settings for a class, by name."""
    return WAYS | OWN_WAYS.get(cls, {})


CASES = {f"{cls.__name__}, {name}": (cls, settings) for cls in optimizers() for name, settings in ways(cls).items()}


def shapes(dtype):
    """Networks: of layers that have a normalization, the smallest that users train, a wide one, a chain."""
    return {
        "norm": [(3, 20), partial(nn.LayerNorm, 20, dtype=dtype), nn.Tanh, (20, 2)],
        "sin": [(1, 16), "relu", (16, 64), "relu", (64, 16), "relu", (16, 1)],
        "wide": [(20, 130), "relu", (130, 2)],
        "odd": [(3, 17), "relu", (17, 5), partial(nn.LayerNorm, 5, dtype=dtype), (5, 2)],
    }


def weighted(layers, rows=23, seed=3):
    """X, Y and weights for a network."""
    widths = [layer for layer in layers if isinstance(layer, tuple)]
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(rows, widths[0][0])), 2 * rng.normal(size=(rows, widths[-1][1]))
    return x, y, rng.integers(1, 4, rows) / 2


def gradient_norm(optimizer):
    """The norm of all gradients together, as NumPy takes it."""
    return np.sqrt(sum(np.sum(np.square(tensor.grad, dtype=np.float64)) for tensor in optimizer.parameters))
