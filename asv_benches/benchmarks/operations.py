"""What a layer, a loss or an optimizer costs: the time of a step of `fit` with it, over that with ReLU, MSE and SGD.

Both are measured in turns. Less is better, as everywhere.
"""

import functools
import inspect

import numpy as np

from asv_benches.agreement import assert_same_training, assert_same_way, by_each_backend
from asv_benches.contestants.ours import fastnp_parts, fitted, of_fastnp, relu, sgd
from asv_benches.jobs import LEARNING_RATE, MOMENTUM
from asv_benches.networks import NETWORKS
from asv_benches.turns import epochs_for, median_ratio

BATCHES = 20  # in an epoch
LAYERED = {str(network): network for network in NETWORKS[:3]}
WITH_LOSSES = {str(network): network for network in (NETWORKS[0], NETWORKS[3])}
LAYERS = (
    "Tanh",
    "LeakyReLU",
    "ELU",
    "Sigmoid",
    "SiLU",
    "GELU",
    "GELU tanh",
    "Softplus",
    "Softmax",
    "Dropout",
    "LayerNorm",
)
WITH_OPTIMIZERS = {str(network): network for network in NETWORKS[:4]}
LOSSES = (
    "MAE",
    "Huber",
    "Quantile",
    "PoissonNLL",
    "BCEWithLogits",
    "CrossEntropy",
    "CrossEntropy clip",
    "weighted MSE",
)
OPTIMIZERS = (
    "SGD nesterov",
    "SGD rate_in_velocity",
    "SGD clip_norm",
    "SGD Cosine",
    "Adam",
    "Adam clip_norm",
    "AdamW",
    "RMSprop",
    "RMSprop momentum",
)
SETTINGS = {"nesterov": True, "rate_in_velocity": True, "clip_norm": 1.0, "momentum": MOMENTUM, "clip": 1e-7}


def layers_between(name):
    """A function of a width: an activation in the place of ReLU, or what stands beside it."""
    if name == "Dropout":
        return lambda n: [*relu(n), of_fastnp(name)(0.1)]
    if name == "LayerNorm":
        return lambda n: [of_fastnp(name)(n), *relu(n)]
    if name == "GELU tanh":
        return lambda n: [of_fastnp("GELU")(approximate=True)]
    return lambda n: [of_fastnp(name)()]


def settings_of(cls, setting):
    """The one setting as a class takes it, or none; NotImplementedError on a commit where it has no such one."""
    if setting and setting not in inspect.signature(of_fastnp(cls)).parameters:
        raise NotImplementedError(f"{cls} has no {setting} in this commit")
    return {setting: SETTINGS[setting]} if setting else {}


def optimizer_of(name):
    """A function of parameters: an optimizer, by its class and the setting that it has beside the learning rate."""
    cls, _, setting = name.partition(" ")
    rate, settings = LEARNING_RATE, {}
    if setting == "Cosine":
        rate = of_fastnp("schedules").Cosine(LEARNING_RATE, total=10**9)
    else:
        settings = settings_of(cls, setting)
    return lambda parameters: of_fastnp(cls)(parameters=parameters, learning_rate=rate, **settings)


def loss_of(name):
    """A loss, by its class and the setting that it has."""
    cls, _, setting = name.partition(" ")
    return of_fastnp(cls)(**settings_of(cls, setting))


def parts(network, layer=None, loss=None, optimizer=None):
    """A model, its loss, optimizer and loader."""
    x, y = network.data(BATCHES)
    between = layers_between(layer) if layer else relu
    make = optimizer_of(optimizer) if optimizer else sgd
    weight = np.ones(len(x)) if loss == "weighted MSE" else None
    if (loss or "").startswith("CrossEntropy"):
        y = y.argmax(1)
    elif loss in ("BCEWithLogits", "PoissonNLL"):
        y = (y > 0).astype(y.dtype)
    model, loss_fn, optimizer, loader = fastnp_parts(
        network.widths, network.batch, x, y, between=between, optimizer=make
    )
    if weight is not None:
        of_fastnp("Loss")
        loader.dataset.weight = weight
    elif loss:
        loss_fn = loss_of(loss)
    return model, loss_fn, optimizer, loader


def job_of(network, **what):
    """A function that trains for some ten milliseconds, and its steps."""
    train = fitted(*parts(network, **what))
    epochs = epochs_for(train)
    return functools.partial(train, epochs), epochs * BATCHES


def check(network, **what):
    """AssertionError where the backends differ."""

    def job():
        model, *others = parts(network, **what)
        return model, fitted(model, *others)

    if "optimizer" in what:
        assert_same_way(f"{network}, {what}", *by_each_backend(job, epochs=1))
    else:
        assert_same_training(f"{network}, {what}", job)


class OverReLU:
    """A step with another activation in the place of ReLU, or with one layer more beside it."""

    params = (LAYERS, list(LAYERED))
    param_names = ("layer", "network, batch")
    unit = "× the step with ReLU"

    def setup(self, layer, row):
        check(LAYERED[row], layer=layer)

    def track_fit(self, layer, row):
        network = LAYERED[row]
        return median_ratio(job_of(network, layer=layer), job_of(network))


class OverMSE:
    """A step with another loss in the place of MSE, or with weights."""

    params = (LOSSES, list(WITH_LOSSES))
    param_names = ("loss", "network, batch")
    unit = "× the step with MSE"

    def setup(self, loss, row):
        check(WITH_LOSSES[row], loss=loss)

    def track_fit(self, loss, row):
        network = WITH_LOSSES[row]
        return median_ratio(job_of(network, loss=loss), job_of(network))


class OverSGD:
    """A step with another optimizer in the place of SGD with momentum, or with one setting more."""

    params = (OPTIMIZERS, list(WITH_OPTIMIZERS))
    param_names = ("optimizer", "network, batch")
    unit = "× the step with SGD"

    def setup(self, optimizer, row):
        check(WITH_OPTIMIZERS[row], optimizer=optimizer)

    def track_fit(self, optimizer, row):
        network = WITH_OPTIMIZERS[row]
        return median_ratio(job_of(network, optimizer=optimizer), job_of(network))
