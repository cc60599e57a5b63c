"""Trainings with checkpoints, made anew in any process; run as a program, one of them, which goes on where it was.

    python checkpointed.py FILE NAME

prints a line for every epoch, and all that the training left as a digest.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

import fastnp as nn

EPOCHS = 12


class Rows(nn.Dataset):
    """A data set of a user's own."""

    def __init__(self, X, Y):
        self.X, self.Y = X, Y

    def __getitem__(self, i):
        return self.X[i], self.Y[i]

    def __len__(self):
        return len(self.X)


class OwnMSE(nn.MSE):
    """A loss of a user's own: the loop runs."""

    def forward(self, pred, target):
        return super().forward(pred, target)


class Signs(nn.Optimizer):
    """One of a user's own, with lists, a count, arrays by the ids of tensors, and what it makes when it steps."""

    def __init__(self, parameters, learning_rate=0.01):
        super().__init__(parameters, learning_rate)
        self.mean, self.steps = [np.zeros(p.shape) for p in self.parameters], 0

    def step(self):
        if not hasattr(self, "by_id"):
            self.by_id = {id(p): np.zeros(p.shape) for p in self.parameters}
        self.steps += 1
        for mean, p in zip(self.mean, self.parameters, strict=True):
            mean *= 0.9
            mean += p.grad
            self.by_id[id(p)] += np.sign(mean) / self.steps
            p.data = p.data - self.learning_rate * self.by_id[id(p)]


class Around(nn.Optimizer):
    """One of a user's own that has one of the library's in it."""

    def __init__(self, parameters, learning_rate=0.01):
        super().__init__(parameters, learning_rate)
        self.inner, self.shrinks = nn.Adam(self.parameters, learning_rate), 0

    def step(self):
        self.inner.step()
        self.shrinks += 1
        for p in self.parameters:
            p.data = p.data * (1 - 1e-4 * self.shrinks)


def network(dropout=True, dtype=np.float32):
    rng = np.random.default_rng(7)
    layers = [nn.Linear(3, 20, weight_attr=nn.HeNormal(rng=rng), dtype=dtype), nn.Tanh()]
    layers += [nn.Dropout(0.2, rng=rng)] * dropout + [nn.LayerNorm(20, dtype=dtype)]
    return nn.Sequential(*layers, nn.Sequential(nn.Linear(20, 2, weight_attr=nn.HeNormal(rng=rng), dtype=dtype)))


RATE = nn.schedules.OneCycle(0.05, EPOCHS * 9)
OPTIMIZERS = {
    "sgd": lambda p: nn.SGD(0.9, p, 0.02),
    "nesterov": lambda p: nn.SGD(0.9, p, 0.02, nesterov=True, weight_decay=0.01, rate_in_velocity=True),
    "adam": lambda p: nn.Adam(p, nn.schedules.Cosine(0.02, EPOCHS * 9, warmup=20)),
    "adamw": lambda p: nn.AdamW(p, RATE, clip_norm=0.5, decay_bias=False),
    "rmsprop": lambda p: nn.RMSprop(p, 0.005, momentum=0.5),
    "own schedule": lambda p: nn.Adam(p, lambda update: 0.02 / (1 + update)),
    "own": Signs,
    "around": Around,
}


def training(name):
    """What `fit` takes, and its keywords."""
    words = set(name.split("+"))
    (optimizer,) = words & OPTIMIZERS.keys()
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(41, 3)), rng.normal(size=(41, 2))
    np.random.seed(2)
    model = network("no dropout" not in words, np.float64 if "f64" in words else np.float32)
    rng = (
        None
        if "global" in words
        else np.random.Generator(np.random.MT19937(4) if "mt" in words else np.random.PCG64(4))
    )
    if "philox" in words:
        rng = np.random.Generator(np.random.Philox(4))
    data = (Rows if "rows" in words else nn.ArrayDataset)(X, Y)
    loader = nn.DataLoader(data, batch_size=5, shuffle=True, reshuffle="fixed" not in words, rng=rng)
    options = {"progress": False, "every": 3 if "every" in words else 1}
    if "stopping" in words:
        monitor = "loss" if "by loss" in words else "validation_loss"
        options["early_stopping"] = nn.EarlyStopping(monitor, patience=4, min_delta=1e-3)
        options["validation"] = rng_data(3)
    if "validation" in words:
        options["validation"] = rng_data(3)
    loss_fn = OwnMSE() if "loop" in words else nn.Huber(0.8)
    return (model, loss_fn, OPTIMIZERS[optimizer](model.parameters()), loader), options


def rng_data(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(17, 3)), 0.2 * rng.normal(size=(17, 2))


def seen(parts, history):
    """All that a training left, as a digest."""
    model, _, optimizer, loader = parts
    numbers = [tensor.data for tensor in model.parameters()]
    inner = getattr(optimizer, "inner", optimizer)
    if hasattr(inner, "_kernel_rule"):
        numbers += [array for kind in inner._kernel_rule.kept for array in getattr(inner, kind)]
    numbers += [np.array(numbers) for numbers in (history.loss, history.validation_loss, history.learning_rate)]
    numbers += [loader.sampler.indices, model(np.ones((4, 3))), *getattr(optimizer, "mean", [])]
    numbers += [np.random.get_state()[1]]
    rest = optimizer.updates, optimizer.learning_rate, history.best_epoch, getattr(optimizer, "steps", 0)
    rng = loader.sampler.rng
    words = repr([*rest, None if rng is None else rng.bit_generator.state])
    digest = hashlib.sha256(words.encode())
    for array in numbers:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def run(path, name, epochs=EPOCHS, callback=None):
    """Train, from where the file says if there is one; what that left."""
    parts, options = training(name)
    model, _, optimizer, loader = parts
    if Path(path).exists():
        nn.load(path, model=model, optimizer=optimizer, dataloader=loader, restore_global_rng=True)
    history = nn.fit(*parts, epochs, checkpoint=path, callback=callback, **options)
    return seen(parts, history)


if __name__ == "__main__":
    print("begins", flush=True)
    print(run(*sys.argv[1:]), flush=True)
