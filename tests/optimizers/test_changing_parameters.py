"""Optimizers whose parameters change: extended, reordered, bound to a copy; velocities follow."""

import copy
import pickle

import numpy as np
import pytest
from models import assert_same_bits, build, sgd, train, values
from parts import DATA, MOMENTUM, RATE, loader

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def test_parameters_can_be_extended_keeping_velocities():
    model, other = build(3, 8, 2, dtype=np.float64), build(3, 8, 2, dtype=np.float64)
    part = nn.SGD(MOMENTUM, model.parameters()[:2], RATE)
    train(model, part, DATA[:3])
    velocity = [v.copy() for v in part.velocity]
    part.parameters.extend(model.parameters()[2:])
    assert_same_bits(part.velocity[:2], velocity)
    assert not any(v.any() for v in part.velocity[2:])

    old = nn.SGD(MOMENTUM, other.parameters()[:2], RATE)
    train(other, old, DATA[:3])
    whole = nn.SGD(MOMENTUM, other.parameters(), RATE)
    whole.velocity = [*old.velocity, *(np.zeros(p.shape) for p in other.parameters()[2:])]
    for tensor in [*model.parameters(), *other.parameters()]:
        tensor.clear_grad()
    assert train(model, part, DATA[3:]) == train(other, whole, DATA[3:])
    assert_same_bits(values(model), values(other))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_an_optimizer_copied_alone_is_bound_to_a_model_again(clone):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    train(model, optimizer, DATA[:5])
    saved_model, saved_optimizer = copy.deepcopy(model), clone(optimizer)
    losses = train(model, optimizer, DATA[5:])
    with pytest.raises(ValueError, match=r"bind\(model\.parameters\(\)\)"):
        nn.fit(saved_model, nn.MSE(), saved_optimizer, loader(), 1, progress=False)
    saved_optimizer.bind(saved_model.parameters())
    assert train(saved_model, saved_optimizer, DATA[5:]) == losses
    assert_same_bits(values(saved_model), values(model))
    assert_same_bits(saved_optimizer.velocity, optimizer.velocity)


@pytest.mark.parametrize("parameters", [
    lambda: build(3, 8, 2).parameters()[:3], lambda: build(3, 9, 2).parameters(),
    lambda: build(3, 8, 2, dtype=np.float64).parameters(), lambda: build(3, 8, 2).parameters()[::-1],
])  # fmt: skip
def test_bind_refuses_other_shapes_and_changes_nothing(parameters):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    velocity = [v.copy() for v in optimizer.velocity]
    with pytest.raises(ValueError, match="bind needs tensors of the shapes"):
        optimizer.bind(parameters())
    assert optimizer.parameters == model.parameters()
    assert_same_bits(optimizer.velocity, velocity)


def test_an_optimizer_of_the_users_own_can_be_bound():
    class Heavy(nn.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters)
            self.sums = [np.zeros(p.shape) for p in self.parameters]

        def step(self):
            for p, s in zip(self.parameters, self.sums, strict=True):
                s += p.grad
                p.data = p.data - self.learning_rate * s

    model = build(3, 8, 2)
    optimizer = Heavy(model.parameters())
    train(model, optimizer, DATA[:3])
    other = copy.deepcopy(model)
    sums = copy.deepcopy(optimizer.sums)
    optimizer.bind(other.parameters())
    train(other, optimizer, DATA[3:5])
    train(model, again := Heavy(model.parameters()), [])
    again.sums = sums
    train(model, again, DATA[3:5])
    assert_same_bits(values(other), values(model))


def test_velocities_can_be_set_to_each_other():
    model = build(2, 2, 2)
    optimizer = sgd(model)
    optimizer.velocity = [np.full(p.shape, float(i)) for i, p in enumerate(model.parameters())]
    v = optimizer.velocity
    optimizer.velocity = [v[2], v[3], v[0], v[1]]
    assert [float(v.flat[0]) for v in optimizer.velocity] == [2, 3, 0, 1]


def test_an_extension_that_breaks_off_is_noticed():
    model = build(3, 8, 2)
    optimizer = sgd(model, parameters=model.parameters()[:2])
    train(model, optimizer, DATA[:1])

    def breaking():
        yield from model.parameters()[2:]
        raise OSError

    with pytest.raises(OSError):
        optimizer.parameters.extend(breaking())
    before = values(model)
    train(model, optimizer, DATA[1:3])
    assert all((a != b).any() for a, b in zip(before, values(model), strict=True))


def reverse(optimizer):
    optimizer.parameters.reverse()


def sort(optimizer):
    optimizer.parameters.sort(key=lambda tensor: tensor.data.size)


def rotate(optimizer):
    optimizer.parameters.append(optimizer.parameters.pop(0))


def slice_away(optimizer):
    del optimizer.parameters[1:3]


def assign_one(optimizer):
    optimizer.parameters[0] = nn.Tensor((3, 8))


def keep_none(optimizer):
    optimizer.parameters *= 0


@pytest.mark.parametrize("change", [reverse, sort, rotate, slice_away, assign_one, keep_none])
def test_a_changed_list_of_parameters_is_followed(change):
    model = build(3, 8, 2)
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    before = {id(p): v.copy() for p, v in zip(optimizer.parameters, optimizer.velocity, strict=True)}
    change(optimizer)
    velocity = optimizer.velocity
    assert len(velocity) == len(optimizer.parameters)
    for p, v in zip(optimizer.parameters, velocity, strict=True):
        assert v.shape == p.shape and np.array_equal(v, before.get(id(p), np.zeros(p.shape)))


def test_a_tensor_whose_method_is_replaced_is_asked_from_then_on():
    model, cleared = build(3, 8, 2), []
    optimizer = sgd(model)
    train(model, optimizer, DATA[:2])
    bias = model.graphs[0].bias
    bias.clear_grad = lambda: cleared.append(1)
    optimizer.clear_grad()
    assert cleared


def test_velocities_can_be_set_and_nothing_else_put_there():
    model = build(3, 8, 2)
    optimizer = sgd(model)
    new = [np.full(p.shape, 0.5) for p in model.parameters()]
    optimizer.velocity = new
    assert all((v == 0.5).all() for v in optimizer.velocity)
    assert all(v.dtype == np.float32 for v in optimizer.velocity)
    for bad, error in (new[:-1], ValueError), (new[::-1], ValueError), (1.0, TypeError), ([["a"]] * 4, TypeError):
        with pytest.raises(error, match="velocity"):
            optimizer.velocity = bad
        assert all((v == 0.5).all() for v in optimizer.velocity)
