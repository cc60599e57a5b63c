"""Each optimizer and schedule beside PyTorch: 100 steps of training in float64, by the loop and by `fit`."""

import math

import numpy as np
import pytest

import fastnp as nn

STEPS, ROWS, EPSILON = 100, 11, 1e-4
# Both compute in float64 and start from the same numbers; what a step is off by, some 1e-15 of the largest number, is
# handed on by 100 steps. Seen: 6e-14 of the largest number of an array; 2e-11 with l1, by the signs of what is near 0.
TOLERANCE = 1e-9

KEPT = {  # under the name here, that in PyTorch's state
    nn.SGD: {"velocity": "momentum_buffer"},
    nn.Adam: {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"},
    nn.AdamW: {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"},
    nn.RMSprop: {"mean_square": "square_avg", "velocity": "momentum_buffer"},
}

SGD, ADAM, ADAMW, RMSPROP = (
    {"momentum": 0.9, "learning_rate": 0.05},
    {"learning_rate": 0.01},
    {"learning_rate": 0.01},
    {"learning_rate": 0.003},
)
CASES = {
    "sgd-plain": (nn.SGD, {"momentum": 0.0, "learning_rate": 0.1}),
    "sgd": (nn.SGD, SGD),
    "sgd-nesterov": (nn.SGD, SGD | {"nesterov": True}),
    "sgd-l2": (nn.SGD, SGD | {"weight_decay": 0.02}),
    "sgd-l1": (nn.SGD, SGD | {"weight_decay": 0.02, "decay_type": "l1"}),
    "sgd-nesterov-l2-no_bias": (nn.SGD, SGD | {"nesterov": True, "weight_decay": 0.02, "decay_bias": False}),
    "sgd-clipped": (nn.SGD, SGD | {"clip_norm": 0.1}),
    "adam": (nn.Adam, ADAM),
    "adam-settings": (nn.Adam, {"learning_rate": 0.02, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3}),
    "adam-l2": (nn.Adam, ADAM | {"weight_decay": 0.02}),
    "adam-l1-no_bias": (nn.Adam, ADAM | {"weight_decay": 0.02, "decay_type": "l1", "decay_bias": False}),
    "adam-l2-clipped": (nn.Adam, ADAM | {"weight_decay": 0.02, "clip_norm": 0.1, "epsilon": 1e-4}),
    "adamw": (nn.AdamW, ADAMW),
    "adamw-no_bias-clipped": (nn.AdamW, ADAMW | {"weight_decay": 0.3, "decay_bias": False, "clip_norm": 0.1}),
    "adamw-l1": (nn.AdamW, ADAMW | {"weight_decay": 0.1, "decay_type": "l1"}),
    "rmsprop": (nn.RMSprop, RMSPROP),
    "rmsprop-settings": (nn.RMSprop, {"learning_rate": 0.02, "alpha": 0.8, "epsilon": 1e-2}),
    "rmsprop-l2-no_bias": (nn.RMSprop, RMSPROP | {"weight_decay": 0.02, "decay_bias": False}),
    "rmsprop-momentum": (nn.RMSprop, RMSPROP | {"momentum": 0.7}),
    "rmsprop-momentum-l1-clipped": (
        nn.RMSprop,
        RMSPROP | {"momentum": 0.7, "weight_decay": 0.02, "decay_type": "l1", "clip_norm": 0.1},
    ),
}  # fmt: skip

# Schedules beside PyTorch's own, or a function that is written down again; with optimizers in turns.
SCHEDULES = {
    "step": (nn.schedules.Step(0.05, 30, 0.4), lambda s, o: s.StepLR(o, 30, 0.4), nn.SGD),
    "exponential": (nn.schedules.Exponential(0.02, 0.97), lambda s, o: s.ExponentialLR(o, 0.97), nn.AdamW),
    "linear": (nn.schedules.Linear(0.02, 0.002, 60), lambda s, o: s.LinearLR(o, 1, 0.1, 60), nn.Adam),
    "cosine": (
        nn.schedules.Cosine(0.01, STEPS, floor=1e-4),
        lambda s, o: s.CosineAnnealingLR(o, STEPS, 1e-4),
        nn.RMSprop,
    ),
    "warmup": (
        nn.schedules.Cosine(0.05, STEPS, warmup=20, floor=1e-3),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 1 / 20, 1, 19), s.CosineAnnealingLR(o, STEPS - 20, 1e-3)], [20]),
        nn.SGD,
    ),
    "one_cycle": (
        nn.schedules.OneCycle(0.03, STEPS),
        lambda s, o: s.OneCycleLR(o, 0.03, total_steps=STEPS, cycle_momentum=False),
        nn.AdamW,
    ),
    "cosine-and_on": (
        nn.schedules.Cosine(0.02, 60, floor=2e-3),
        lambda s, o: s.LambdaLR(o, lambda t: 0.1 + 0.9 * (1 + math.cos(math.pi * min(t / 60, 1))) / 2),
        nn.Adam,
    ),
    "lambda": (lambda t: 0.05 / (1 + 0.1 * t), lambda s, o: s.LambdaLR(o, lambda t: 1 / (1 + 0.1 * t)), nn.SGD),
}  # fmt: skip


