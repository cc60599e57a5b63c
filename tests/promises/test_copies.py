"""Pickles and deep copies go on with the same bits."""

import copy
import pickle

import pytest
from models import Scale, assert_same_bits, batches, build, gradients, sgd, train, values

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def pickled(*objects):
    return pickle.loads(pickle.dumps(objects))


def deepcopied(*objects):
    return copy.deepcopy(objects)


@pytest.mark.parametrize("clone", [pickled, deepcopied])
@pytest.mark.parametrize("order", ["model first", "optimizer first"])
def test_copies_of_model_and_optimizer_go_on_with_the_same_bits(clone, order):
    model = nn.Sequential(*build(3, 8, 4).graphs, Scale(), nn.Sequential(*build(4, 9, 2, seed=2).graphs))
    optimizer, data = sgd(model), batches(3, 2, count=12)
    train(model, optimizer, data[:5])
    if order == "model first":
        model2, optimizer2 = clone(model, optimizer)
    else:
        optimizer2, model2 = clone(optimizer, model)
    assert_same_bits(optimizer2.velocity, optimizer.velocity)
    losses = train(model, optimizer, data[5:])
    assert train(model2, optimizer2, data[5:]) == losses
    assert_same_bits(values(model2), values(model))


@pytest.mark.parametrize("clone", [pickled, deepcopied])
def test_a_copy_keeps_gradients_and_is_independent(clone):
    model = build(3, 8, 2)
    ((x, g),) = batches(3, 2, count=1)
    model(x)
    model.backward(g)
    (other,) = clone(model)
    assert_same_bits(gradients(other), gradients(model))
    before = values(model)
    train(other, sgd(other), batches(3, 2))
    assert_same_bits(values(model), before)
    model.backward(g)


@pytest.mark.parametrize("clone", [pickled, deepcopied])
@pytest.mark.parametrize("make", [
    lambda: nn.Linear(2, 3, "fc"), lambda: nn.ReLU("bend"), lambda: nn.MSE("half", "sum"), lambda: nn.Normal(1, 2),
    lambda: nn.Tensor((2, 3)), lambda: nn.BatchSampler(range(5), True, 2), lambda: build(2, 3, 1),
])  # fmt: skip
def test_everything_can_be_copied(clone, make):
    original = make()
    (other,) = clone(original)
    assert str(other) == str(original) or type(original) is nn.BatchSampler
    assert type(other) is type(original)


@pytest.mark.parametrize("clone", [pickled, deepcopied])
@pytest.mark.parametrize("make", [
    lambda: nn.Linear(2, 3), lambda: nn.MSE(), lambda: nn.Tensor(2), lambda: nn.Adam([nn.Tensor(2)]), Scale,
    lambda: nn.BatchSampler(range(5)), lambda: nn.Constant(), lambda: nn.History(), lambda: build(2, 3),
    lambda: nn.ArrayDataset([[1.0]], [[1.0]]), lambda: nn.DataLoader([1, 2]), lambda: nn.LayerNorm(3),
], ids=lambda make: type(make()).__name__)  # fmt: skip
def test_attributes_of_ones_own_go_along_whatever_their_names(clone, make):
    original = make()
    for name in NAMES:
        setattr(original, name, "mine")
    assert {getattr(clone(original)[0], name) for name in NAMES} == {"mine"}


NAMES = ["watched", "attributes", "self", "state", "name"]


def test_pickled_weights_hold_no_padding():
    assert len(pickle.dumps(nn.Tensor((100, 1)))) < 2 * 100 * 4 + 600
