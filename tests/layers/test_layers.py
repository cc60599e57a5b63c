"""Layers as the tutorial knows them: attributes, printed forms, outputs and gradients."""

import numpy as np
import pytest
from products import matrix_product

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


def ones(shape):
    return np.ones(shape)


def test_base_layer():
    layer = nn.Layer("mine")
    assert (str(layer), layer.name, layer.parameters()) == ("mine", "mine", [])
    assert str(nn.Layer()) == "layer"


@pytest.mark.parametrize("call", [lambda: nn.Layer()(1), lambda: nn.Layer().backward(1)])
def test_base_layer_methods_are_to_be_defined(call):
    with pytest.raises(NotImplementedError, match="Layer must define"):
        call()


def test_linear_attributes_and_printed_form():
    layer = nn.Linear(1, 16)
    assert (layer.name, layer.weights.data.shape, layer.bias.data.shape) == ("linear", (1, 16), (1, 16))
    assert str(layer) == "linear layer, weight shape: (1, 16), bias shape: (1, 16)"
    assert layer.parameters() == [layer.weights, layer.bias]
    layer(np.array([[3.0], [4.0]]))
    np.testing.assert_array_equal(layer.input, [[3], [4]])


def test_linear_computes_and_adds_gradients():
    layer = nn.Linear(2, 3, "fc", ones, ones)
    x, g = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]])
    np.testing.assert_array_equal(layer(x), matrix_product(x, np.ones((2, 3))) + 1)
    for times in 1, 2:
        np.testing.assert_array_equal(layer.backward(g), matrix_product(g, np.ones((3, 2))))
        np.testing.assert_array_equal(layer.weights.grad, times * matrix_product(x.T, g))
        np.testing.assert_array_equal(layer.bias.grad, times * g.sum(axis=0, keepdims=True))


def test_relu_attributes_and_gradient_mask():
    relu = nn.ReLU()
    assert (relu.name, str(relu), relu.parameters()) == ("relu", "relu", [])
    y = relu(np.array([[-1.0, 0.0, 2.0, np.nan]]))
    np.testing.assert_array_equal(relu.activated, y)
    np.testing.assert_array_equal(relu.backward(np.array([[5.0, 6.0, 7.0, 8.0]])), [[0, 0, 7, 0]])


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (2, 0, 3), (3, 0)])
def test_relu_takes_any_shape(shape):
    relu, x = nn.ReLU(), np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(relu(x), np.maximum(x, 0))
    assert relu.activated.shape == shape
    np.testing.assert_array_equal(relu.backward(np.ones(shape)), np.asarray(x) > 0)


def test_sequential_prints_one_line_per_layer():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU("bend"), nn.Linear(2, 1))
    assert str(model) == (
        "Sequential:\n"
        "linear layer, weight shape: (1, 2), bias shape: (1, 2)\n"
        "bend\n"
        "linear layer, weight shape: (2, 1), bias shape: (1, 1)"
    )


def test_sequential_graphs_add_and_parameters():
    first, second = nn.Linear(1, 2), nn.Linear(2, 1)
    model = nn.Sequential(first)
    model.add(second)
    assert model.graphs == [first, second]
    assert model.parameters() == [first.weights, first.bias, second.weights, second.bias]
    assert isinstance(model, nn.Layer)
