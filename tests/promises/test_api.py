"""The kept API: names, positional order, defaults; tensors, initializers and the loss as the tutorial knows them."""

import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest

import fastnp
import fastnp as nn
from fastnp import *  # noqa: F403  (a script written for the tutorial imports like this)

REQUIRED = inspect.Parameter.empty


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


# --- names and signatures ---

KEPT = (
    "Tensor Initializer Constant Normal Layer Linear ReLU Sequential Optimizer SGD MSE Dataset BatchSampler DataLoader"
)


@pytest.mark.parametrize("name", KEPT.split())
def test_star_import_and_module_give_the_same_class(name):
    assert inspect.isclass(globals()[name])
    assert globals()[name] is getattr(fastnp, name)


def test_all_lists_only_what_exists():
    assert set(KEPT.split()) <= set(fastnp.__all__)
    assert all(hasattr(fastnp, name) for name in fastnp.__all__)


SIGNATURES = {
    "Tensor": [("shape", REQUIRED), ("dtype", np.float32)],
    "Initializer": [("shape", None), ("name", "initializer")],
    "Constant": [("value", 0.0), ("name", ...)],
    "Normal": [("mean", 0.0), ("std", 0.01), ("name", ...)],
    "Layer": [("name", "layer")],
    "Linear": [
        ("in_features", REQUIRED),
        ("out_features", REQUIRED),
        ("name", "linear"),
        ("weight_attr", ...),
        ("bias_attr", ...),
        ("dtype", np.float32),
    ],
    "ReLU": [("name", "relu")],
    "Optimizer": [("parameters", REQUIRED), ("learning_rate", 0.001), ("weight_decay", 0.0), ("decay_type", "l2")],
    "SGD": [
        ("momentum", 0.9),
        ("parameters", ...),
        ("learning_rate", 0.001),
        ("weight_decay", 0.0),
        ("decay_type", "l2"),
    ],
    "Adam": [("parameters", REQUIRED), ("learning_rate", 0.001)],
    "AdamW": [("parameters", REQUIRED), ("learning_rate", 0.001)],
    "RMSprop": [("parameters", REQUIRED), ("learning_rate", 0.01)],
    "MSE": [("name", "mse"), ("reduction", "mean")],
    "BatchSampler": [("dataset", None), ("shuffle", False), ("batch_size", 1), ("drop_last", False)],
    "DataLoader": [
        ("dataset", REQUIRED),
        ("sampler", nn.BatchSampler),
        ("shuffle", False),
        ("batch_size", 1),
        ("drop_last", False),
    ],
}


DECAY = {"weight_decay": 0.0, "decay_type": "l2", "decay_bias": True, "clip_norm": None}
ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "epsilon_hat": False} | DECAY
KEYWORD_ONLY = {
    "BatchSampler": {"reshuffle": False, "rng": None},
    "DataLoader": {"reshuffle": False, "rng": None, "chunk": True},
    "Normal": {"rng": None},
    "SGD": {"nesterov": False, "decay_bias": True, "clip_norm": None, "rate_in_velocity": False},
    "Adam": ADAM,
    "AdamW": ADAM | {"weight_decay": 0.01},
    "RMSprop": {"alpha": 0.99, "epsilon": 1e-8, "momentum": 0.0} | DECAY,
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    parameters = inspect.signature(getattr(nn, name)).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in positional] == [argument for argument, _ in SIGNATURES[name]]
    for parameter, (_, default) in zip(positional, SIGNATURES[name], strict=True):
        assert default is ... or parameter.default is default or parameter.default == default, parameter
    extra = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert extra == KEYWORD_ONLY.get(name, {})
    assert len(positional) + len(extra) == len(parameters), "no *args or **kwargs"


def test_default_initializers_of_linear():
    parameters = inspect.signature(nn.Linear).parameters
    weights, bias = parameters["weight_attr"].default, parameters["bias_attr"].default
    assert (type(weights), weights.mean, weights.std) == (nn.Normal, 0.0, 0.01)
    assert (type(bias), bias.value) == (nn.Constant, 0.0)


def test_sequential_takes_layers_only():
    (parameter,) = inspect.signature(nn.Sequential).parameters.values()
    assert parameter.kind is parameter.VAR_POSITIONAL


