"""Gradients against central differences, in float64 along random directions."""

import numpy as np
import pytest
from products import matrix_product

import fastnp
from fastnp.backend import BACKENDS

EPS = 1e-6
KINK = 1e-4  # no pre-activation may be nearer to 0: a step of EPS moves none so far

# The widths, "r" for a ReLU, and the rows of a batch.
NETWORKS = {
    "linear": ((3, 4), 5),
    "chain": ((4, 6, 5, 2), 3),
    "one wide": ((1, "r", 1, "r", 1), 4),
    "one wide, linear": ((1, 1, 1), 1),
    "sin": ((1, 16, "r", 64, "r", 16, "r", 1), 4),
    "ReLU first": (("r", 5, 7, "r", 2), 3),
    "ReLU twice": ((6, 9, "r", "r", 3), 7),
    "ReLU last": ((5, 33, "r"), 6),
    "past a panel": ((17, 70, "r", 20, 3), 9),
}


def make(widths):
    """The model, its weights spread so that gradients are neither all zero nor huge."""

    def spread(shape):
        return np.random.default_rng(sum(shape)).normal(0, 1 / np.sqrt(shape[0]), shape)

    layers = []
    previous = None if widths[0] != "r" else widths[1]
    for width in widths:
        if width == "r":
            layers.append(fastnp.ReLU())
        elif previous is None:
            previous = width
        else:
            layers.append(fastnp.Linear(previous, width, weight_attr=spread, bias_attr=spread, dtype=np.float64))
            previous = width
    return fastnp.Sequential(*layers)


def nearest_kink(model, x):
    """The smallest |pre-activation| of all ReLUs, in plain NumPy."""
    nearest, previous = np.inf, None
    for layer in model.graphs:
        if isinstance(layer, fastnp.ReLU):
            if not isinstance(previous, fastnp.ReLU):  # one behind another sees exact zeros
                nearest = min(nearest, np.abs(x).min())
            x = np.maximum(x, 0)
        else:
            x = matrix_product(x, layer.weights.data) + layer.bias.data
        previous = layer
    return nearest


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_loss(name, reduction, backend):
    widths, batch = NETWORKS[name]
    n_in = next(width for width in widths if width != "r")
    rng = np.random.default_rng(7)
    with fastnp.use_backend(backend):
        model, loss_fn = make(widths), fastnp.MSE(reduction=reduction)
        x = rng.normal(size=(batch, n_in))
        for _ in range(1000):
            if nearest_kink(model, x) > KINK:
                break
            x = rng.normal(size=(batch, n_in))
        else:
            pytest.fail("no input without a kink near it")

        def loss(x):
            return float(np.sum(loss_fn(model(x), target)))

        target = rng.normal(size=model(x).shape)
        loss(x)
        dx = model.backward(loss_fn.backward())
        gradients = [tensor.grad.copy() for tensor in model.parameters()]
        tensors = model.parameters()
        values = [tensor.data.copy() for tensor in tensors]
        assert any(gradient.any() for gradient in gradients)

        def check(directions, direction_x):
            """The derivative along a direction in the space of all parameters and the input."""
            sides = []
            for step in EPS, -EPS:
                for tensor, value, direction in zip(tensors, values, directions, strict=True):
                    tensor.data = value + step * direction
                sides.append(loss(x + step * direction_x))
            numeric = (sides[0] - sides[1]) / (2 * EPS)
            parts = [np.sum(g * d) for g, d in zip([*gradients, dx], [*directions, direction_x], strict=True)]
            np.testing.assert_allclose(np.sum(parts), numeric, rtol=1e-3, atol=1e-5)

        def unit(shape):
            direction = rng.normal(size=shape)
            return direction / np.linalg.norm(direction)

        nothing = [np.zeros_like(value) for value in values]
        for _ in range(3):
            for i, value in enumerate(values):  # each parameter by itself …
                check([*nothing[:i], unit(value.shape), *nothing[i + 1 :]], np.zeros_like(x))
            check(nothing, unit(x.shape))  # … the input …
            check([unit(value.shape) for value in values], unit(x.shape))  # … and all together


@pytest.mark.parametrize("backend", BACKENDS)
def test_backward_adds_to_the_gradients(backend):
    rng = np.random.default_rng(3)
    with fastnp.use_backend(backend):
        model = make((4, 9, "r", 2))
        batches = [rng.integers(-3, 4, (5, 4)).astype(float) for _ in range(2)]
        gradients = [rng.integers(-3, 4, (5, 2)).astype(float) for _ in range(2)]
        single = []
        for x, gradient in zip(batches, gradients, strict=True):
            for tensor in model.parameters():
                tensor.clear_grad()
            model(x)
            model.backward(gradient)
            single.append([tensor.grad.copy() for tensor in model.parameters()])
        for tensor in model.parameters():
            tensor.clear_grad()
        for x, gradient in zip(batches, gradients, strict=True):
            model(x)
            model.backward(gradient)
        for tensor, first, second in zip(model.parameters(), *single, strict=True):
            np.testing.assert_allclose(tensor.grad, first + second, rtol=1e-12, atol=1e-12)
