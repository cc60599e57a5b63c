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


def test_a_model_of_ones_own_that_passes_it_on_by_its_own_method():
    class Pair(nn.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Tanh(), nn.ReLU()

        def train(self, mode=True):
            self.first.train(mode)
            return super().train(mode)

    pair = Pair()
    nn.Sequential(pair).eval()
    assert not pair.training and not pair.first.training and pair.second.training


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
