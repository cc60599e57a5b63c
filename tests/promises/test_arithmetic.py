"""Where the arithmetic differs from the tutorial's: velocities, decay, the mean, NaN in a ReLU, one dtype."""

import numpy as np
import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


def ones(shape):
    return np.ones(shape)


def weights_of_two_steps(momentum):
    layer = nn.Linear(1, 1, weight_attr=nn.Constant(), dtype=np.float64)
    optimizer = nn.SGD(momentum, parameters=layer.parameters(), learning_rate=0.25)
    values = []
    for _ in range(2):
        layer.weights.grad = np.ones((1, 1))
        optimizer.step()
        values.append(layer.weights.data.item())
    return values, optimizer.velocity[0].item()


def test_the_velocity_is_kept():
    assert weights_of_two_steps(0.5) == ([-0.25, -0.625], 1.5)


def test_without_momentum_steps_are_plain_gradient_descent():
    assert weights_of_two_steps(0.0) == ([-0.25, -0.5], 1.0)


def test_backward_is_the_gradient_of_the_reported_mean():
    loss_fn, rng = nn.MSE(), np.random.default_rng(0)
    pred, target, direction = rng.normal(size=(3, 5, 4))
    loss_fn(pred, target)
    slope = np.sum(loss_fn.backward() * direction)
    eps = 1e-6
    difference = (loss_fn(pred + eps * direction, target) - loss_fn(pred - eps * direction, target)) / (2 * eps)
    assert slope == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize(("decay_type", "decay"), [("l2", [1.0, -2.0, 0.0]), ("l1", [0.5, -0.5, 0.0])])
def test_weight_decay_acts_on_weights_and_biases(decay_type, decay):
    start = np.array([[2.0, -4.0, 0.0]])
    layer = nn.Linear(1, 3, weight_attr=lambda shape: start, bias_attr=lambda shape: start)
    optimizer = nn.SGD(0.0, layer.parameters(), 0.25, 0.5, decay_type)
    layer.weights.grad = np.ones((1, 3))
    optimizer.step()
    np.testing.assert_array_equal(layer.weights.data, start - 0.25 * (1 + np.array([decay])))
    np.testing.assert_array_equal(layer.bias.data, start - 0.25 * np.array([decay]))


@pytest.mark.parametrize("in_model", [False, True])
def test_relu_leaves_its_input_and_keeps_nan(in_model):
    eye = nn.Linear(4, 4, weight_attr=lambda shape: np.eye(4))
    relu = nn.ReLU()
    run = nn.Sequential(eye, relu) if in_model else relu
    x = np.array([[-1.0, -0.0, 2.0, -np.inf]], np.float32)
    if not in_model:
        x[0, 2] = np.nan
    before = x.tobytes()
    if in_model:
        x[0, 3] = -5
        before = x.tobytes()
    y = run(x)
    assert x.tobytes() == before
    np.testing.assert_array_equal(y, [[0, 0, x[0, 2], 0]])
    assert not np.signbit(y[0, [0, 1, 3]]).any(), "−0 becomes +0"


def test_nan_passes_through_a_relu_in_a_model():
    model = nn.Sequential(nn.Linear(2, 3, weight_attr=ones), nn.ReLU())
    y = model(np.array([[np.nan, 1.0], [1.0, 1.0]]))
    assert np.isnan(y[0]).all()
    np.testing.assert_array_equal(y[1], [2, 2, 2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_dtype_throughout(dtype):
    model = nn.Sequential(nn.Linear(2, 3, dtype=dtype), nn.ReLU(), nn.Linear(3, 1, dtype=dtype))
    optimizer, loss_fn = nn.SGD(parameters=model.parameters()), nn.MSE()
    pred = model(np.ones((4, 2)))
    loss_fn(pred, np.zeros((4, 1)))
    dx = model.backward(loss_fn.backward())
    optimizer.step()
    parameters = model.parameters()
    arrays = [pred, loss_fn.pred, loss_fn.target, loss_fn.backward(), dx, model.graphs[0].input]
    arrays += [model.graphs[1].activated, *optimizer.velocity]
    arrays += [p.data for p in parameters] + [p.grad for p in parameters]
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}


def test_relu_alone_computes_in_the_dtype_of_its_input():
    assert nn.ReLU()(np.ones((2, 2), np.float32)).dtype == np.float32
    assert nn.ReLU()(np.ones((2, 2), np.float64)).dtype == np.float64
    assert nn.ReLU()(np.ones((2, 2), np.int64)).dtype == np.float32