@pytest.fixture
def torch():
    """On one thread, for others have nothing to do here but wait."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


def network():
    """Linear–LayerNorm–Tanh, twice, and Linear; no number of it is 0."""
    rng = np.random.default_rng(0)
    layers = []
    for n_in, n_out in (7, 24), (24, 17):
        layers += [nn.Linear(n_in, n_out, weight_attr=nn.XavierNormal(rng=rng), dtype=np.float64)]
        layers += [nn.LayerNorm(n_out, EPSILON, dtype=np.float64), nn.Tanh()]
    layers.append(nn.Linear(17, 3, weight_attr=nn.XavierNormal(rng=rng), dtype=np.float64))
    model = nn.Sequential(*layers)
    for tensor in model.parameters():
        if not tensor.decays:
            tensor.data += rng.normal(0, 0.2, tensor.shape)
    return model


def data():
    """All batches behind one another."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(STEPS * ROWS, 7)), rng.normal(size=(STEPS * ROWS, 3))


class Twin:
    """The model and its optimizer in PyTorch; what PyTorch has no argument for is done by hand."""

    def __init__(self, torch, model, cls, options):
        self.torch, self.cls = torch, cls
        of = {nn.Linear: torch.nn.Linear, nn.LayerNorm: lambda _, n, dtype: torch.nn.LayerNorm(n, EPSILON, dtype=dtype)}
        layers = [
            torch.nn.Tanh()
            if isinstance(layer, nn.Tanh)
            else of[type(layer)](*layer.weights.shape, dtype=torch.float64)
            for layer in model.graphs
        ]
        self.net = torch.nn.Sequential(*layers)
        self.parameters = list(self.net.parameters())
        with torch.no_grad():
            for p, tensor in zip(self.parameters, model.parameters(), strict=True):
                p.copy_(torch.from_numpy(tensor.data.copy()).T.reshape(p.shape))
        biases = [p for p in self.parameters if p.ndim == 1]  # and both of LayerNorm
        self.decay = options.get("weight_decay", 0.01 if cls is nn.AdamW else 0.0)
        self.l1, self.clip_norm = options.get("decay_type") == "l1", options.get("clip_norm")
        self.decaying = [p for p in self.parameters if options.get("decay_bias", True) or p.ndim == 2]
        self.optimizer = self._optimizer(options, [p for p in self.parameters if p.ndim == 2], biases)
        self.scheduler = None

    def _optimizer(self, options, weights, biases):
        theirs = {new: options[name] for name, new in {
            "momentum": "momentum", "nesterov": "nesterov", "epsilon": "eps", "alpha": "alpha", "learning_rate": "lr",
        }.items() if name in options}  # fmt: skip
        if "beta1" in options:
            theirs["betas"] = options["beta1"], options["beta2"]
        decay = 0.0 if self.l1 else self.decay
        groups = [
            {"params": weights, "weight_decay": decay},
            {"params": biases, "weight_decay": decay if options.get("decay_bias", True) else 0.0},
        ]
        return getattr(self.torch.optim, self.cls.__name__)(groups, **theirs)

    def step(self, x, y):
        """One step; the loss."""
        self.optimizer.zero_grad()
        loss = 0.5 * self.torch.nn.functional.mse_loss(self.net(self.torch.from_numpy(x)), self.torch.from_numpy(y))
        loss.backward()
        with self.torch.no_grad():
            if self.clip_norm is not None:
                norm = math.sqrt(sum(float((p.grad**2).sum()) for p in self.parameters))
                self.clipped = norm > self.clip_norm
                for p in self.parameters:
                    p.grad *= self.clip_norm / max(norm, self.clip_norm)
            for p in self.decaying if self.l1 else []:
                if self.cls is nn.AdamW:
                    p -= self.rate * self.decay * p.sign()
                else:
                    p.grad += self.decay * p.sign()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return loss.item()

    @property
    def rate(self):
        return self.optimizer.param_groups[0]["lr"]

    def arrays(self):
        """Parameters and what is kept of them, as fastnp has them."""
        lists = [("data", self.parameters)]
        for name, theirs in KEPT[self.cls].items():
            states = [self.optimizer.state[p].get(theirs) for p in self.parameters]
            if states[0] is not None:  # else there is no momentum
                lists.append((name, states))
        return {name: [np.atleast_2d(a.detach().numpy().T) for a in arrays] for name, arrays in lists}


