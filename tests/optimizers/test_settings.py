"""Every setting of every optimizer, once assigned or deleted, is in force from the next update on, on every path."""

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, fit, loop, setup
from fits import backend as backend
from fits import kernel_calls as kernel_calls
from models import assert_same_bits
from optimizing import SETTINGS, made_anew, settings_of, shapes
from public import optimizers

import fastnp as nn

# So that all of them matter.
BASE = {"learning_rate": nn.schedules.Linear(0.03, 0.01, 50), "weight_decay": 0.3}


EVERY = [(cls, name) for cls in optimizers() for name in settings_of(cls)]
every_setting = pytest.mark.parametrize(("cls", "name"), EVERY, ids=[f"{cls.__name__}.{name}" for cls, name in EVERY])


def assign_other(optimizer, name):
    """Assign another value; what is kept is by the rate then, where it shall be, or training would diverge."""
    if name == "rate_in_velocity":
        optimizer.velocity = [optimizer.learning_rate * velocity for velocity in optimizer.velocity]
    setattr(optimizer, name, SETTINGS[name][0])


@every_setting
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_what_is_assigned_in_the_loop_is_in_force(cls, name, clip_norm):
    runs = [setup(shapes(np.float32)["odd"], optimizer_of=cls, sgd=BASE | {"clip_norm": clip_norm}) for _ in range(3)]
    for run in runs:
        loop(run, 1)
    for run in runs[:2]:
        assign_other(run.optimizer, name)
        assert getattr(run.optimizer, name) == SETTINGS[name][0] or name == "learning_rate"
    runs[1].optimizer = made_anew(runs[1].optimizer)
    losses = [loop(run, 2) for run in runs]
    assert losses[0] == losses[1]
    assert_same(*runs[:2])
    assert losses[0] != losses[2]


@every_setting
def test_what_a_callback_or_who_calls_fit_again_assigns_is_in_force(cls, name, backend, kernel_calls):
    """In whole epochs of the compiled kernels, and in the loop of NumPy's."""
    layers = CHAIN if backend == "numba" else [*CHAIN, Double]

    def assign(run, epoch):
        if epoch == 1:
            setattr(run.optimizer, name, SETTINGS[name][0])

    runs = [setup(layers, optimizer_of=cls, sgd=BASE) for _ in range(3)]
    losses = [fit(runs[0], 4, callback=lambda epoch, loss: assign(runs[0], epoch))]
    losses.append(loop(runs[1], 4, lambda epoch: assign(runs[1], epoch)))
    losses.append(fit(runs[2], 2))
    assign(runs[2], 1)
    losses[2] += fit(runs[2], 2)
    assert losses[0] == losses[1] == losses[2]
    assert_same(runs[0], runs[1])
    assert_same(runs[2], runs[1])
    assert bool(kernel_calls) == (layers is CHAIN)


BY_CLASS = [(cls, name) for cls, name in EVERY if hasattr(cls, name) and name != "learning_rate"]


@pytest.mark.parametrize(("cls", "name"), BY_CLASS)
def test_what_is_deleted_is_as_the_class_says_from_then_on(cls, name):
    runs = [setup(optimizer_of=cls, sgd=BASE | {"clip_norm": 0.5}) for _ in range(2)]
    for run in runs:
        setattr(run.optimizer, name, SETTINGS[name][0])
        loop(run, 1)
    delattr(runs[0].optimizer, name)
    setattr(runs[1].optimizer, name, getattr(cls, name))
    runs[1].optimizer = made_anew(runs[1].optimizer)
    assert loop(runs[0], 2) == loop(runs[1], 2)
    assert_same(*runs)


def test_something_has_a_value_by_its_class():
    flags = {"nesterov", "rate_in_velocity", "epsilon_hat", "decay_bias"}
    assert {name for _, name in BY_CLASS} == flags | {"clip_norm", "updates"}


@pytest.mark.parametrize("cls", optimizers())
def test_decays_that_are_deleted_are_as_the_class_says(cls):
    tensors = []
    for delete in False, True:
        layer = nn.Linear(3, 2)
        layer.bias.data = np.ones((1, 2))
        optimizer = cls(parameters=layer.parameters(), weight_decay=0.5, decay_bias=False)
        optimizer.step()
        assert (layer.bias.data == 1).all()
        if delete:
            del layer.bias.decays
        else:
            layer.bias.decays = True
        optimizer.step()
        tensors.append(layer.bias.data.copy())
    assert (tensors[0] < 1).all()
    assert_same_bits([tensors[0]], [tensors[1]])
