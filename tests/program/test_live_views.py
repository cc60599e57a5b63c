"""`data` and `grad` show the storage that kernels work on, until their layer joins a model."""

import numpy as np
import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


def ones(shape):
    return np.ones(shape)


def test_data_is_a_live_view_of_the_storage():
    layer = nn.Linear(1, 1, weight_attr=ones)
    data = layer.weights.data
    optimizer = nn.SGD(0.0, layer.parameters(), learning_rate=0.5)
    layer.weights.grad = [[1.0]]
    optimizer.step()
    assert data[0, 0] == layer.weights.data[0, 0] == 0.5
    data[0, 0] = 7
    assert layer(np.ones((1, 1)))[0, 0] == 7


@pytest.mark.parametrize("how", ["joins", "extends"])
def test_data_goes_stale_when_its_layer_joins_or_extends_a_sequential(how):
    first, second = nn.Linear(1, 1, weight_attr=ones), nn.Linear(1, 1, weight_attr=ones)
    if how == "joins":
        old = first.weights.data
        model = nn.Sequential(first, second)
    else:
        model = nn.Sequential(first)
        old = first.weights.data
        model.add(second)
    old[0, 0] = 99
    assert first.weights.data[0, 0] == 1
    assert model(np.ones((1, 1)))[0, 0] == 1


def test_joining_a_sequential_keeps_data_and_gradients():
    layers = [nn.Linear(2, 3), nn.Linear(3, 5)]
    for i, layer in enumerate(layers):
        layer.weights.grad[:] = 1 + i
        layer.bias.data[:] = 5 + i
    weights = [layer.weights.data.copy() for layer in layers]
    nn.Sequential(*layers)
    for i, layer in enumerate(layers):
        assert (layer.weights.grad == 1 + i).all()
        assert (layer.bias.data == 5 + i).all()
        np.testing.assert_array_equal(layer.weights.data, weights[i])
