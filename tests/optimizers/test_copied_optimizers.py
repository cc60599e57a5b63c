"""Every optimizer pickled or copied in mid-training goes on with the same bits, and old pickles load."""

import copy
import pickle

import numpy as np
import pytest
from fits import assert_same, fit, kept, loop, setup
from fits import backend as backend
from models import assert_same_bits
from optimizing import CASES, WAYS, shapes
from own import Descent
from public import optimizers

import fastnp as nn

every_optimizer = pytest.mark.parametrize("cls", optimizers(), ids=lambda cls: cls.__name__)


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def parts(run):
    return run.model, run.optimizer, run.loss_fn, run.loader, run.rng


def with_parts(run, those):
    run.model, run.optimizer, run.loss_fn, run.loader, run.rng = those
    return run


@pytest.mark.parametrize("case", CASES)
def test_a_copied_training_goes_on(case):
    cls, settings = CASES[case]
    i = list(CASES).index(case)
    options = {"layers": shapes(np.float64)["norm"], "dtype": np.float64, "optimizer_of": cls, "sgd": settings}
    run, other = setup(**options), setup(**options)
    (fit, loop)[i % 2](run, 2)
    copied = with_parts(other, (pickled, copy.deepcopy)[i // 2 % 2](parts(run)))
    assert_same_bits(*([a for arrays in kept(each.optimizer).values() for a in arrays] for each in (run, copied)))
    assert copied.optimizer.updates == run.optimizer.updates == 10
    assert copied.optimizer.learning_rate == run.optimizer.learning_rate
    assert loop(copied, 2) == (loop, fit)[i % 2](run, 2)
    assert_same(copied, run)


@every_optimizer
@pytest.mark.parametrize("clone", [pickled, copy.deepcopy])
@pytest.mark.parametrize("way", ["plain", "all"])
def test_a_copy_alone_is_bound_to_a_copy_of_the_model(cls, clone, way):
    run = setup(optimizer_of=cls, sgd=WAYS[way])
    loop(run, 2)
    alone, model = clone(run.optimizer), copy.deepcopy(run.model)
    assert not any(mine is theirs for mine in alone.parameters for theirs in model.parameters())
    alone.bind(model.parameters())
    other = with_parts(setup(), (model, alone, *copy.deepcopy(parts(run)[2:])))
    assert fit(other, 2) == loop(run, 2)
    assert_same(other, run)
    assert alone.schedule == run.optimizer.schedule and alone.updates == 20


@every_optimizer
def test_a_copy_is_independent(cls):
    run = setup(optimizer_of=cls, sgd=WAYS["all"])
    loop(run, 1)
    other = copy.deepcopy(run.optimizer)
    before = [a.copy() for arrays in kept(run.optimizer).values() for a in arrays]
    for tensor in other.parameters:
        tensor.grad = np.ones(tensor.shape)
    other.step()
    other.learning_rate, other.updates = 0.5, 100
    assert_same_bits(before, [a for arrays in kept(run.optimizer).values() for a in arrays])
    assert run.optimizer.updates == 5 and run.optimizer.schedule is WAYS["all"]["learning_rate"]


@every_optimizer
def test_kept_arrays_can_be_carried_over_by_hand(cls):
    """With `updates` they are all that an optimizer remembers."""
    run, other = setup(optimizer_of=cls, sgd=WAYS["all"]), setup(optimizer_of=cls, sgd=WAYS["all"])
    loop(run, 2)
    loop(other, 2)
    new = cls(parameters=other.model.parameters(), **WAYS["all"])
    for name, arrays in kept(other.optimizer).items():
        setattr(new, name, [array.tolist() for array in arrays])
    new.updates = other.optimizer.updates
    other.optimizer = new
    assert fit(other, 2) == fit(run, 2)
    assert_same(other, run)


def test_a_schedule_that_cannot_be_pickled_harms_nothing():
    run, other = (setup(sgd={"learning_rate": lambda update: 0.01}) for _ in range(2))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(run.optimizer)
    assert loop(run, 1) == loop(other, 1)
    assert copy.deepcopy(run.optimizer).learning_rate == 0.01


# --- pickles of before: the learning rate an attribute, nothing counted, no decays ---

OF_BEFORE = {"_held_since", "parameters", "weight_decay", "decay_type", "momentum", "velocity"}


def as_before(thing):
    """What an earlier version would have pickled of it, loaded."""
    state = thing.__getstate__()
    if isinstance(thing, nn.Optimizer):
        state = {name: value for name, value in state.items() if name in OF_BEFORE} | {"learning_rate": 0.25}
    else:
        del state["decays"]
    new = type(thing).__new__(type(thing))
    new.__setstate__(state)
    return new


@pytest.mark.parametrize("cls", [nn.Adam, nn.AdamW])
def test_an_old_pickle_of_adam_has_the_usual_epsilon(cls):
    layer = nn.Linear(3, 2)
    optimizer = cls(layer.parameters(), epsilon=0.5)
    state = optimizer.__getstate__()
    del state["epsilon_hat"]
    old = cls.__new__(cls)
    old.__setstate__(state)
    assert old.epsilon_hat is False
    data = []
    for each in optimizer, old:
        layer.weights.data, layer.weights.grad = np.ones((3, 2)), np.ones((3, 2))
        each.step()
        data.append(layer.weights.data.tobytes())
    assert data[0] == data[1]


@pytest.mark.parametrize("cls", [nn.SGD, Descent])
def test_an_old_pickle_of_an_optimizer_loads_and_goes_on(cls):
    layer = nn.Linear(3, 2, weight_attr=nn.Constant(0.5))
    optimizer = cls(parameters=layer.parameters(), learning_rate=0.25, weight_decay=0.5, decay_type="l1")
    optimizer.learning_rate = 0.25
    layer.weights.grad = np.ones((3, 2))
    optimizer.step()
    old = as_before(optimizer)
    assert (old.learning_rate, old.schedule, old.updates) == (0.25, None, 0)
    assert "learning_rate=0.25" in repr(old)
    if cls is nn.SGD:
        assert (old.nesterov, old.rate_in_velocity, old.decay_bias, old.clip_norm) == (False, False, True, None)
        assert_same_bits(old.velocity, optimizer.velocity)
    results = []
    for each in optimizer, old:
        layer.weights.data, layer.bias.data = np.ones((3, 2)), np.ones((1, 2))
        each.step()
        results.append((layer.weights.data.tobytes(), layer.bias.data.tobytes()))
    assert results[0] == results[1] and old.updates == 1
    again = pickled(old)
    assert (again.learning_rate, again.updates) == (0.25, 1)
    old.learning_rate = nn.schedules.Linear(1.0, 0.0, 4)
    assert old.learning_rate == 0.75


def test_an_old_pickle_of_a_tensor_decays_until_it_is_told_otherwise():
    old = as_before(nn.Linear(3, 2).bias)
    assert old.decays is True
    old.decays = False
    optimizer = nn.SGD(parameters=[old], weight_decay=0.5, decay_bias=False)
    old.data = np.ones((1, 2))
    optimizer.step()
    assert (old.data == 1).all()


@pytest.mark.parametrize("clone", [pickled, copy.deepcopy, copy.copy])
def test_decays_go_along(clone):
    tensor, layer = nn.Tensor(2), nn.LayerNorm(3)
    tensor.decays = False
    layer.weights.decays = True
    assert clone(tensor).decays is False
    if clone is not copy.copy:
        assert [t.decays for t in clone(layer).parameters()] == [True, False]
        tensor.convert(np.float64)
        assert tensor.decays is False and clone(tensor).decays is False
