"""Optimizers as the tutorial knows them: attributes, decay, velocities, and what stands for parameters."""

import copy
import pickle

import numpy as np
import pytest

import fastnp as nn


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


def test_optimizer_attributes():
    tensors = [nn.Tensor((2, 2)), nn.Tensor((1, 2))]
    optimizer = nn.Optimizer(tensors, 0.5, 0.25, "l1")
    assert optimizer.parameters == tensors
    assert (optimizer.learning_rate, optimizer.weight_decay, optimizer.decay_type) == (0.5, 0.25, "l1")


def test_optimizer_step_is_to_be_defined():
    with pytest.raises(NotImplementedError, match="Optimizer must define step"):
        nn.Optimizer([nn.Tensor(1)]).step()


@pytest.mark.parametrize(("decay_type", "expected"), [("l2", [-1.0, 0.0, 2.0]), ("l1", [-0.5, 0.0, 0.5])])
def test_get_decay(decay_type, expected):
    optimizer = nn.Optimizer([nn.Tensor(1)], weight_decay=0.5, decay_type=decay_type)
    np.testing.assert_array_equal(optimizer.get_decay(np.array([-2.0, 0.0, 4.0])), expected)


@pytest.mark.parametrize("make", [nn.Optimizer, lambda p: nn.SGD(parameters=p)])
def test_optimizer_clear_grad(make):
    layer = nn.Linear(3, 2)
    layer.weights.grad[:] = 1
    layer.bias.grad[:] = 2
    make(layer.parameters()).clear_grad()
    assert not layer.weights.grad.any()
    assert not layer.bias.grad.any()


def test_sgd_attributes():
    layer = nn.Linear(2, 3)
    optimizer = nn.SGD(0.5, layer.parameters())
    assert (optimizer.momentum, optimizer.learning_rate) == (0.5, 0.001)
    assert [v.shape for v in optimizer.velocity] == [(2, 3), (1, 3)]
    assert not any(v.any() for v in optimizer.velocity)


def test_sgd_velocities_stand_in_the_order_of_the_parameters():
    layer = nn.Linear(2, 3)
    optimizer = nn.SGD(0.5, [layer.bias, layer.weights])
    layer.bias.grad[:] = 2
    optimizer.step()
    assert [v.shape for v in optimizer.velocity] == [(1, 3), (2, 3)]
    assert (optimizer.velocity[0] == 2).all()
    assert not optimizer.velocity[1].any()


@pytest.mark.parametrize("container", [list, tuple])
def test_parameters_in_the_place_of_momentum_name_the_keyword(container):
    with pytest.raises(TypeError, match=r"parameters="):
        nn.SGD(container(nn.Linear(1, 1).parameters()))


def test_parameters_may_be_an_iterator():
    layer = nn.Linear(1, 1)
    assert nn.SGD(parameters=iter(layer.parameters())).parameters == layer.parameters()


# --- what is kept, when tensors change their layout ---


@pytest.mark.parametrize("parts", ["all", "the first layer", "one tensor"])
@pytest.mark.parametrize(("start", "end"), [(np.float64, np.float32), (np.float32, np.float64)])
def test_velocities_are_converted_with_their_tensors(start, end, parts):
    model = nn.Sequential(nn.Linear(3, 5, dtype=start), nn.ReLU(), nn.Linear(5, 2, dtype=start))
    optimizer, rng = nn.SGD(parameters=model.parameters()), np.random.default_rng(0)
    optimizer.velocity = [rng.normal(size=tensor.shape) for tensor in model.parameters()]
    before = [velocity.copy() for velocity in optimizer.velocity]
    tensors = model.parameters()
    for tensor in {"all": tensors, "the first layer": tensors[:2], "one tensor": tensors[2:3]}[parts]:
        data = tensor.data.copy()
        tensor.convert(end)
        assert np.array_equal(tensor.data, data.astype(end))
    for tensor, velocity, old in zip(tensors, optimizer.velocity, before, strict=True):
        assert velocity.dtype == tensor.dtype
        assert np.array_equal(velocity, old.astype(tensor.dtype))
    optimizer.step()
    optimizer.bind(tensors)


def test_tensors_without_numbers():
    optimizer = nn.SGD(parameters=[nn.Tensor((0, 3)), nn.Tensor(3), nn.Tensor((2, 0))])
    for backend in "numba", "numpy":
        with nn.use_backend(backend):
            optimizer.step()
    for clone in optimizer, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer)):
        assert [velocity.shape for velocity in clone.velocity] == [(0, 3), (3,), (2, 0)]