def distance(model, optimizer, arrays):
    """How far the parameters and what is kept of them are from PyTorch's, of the largest number of an array."""
    worst = 0.0
    for name, theirs in arrays.items():
        mine = [t.data for t in model.parameters()] if name == "data" else getattr(optimizer, name)
        for a, b in zip(mine, theirs, strict=True):
            worst = max(worst, np.abs(a - b).max() / np.abs(b).max())
    return worst


def loop(model, optimizer, x, y):
    """Step by step: losses."""
    loss_fn = nn.MSE()
    for start in range(0, len(x), ROWS):
        loss = loss_fn(model(x[start : start + ROWS]), y[start : start + ROWS])
        model.backward(loss_fn.backward())
        optimizer.step()
        optimizer.clear_grad()
        yield loss


def beside_pytorch(twin, model, optimizer, fit):
    """Train both; how far they are apart at worst."""
    (x, y), worst = data(), 0.0
    if fit:
        loader = nn.DataLoader(nn.ArrayDataset(x, y), batch_size=ROWS)
        history = nn.fit(model, nn.MSE(), optimizer, loader, 1, progress=False)
    steps = None if fit else loop(model, optimizer, x, y)
    losses = []
    for start in range(0, len(x), ROWS):
        rate = twin.rate
        losses.append(twin.step(x[start : start + ROWS], y[start : start + ROWS]))
        if steps is not None:
            worst = max(worst, abs(optimizer.learning_rate / rate - 1), abs(next(steps) / losses[-1] - 1))
            worst = max(worst, distance(model, optimizer, twin.arrays()))
    if fit:
        worst = max(abs(history.loss[-1] / np.mean(losses) - 1), distance(model, optimizer, twin.arrays()))
    assert optimizer.updates == STEPS
    assert losses[-1] != losses[0]
    return worst


ways = pytest.mark.parametrize("fit", [False, True], ids=["loop", "fit"])


@ways
@pytest.mark.parametrize("name", CASES)
def test_a_training_is_pytorchs(name, fit, backend, torch):
    cls, options = CASES[name]
    model = network()
    twin = Twin(torch, model, cls, options)
    worst = beside_pytorch(twin, model, cls(parameters=model.parameters(), **options), fit)
    print(f"{name}: worst relative difference {worst:.1e}")
    assert worst <= TOLERANCE
    assert "clipped" not in name or twin.clipped


@ways
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_pytorchs(name, fit, backend, torch):
    schedule, theirs, cls = SCHEDULES[name]
    model = network()
    # PyTorch's schedules multiply the first rate; OneCycleLR sets its own.
    first = 0.05 if name in ("warmup", "lambda") else schedule(0)
    twin = Twin(torch, model, cls, {"learning_rate": first, "weight_decay": 0.01})
    twin.scheduler = theirs(torch.optim.lr_scheduler, twin.optimizer)
    optimizer = cls(parameters=model.parameters(), learning_rate=schedule, weight_decay=0.01)
    if cls is nn.SGD:
        optimizer.momentum = 0.0
    worst = beside_pytorch(twin, model, optimizer, fit)
    print(f"{name}: worst relative difference {worst:.1e}")
    assert worst <= TOLERANCE
