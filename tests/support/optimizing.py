"""Every optimizer in every way: settings that between them ask for all rules, decays, schedules and clipping."""

from functools import partial

import numpy as np
from fits import kept
from public import optimizers

import fastnp as nn
from fastnp.overrides import METHOD

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
    nn.SGD: {
        "nesterov": {"nesterov": True, "momentum": 0.8},
        "nesterov, all": {"nesterov": True} | WAYS["all"],
        "rated": {"rate_in_velocity": True, "momentum": 0.8, "learning_rate": SCHEDULE},
        "rated nesterov, all": {"rate_in_velocity": True, "nesterov": True} | WAYS["all"],
    },
    nn.Adam: {"hat, all": {"epsilon": 0.01, "epsilon_hat": True} | WAYS["all"]},
    nn.AdamW: {"hat": {"epsilon": 0.01, "epsilon_hat": True}},
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


NAN, INF = float("nan"), float("inf")
NOT_A_RATE = [-0.1, NAN, INF, "1", None, 1j, np.ones(1), 10**400]
NOT_A_SHARE = [1, 1.5, *NOT_A_RATE]
NOT_A_FLAG = [2, None, "yes", 1.0, NAN]
NOT_POSITIVE = [0, 0.0, *NOT_A_RATE]

# Of each setting: another value than the defaults, and what it cannot be.
SETTINGS = {
    "learning_rate": (0.07, NOT_A_RATE),
    "weight_decay": (0.9, NOT_A_RATE),
    "decay_type": ("l1", ["L2", "", None, 2]),
    "decay_bias": (False, NOT_A_FLAG),
    "clip_norm": (0.05, [value for value in NOT_POSITIVE if value is not None]),
    "updates": (40, [-1, 1.0, None, "1", NAN, True]),
    "momentum": (0.6, NOT_A_RATE),
    "nesterov": (True, NOT_A_FLAG),
    "rate_in_velocity": (True, NOT_A_FLAG),
    "beta1": (0.5, NOT_A_SHARE),
    "beta2": (0.6, NOT_A_SHARE),
    "epsilon_hat": (True, NOT_A_FLAG),
    "epsilon": (0.5, [1e-46, 1e-38, *NOT_POSITIVE]),
    "alpha": (0.6, NOT_A_SHARE),
}


def settings_of(cls):
    """What may be set, besides the parameters."""
    names = {name for name, rule in cls._rules.items() if rule is not METHOD} - {"parameters"}
    return sorted(names | {"learning_rate"})


def made_anew(old):
    """An optimizer with the settings of another and all that it keeps, that has never taken a step."""
    options = {name: getattr(old, name) for name in settings_of(type(old)) if name != "updates"}
    if old.schedule is not None:
        options["learning_rate"] = old.schedule
    new = type(old)(parameters=old.parameters, **options)
    new.updates = old.updates
    for name, arrays in kept(old).items():
        setattr(new, name, arrays)
    return new


def clearing_all(run, epochs=3):
    """A training whose loop clears the gradients of all parameters, as `fit` does."""
    clear = run.optimizer.clear_grad
    run.optimizer.clear_grad = lambda: (clear(), [tensor.clear_grad() for tensor in run.model.parameters()])
    return run, epochs
