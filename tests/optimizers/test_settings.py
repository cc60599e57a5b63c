"""Every setting of every optimizer: refused where it is wrong, and in force from the next update on, on every path."""

import inspect

import numpy as np
import pytest
from fits import CHAIN, Double, assert_same, fit, kept, loop, setup
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


@pytest.mark.parametrize("cls", optimizers())
def test_every_argument_is_a_setting(cls):
    arguments = set(inspect.signature(cls).parameters) - {"parameters"}
    assert arguments | {"updates"} == set(settings_of(cls)) <= SETTINGS.keys()
    described = [each for each in cls.__mro__ if issubclass(each, nn.Optimizer)] + [nn.SGD]  # "as for `SGD`"
    text = "".join(inspect.getdoc(each) for each in described)
    assert not [name for name in (*arguments, *cls._kernel_rule.kept) if name not in text]
    assert "Source" in inspect.getdoc(cls)


# --- what is refused ---


def seen(optimizer):
    values = {name: getattr(optimizer, name) for name in settings_of(type(optimizer))}
    arrays = [tensor.data for tensor in optimizer.parameters] + [a for k in kept(optimizer).values() for a in k]
    return values, optimizer.schedule, optimizer.parameters[:], [array.tobytes() for array in arrays]


@every_setting
def test_what_a_setting_cannot_be_is_refused_by_name(cls, name):
    run = setup(optimizer_of=cls, sgd=BASE)
    loop(run, 1)
    before = seen(run.optimizer)
    for bad in SETTINGS[name][1]:
        with pytest.raises((TypeError, ValueError), match=f"^{cls.__name__}: {name} must "):
            setattr(run.optimizer, name, bad)
        if name != "updates":
            with pytest.raises((TypeError, ValueError), match=f"^{cls.__name__}: {name} must "):
                cls(**{"parameters": run.model.parameters(), name: bad})
        assert seen(run.optimizer) == before
    other = setup(optimizer_of=cls, sgd=BASE)
    loop(other, 1)
    assert loop(run, 1) == loop(other, 1)
    assert_same(run, other)


@pytest.mark.parametrize("cls", [nn.Optimizer, *optimizers()])
@pytest.mark.parametrize("bad", [0.001, 3, "abc", None, nn.Tensor(1), np.ones(3), [1.0], object()], ids=repr)
def test_what_parameters_cannot_be_is_refused_by_name(cls, bad):
    with pytest.raises(TypeError, match=rf"{cls.__name__}: parameters(\[0\])? (must be|is missing)"):
        cls(parameters=bad)
    if cls is not nn.SGD:
        with pytest.raises(TypeError, match=rf"{cls.__name__}: parameters(\[0\])? must be"):
            cls(bad)


def test_a_number_in_the_place_of_parameters_is_refused_by_name():
    with pytest.raises(TypeError, match="SGD: parameters must be a list of Tensors"):
        nn.SGD(0.9, 0.01)


@pytest.mark.parametrize("cls", optimizers())
def test_what_is_kept_is_refused_by_name_and_stays(cls):
    run = setup(optimizer_of=cls, sgd=BASE)
    loop(run, 1)
    before = seen(run.optimizer)
    for name in cls._kernel_rule.kept:
        good = [np.ones(t.shape) for t in run.optimizer.parameters]
        for bad in good[:-1], good[::-1], 1.0, None, [["a"]] * 6, [*good[:-1], good[-1].T], [*good[:-1], None]:
            with pytest.raises((TypeError, ValueError), match=f"{cls.__name__}: {name}"):
                setattr(run.optimizer, name, bad)
            assert seen(run.optimizer) == before
        setattr(run.optimizer, name, tuple(good))
        assert all((array == 1).all() for array in kept(run.optimizer)[name])
        before = seen(run.optimizer)


# --- what is assigned is in force from the next update on ---


@every_setting
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_what_is_assigned_in_the_loop_is_in_force(cls, name, clip_norm):
    runs = [setup(shapes(np.float32)["odd"], optimizer_of=cls, sgd=BASE | {"clip_norm": clip_norm}) for _ in range(3)]
    for run in runs:
        loop(run, 1)
    for run in runs[:2]:
        setattr(run.optimizer, name, SETTINGS[name][0])
        assert getattr(run.optimizer, name) == SETTINGS[name][0] or name == "learning_rate"
    runs[1].optimizer = made_anew(runs[1].optimizer)
    losses = [loop(run, 2) for run in runs]
    assert losses[0] == losses[1]
    assert_same(*runs[:2])
    assert losses[0] != losses[2]


@every_setting
@pytest.mark.parametrize("layers", [CHAIN, [*CHAIN, Double]], ids=["kernel", "loop"])
def test_what_a_callback_or_who_calls_fit_again_assigns_is_in_force(cls, name, layers, kernel_calls):
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
    assert {name for _, name in BY_CLASS} == {"nesterov", "decay_bias", "clip_norm", "updates"}


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


@pytest.mark.parametrize("bad", [None, 2, "no", 0.5])
def test_decays_are_flags(bad):
    tensor = nn.Linear(3, 2).bias
    with pytest.raises(TypeError, match="Tensor: decays must be True or False"):
        tensor.decays = bad
    assert tensor.decays is False
    tensor.decays = np.True_
    assert tensor.decays is True
