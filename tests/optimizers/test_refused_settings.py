"""Every setting of every optimizer, described, and refused by its name where it is wrong: nothing has changed then."""

import inspect

import numpy as np
import pytest
from fits import assert_same, kept, loop, setup
from optimizing import SETTINGS, settings_of
from public import optimizers

import fastnp as nn

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


@pytest.mark.parametrize("bad", [None, 2, "no", 0.5])
def test_decays_are_flags(bad):
    tensor = nn.Linear(3, 2).bias
    with pytest.raises(TypeError, match="Tensor: decays must be True or False"):
        tensor.decays = bad
    assert tensor.decays is False
    tensor.decays = np.True_
    assert tensor.decays is True
