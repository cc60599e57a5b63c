"""Each optimizer against its formulas, written down a second time in long double: 20 steps of a training."""

import math

import numpy as np
import pytest

import fastnp as nn

STEPS, ROWS = 20, 8

# Both are given the same gradients. A step rounds some ten times, each by u of a number at most; 20 steps add that up.
# Seen, of the largest number of an array: 14 u.
ROUNDINGS = 50

DECAY = {"weight_decay": 0.05}
CASES = {  # the class, its arguments, and where there is a schedule, the rate of update t = 0, 1, …
    "sgd": (nn.SGD, {"learning_rate": 0.05, "momentum": 0.8}, None),
    "sgd-l2-clipped": (nn.SGD, DECAY | {"learning_rate": 0.1, "clip_norm": 0.05}, None),
    "nesterov-l1-no_bias": (
        nn.SGD,
        DECAY | {"learning_rate": 0.05, "nesterov": True, "decay_type": "l1", "decay_bias": False},
        None,
    ),
    "sgd-linear": (
        nn.SGD,
        {"learning_rate": nn.schedules.Linear(0.1, 0.02, 12), "momentum": 0.0},
        lambda t: 0.1 - 0.08 * min(t / 12, 1),
    ),
    "sgd-rated-linear": (
        nn.SGD,
        DECAY | {"learning_rate": nn.schedules.Linear(0.1, 0.02, 12), "rate_in_velocity": True, "clip_norm": 0.05},
        lambda t: 0.1 - 0.08 * min(t / 12, 1),
    ),
    "sgd-rated-nesterov-step": (
        nn.SGD,
        DECAY
        | {"learning_rate": nn.schedules.Step(0.1, 6, 0.3), "rate_in_velocity": True, "nesterov": True}
        | {"decay_type": "l1", "decay_bias": False},
        lambda t: 0.1 * 0.3 ** (t // 6),
    ),
    "adam": (nn.Adam, {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.97, "epsilon": 1e-3}, None),
    "adam-l2-no_bias-clipped": (nn.Adam, DECAY | {"decay_bias": False, "clip_norm": 0.05, "epsilon": 1e-5}, None),
    "adam-hat": (nn.Adam, DECAY | {"learning_rate": 0.02, "beta1": 0.8, "epsilon": 1e-3, "epsilon_hat": True}, None),
    "adamw-hat-clipped": (nn.AdamW, {"beta2": 0.97, "epsilon": 1e-4, "epsilon_hat": True, "clip_norm": 0.05}, None),
    "adam-step": (
        nn.Adam,
        DECAY | {"learning_rate": nn.schedules.Step(0.05, 6, 0.5), "decay_type": "l1"},
        lambda t: 0.05 * 0.5 ** (t // 6),
    ),
    "adamw": (nn.AdamW, {"learning_rate": 0.05}, None),
    "adamw-warmup-no_bias": (
        nn.AdamW,
        DECAY | {"learning_rate": nn.schedules.Cosine(0.1, 18, warmup=4), "decay_bias": False},
        lambda t: 0.1 * ((t + 1) / 4 if t < 4 else (1 + math.cos(math.pi * min((t - 4) / 14, 1))) / 2),
    ),
    "adamw-l1-clipped": (nn.AdamW, DECAY | {"decay_type": "l1", "clip_norm": 0.05}, None),
    "rmsprop": (nn.RMSprop, {"alpha": 0.8, "epsilon": 1e-4}, None),
    "rmsprop-momentum-exponential": (
        nn.RMSprop,
        DECAY | {"learning_rate": nn.schedules.Exponential(0.02, 0.9), "momentum": 0.7, "clip_norm": 0.05},
        lambda t: 0.02 * 0.9**t,
    ),
}

DEFAULTS = {
    nn.SGD: {"momentum": 0.9, "learning_rate": 0.001},
    nn.Adam: {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    nn.AdamW: {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01},
    nn.RMSprop: {"learning_rate": 0.01, "alpha": 0.99, "epsilon": 1e-8, "momentum": 0.0},
}


class Oracle:
    """The parameters of a model, and what an optimizer keeps of each: a dict of long doubles, zeros at first."""

    def __init__(self, model, cls, options, rate):
        self.cls, self.t = cls, 0
        self.settings = {"weight_decay": 0.0, "clip_norm": None} | DEFAULTS[cls] | options
        self.rate = rate or (lambda t: self.settings["learning_rate"])
        names = {nn.SGD: "velocity", nn.RMSprop: "mean_square velocity"}.get(cls, "first_moment second_moment")
        self.arrays = [
            {name: np.zeros(tensor.shape, np.longdouble) for name in names.split()}
            | {"data": tensor.data.astype(np.longdouble)}
            for tensor in model.parameters()
        ]
        self.is_bias = [isinstance(layer, nn.LayerNorm) or i for layer in model.graphs[::2] for i in (False, True)]

    def step(self, gradients):
        gradients, clip_norm = [g.astype(np.longdouble) for g in gradients], self.settings["clip_norm"]
        if clip_norm is not None:
            norm = np.sqrt(sum(np.sum(g * g) for g in gradients))
            assert norm > clip_norm
            gradients = [g * (clip_norm / norm) for g in gradients]
        rate = self.rate(self.t)
        self.t += 1
        for of, g, is_bias in zip(self.arrays, gradients, self.is_bias, strict=True):
            decay = self.settings["weight_decay"] * self._decaying(of["data"], is_bias)
            if self.cls is nn.AdamW:
                of["data"] -= rate * decay
            else:
                g = g + decay
            if self.settings.get("rate_in_velocity"):
                of["data"] -= self._sgd(of, rate * g)
            else:
                of["data"] -= rate * {nn.SGD: self._sgd, nn.RMSprop: self._rmsprop}.get(self.cls, self._adam)(of, g)

    def _decaying(self, p, is_bias):
        if is_bias and not self.settings.get("decay_bias", True):
            return np.zeros_like(p)
        return np.sign(p) if self.settings.get("decay_type") == "l1" else p

    def _sgd(self, of, g):
        momentum = self.settings["momentum"]
        of["velocity"] = momentum * of["velocity"] + g
        return g + momentum * of["velocity"] if self.settings.get("nesterov") else of["velocity"]

    def _adam(self, of, g):
        beta1, beta2, epsilon = (np.longdouble(self.settings[name]) for name in ("beta1", "beta2", "epsilon"))
        of["first_moment"] = beta1 * of["first_moment"] + (1 - beta1) * g
        of["second_moment"] = beta2 * of["second_moment"] + (1 - beta2) * g**2
        if self.settings.get("epsilon_hat"):
            step = np.sqrt(1 - beta2**self.t) / (1 - beta1**self.t)
            return step * of["first_moment"] / (np.sqrt(of["second_moment"]) + epsilon)
        first, second = of["first_moment"] / (1 - beta1**self.t), of["second_moment"] / (1 - beta2**self.t)
        return first / (np.sqrt(second) + epsilon)

    def _rmsprop(self, of, g):
        alpha, epsilon, momentum = (np.longdouble(self.settings[name]) for name in ("alpha", "epsilon", "momentum"))
        of["mean_square"] = alpha * of["mean_square"] + (1 - alpha) * g**2
        step = g / (np.sqrt(of["mean_square"]) + epsilon)
        if not momentum:
            return step
        of["velocity"] = momentum * of["velocity"] + step
        return of["velocity"]


def network(dtype):
    """Linear–Tanh–LayerNorm–Tanh–Linear, none of whose numbers is near 0, where signs would be chance."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(5, 12, dtype=dtype),
        nn.Tanh(),
        nn.LayerNorm(12, dtype=dtype),
        nn.Tanh(),
        nn.Linear(12, 3, dtype=dtype),
    )
    for tensor in model.parameters():
        tensor.data = rng.uniform(0.3, 1, tensor.shape) * rng.choice([-1, 1], tensor.shape)
    return model


def data():
    rng = np.random.default_rng(1)
    return rng.normal(size=(STEPS * ROWS, 5)), rng.normal(size=(STEPS * ROWS, 3))


def kept(model, optimizer, name):
    return [tensor.data for tensor in model.parameters()] if name == "data" else getattr(optimizer, name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_every_step_is_that_of_the_formulas(name, dtype, backend):
    """And `fit` makes the same steps, to the bit."""
    cls, options, rate = CASES[name]
    (x, y), loss_fn = data(), nn.MSE()
    model, others = network(dtype), network(dtype)
    optimizer = cls(parameters=model.parameters(), **options)
    oracle, worst = Oracle(model, cls, options, rate), {}
    for start in range(0, len(x), ROWS):
        loss_fn(model(x[start : start + ROWS]), y[start : start + ROWS])
        model.backward(loss_fn.backward())
        gradients = [tensor.grad.copy() for tensor in model.parameters()]
        optimizer.step()
        optimizer.clear_grad()
        oracle.step(gradients)
        for array in oracle.arrays[0]:
            for mine, of in zip(kept(model, optimizer, array), oracle.arrays, strict=True):
                off = np.max(abs(mine - of[array])) / np.max(abs(of[array]), initial=1e-30)
                worst[array] = max(worst.get(array, 0), float(off) / (np.finfo(dtype).eps / 2))
    moved = max(np.max(abs(a.data - b.data)) for a, b in zip(model.parameters(), others.parameters(), strict=True))
    print(name, np.dtype(dtype), {array: round(u, 1) for array, u in worst.items()})
    assert max(worst.values()) <= ROUNDINGS
    assert moved > 0.01
    again = cls(parameters=others.parameters(), **options)
    nn.fit(others, loss_fn, again, nn.DataLoader(nn.ArrayDataset(x, y), batch_size=ROWS), 1, progress=False)
    assert again.updates == optimizer.updates == STEPS
    for array in oracle.arrays[0]:
        for a, b in zip(kept(model, optimizer, array), kept(others, again, array), strict=True):
            assert a.tobytes() == b.tobytes()