def test_version_and_type_information_are_shipped():
    assert re.fullmatch(r"\d+\.\d+.*", nn.__version__)
    assert (Path(fastnp.__file__).parent / "py.typed").is_file()


# --- Tensor ---


@pytest.mark.parametrize("shape", [(), (3,), (1, 16), (2, 3, 5), (0, 3), (17, 33)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tensor_starts_as_zeros_of_its_shape(shape, dtype):
    tensor = nn.Tensor(shape, dtype)
    for array in tensor.data, tensor.grad:
        assert array.shape == shape
        assert array.dtype == dtype
        assert not array.any()


def test_tensor_is_float32_by_default():
    assert nn.Tensor((2, 2)).data.dtype == np.float32


def test_tensor_prints_shape_and_data():
    tensor = nn.Tensor((1, 3))
    tensor.data = np.array([[1, 2, 3]])
    assert str(tensor) == "Tensor shape: (1, 3), data: [[1. 2. 3.]]"


def test_tensor_assignment_copies_in():
    tensor, mine = nn.Tensor((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    tensor.data = mine
    tensor.grad = 2 * mine
    mine[:] = 99
    np.testing.assert_array_equal(tensor.data, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(tensor.grad, [[2, 4], [6, 8]])


def test_tensor_assignment_of_its_own_transpose():
    tensor = nn.Tensor((5, 5))
    values = np.arange(25.0).reshape(5, 5)
    tensor.data = values
    tensor.data = tensor.data.T
    np.testing.assert_array_equal(tensor.data, values.T)


def test_tensor_augmented_assignment():
    tensor = nn.Tensor((2, 2))
    tensor.data += 3
    tensor.grad -= 1
    np.testing.assert_array_equal(tensor.data, np.full((2, 2), 3))
    np.testing.assert_array_equal(tensor.grad, np.full((2, 2), -1))


def test_writing_into_data_and_grad_changes_the_tensor():
    tensor = nn.Tensor((2, 3))
    tensor.data[1, 2] = 5
    tensor.grad[0, 1] = 7
    assert tensor.data.sum() == 5
    assert tensor.grad[0, 1] == tensor.grad.sum() == 7


def test_tensor_clear_grad_zeroes_the_gradient_alone():
    tensor = nn.Tensor((2, 3))
    tensor.data[:] = 1
    tensor.grad[:] = 2
    tensor.clear_grad()
    assert not tensor.grad.any()
    assert tensor.data.all()


def test_tensors_of_one_layer_do_not_touch_each_other():
    layer = nn.Linear(3, 17)
    layer.bias.data[:] = 7
    layer.weights.data = np.full((3, 17), 5)
    layer.bias.grad[:] = 2
    layer.weights.clear_grad()
    assert (layer.bias.data == 7).all()
    assert (layer.weights.data == 5).all()
    assert (layer.bias.grad == 2).all()


# --- initializers ---


def test_seeding_numpy_draws_the_tutorials_numbers():
    np.random.seed(3)
    layer = nn.Linear(4, 5, weight_attr=nn.Normal(0.5, 2.0), bias_attr=nn.Normal(1.0, 3.0))
    np.random.seed(3)
    weights = np.random.normal(0.5, 2.0, size=(4, 5)).astype(np.float32)
    bias = np.random.normal(1.0, 3.0, size=(1, 5)).astype(np.float32)
    np.testing.assert_array_equal(layer.weights.data, weights)
    np.testing.assert_array_equal(layer.bias.data, bias)


def test_a_model_draws_layer_by_layer_with_the_default_initializers():
    np.random.seed(8)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    np.random.seed(8)
    for layer, shape in (model.graphs[0], (2, 3)), (model.graphs[2], (3, 4)):
        np.testing.assert_array_equal(layer.weights.data, np.random.normal(0.0, 0.01, shape).astype(np.float32))
        assert not layer.bias.data.any()


def test_double_layers_keep_the_numbers_as_drawn():
    np.random.seed(5)
    layer = nn.Linear(3, 2, dtype=np.float64)
    np.random.seed(5)
    np.testing.assert_array_equal(layer.weights.data, np.random.normal(0.0, 0.01, (3, 2)))


@pytest.mark.parametrize("make", [nn.Normal, nn.HeNormal])
def test_own_generator_leaves_the_global_one_alone(make):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = make(rng=np.random.default_rng(4))((3, 2))
    assert (np.random.get_state()[1] == before).all()
    np.testing.assert_array_equal(first, make(rng=np.random.default_rng(4))((3, 2)))


def test_he_normal_has_variance_two_over_inputs():
    np.random.seed(0)
    values = nn.HeNormal()((50, 4000))
    assert abs(values.var() - 2 / 50) < 0.001
    assert abs(values.mean()) < 0.002
    np.random.seed(0)
    np.testing.assert_array_equal(values, np.random.normal(0.0, math.sqrt(2 / 50), size=(50, 4000)))


def test_constant():
    np.testing.assert_array_equal(nn.Constant(2.5)((2, 3)), np.full((2, 3), 2.5))
    assert not nn.Constant()((1, 4)).any()


@pytest.mark.parametrize("make", [nn.Initializer, nn.Constant, nn.Normal, nn.HeNormal])
def test_an_initializer_prints_its_name(make):
    assert str(make(name="mine")) == "mine"
    assert str(make()) == make().name


def test_base_initializer_keeps_its_arguments():
    initializer = nn.Initializer((2, 3), "start")
    assert (initializer.shape, str(initializer)) == ((2, 3), "start")


# --- MSE ---

PRED, TARGET = np.array([[1.0, 2.0], [5.0, 0.0]]), np.array([[0.0, 4.0], [2.0, 0.0]])


@pytest.mark.parametrize(
    ("reduction", "loss", "scale"), [
        ("mean", 7 / 4, 1 / 4), ("batchmean", 7 / 2, 1 / 2), ("sum", 7.0, 1), ("none", [[0.5, 2], [4.5, 0]], 1),
    ]
)  # fmt: skip
def test_mse_reductions(reduction, loss, scale):
    loss_fn = nn.MSE("half", reduction)
    got = loss_fn(PRED, TARGET)
    np.testing.assert_array_equal(got, loss)
    assert type(got) is (np.ndarray if reduction == "none" else float)
    np.testing.assert_array_equal(loss_fn.backward(), scale * (PRED - TARGET))
    assert (loss_fn.name, loss_fn.reduction, str(loss_fn)) == ("half", reduction, "half")
    np.testing.assert_array_equal(loss_fn.pred, PRED)
    np.testing.assert_array_equal(loss_fn.target, TARGET)


def test_mse_sums_float32_in_double():
    pred = np.full((1000, 7), 1e-3, np.float32)
    pred[0, 0] = 4096
    expected = math.fsum(0.5 * float(p) ** 2 for p in pred.ravel())
    assert nn.MSE(reduction="sum")(pred, np.zeros_like(pred)) == pytest.approx(expected, rel=pred.size * 2**-53)


def test_mse_is_of_the_predictions_dtype():
    for dtype in np.float32, np.float64:
        loss_fn = nn.MSE(reduction="none")
        assert loss_fn(PRED.astype(dtype), TARGET).dtype == dtype
        assert loss_fn.backward().dtype == dtype


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (1, 5)])
def test_mse_takes_any_shape(shape):
    loss_fn, pred = nn.MSE(), np.full(shape, 3.0)
    assert loss_fn(pred, np.ones(shape)) == 2.0
    np.testing.assert_allclose(loss_fn.backward(), np.full(shape, 2.0 / pred.size), rtol=1e-15)
    loss_fn.reduction, rows = "batchmean", shape[0] if shape else 1
    assert loss_fn(pred, np.ones(shape)) == pytest.approx(2.0 * pred.size / rows, rel=1e-15)
    np.testing.assert_allclose(loss_fn.backward(), np.full(shape, 2.0 / rows), rtol=1e-15)


@pytest.mark.parametrize(("reduction", "loss"), [("sum", 0.0), ("none", np.zeros((0, 2)))])
def test_mse_of_an_empty_batch(reduction, loss):
    loss_fn = nn.MSE(reduction=reduction)
    np.testing.assert_array_equal(loss_fn(np.zeros((0, 2)), np.zeros((0, 2))), loss)
    assert loss_fn.backward().shape == (0, 2)


def test_mse_backward_gives_a_new_array_each_time():
    loss_fn = nn.MSE(reduction="sum")
    loss_fn(PRED, TARGET)
    loss_fn.backward()[:] = 99
    np.testing.assert_array_equal(loss_fn.backward(), PRED - TARGET)
