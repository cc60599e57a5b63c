"""`train`, `eval` and `training`: the mode of a layer, and of those in it."""

import copy
import pickle

import numpy as np
import pytest
from models import Scale

import fastnp as nn


def modes(model):
    return [layer.training for layer in (model, *model.graphs)]


def nested():
    return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), Scale()), nn.Linear(3, 1))


def test_a_layer_is_training_at_first():
    assert modes(nested()) == [True] * 4


def test_a_model_passes_it_on():
    model = nested()
    inner = model.graphs[1]
    assert model.eval() is model
    assert not any(modes(model) + modes(inner))
    assert model.train() is model
    assert all(modes(model) + modes(inner))
    inner.train(False)
    assert modes(model) == [True, True, False, True] and not any(modes(inner))


class Pair(nn.Layer):
    """Of a user: with layers among its attributes."""

    def __init__(self):
        super().__init__()
        self.first, self.more = nn.Sequential(nn.Tanh()), [nn.ReLU(), nn.Dropout()]


class Branches(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self.other = nn.Sequential(nn.Dropout())


def test_layers_among_the_attributes_of_a_layer_of_ones_own():
    pair, branches = Pair(), Branches(nn.Tanh())
    nn.Sequential(pair, branches).eval()
    inside = pair, pair.first, pair.first.graphs[0], *pair.more, branches, branches.other, branches.other.graphs[0]
    assert not any(layer.training for layer in inside)
    pair.train()
    assert all(layer.training for layer in inside[:5])


@pytest.mark.parametrize("value", [None, 2, "eval", np.ones(2)])
def test_a_mode_is_true_or_false(value):
    layer = nn.ReLU()
    for change in layer.train, lambda mode: setattr(layer, "training", mode):
        with pytest.raises(TypeError, match="ReLU: training must be True or False"):
            change(value)
    assert layer.training


def test_copies_are_in_the_same_mode():
    model = nested().eval()
    for other in copy.deepcopy(model), pickle.loads(pickle.dumps(model)):
        assert not any(modes(other))


def test_predict_leaves_the_mode_alone():
    for mode in True, False:
        model = nested().train(mode)
        model.predict(np.ones((3, 2)))
        assert modes(model) == [mode] * 4
