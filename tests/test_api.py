"""The kept API: names, positional order, defaults, attributes, printed forms, and the arithmetic that differs."""

import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest
from products import matrix_product

import fastnp
import fastnp as nn
from fastnp import *  # noqa: F403  (a script written for the tutorial imports like this)

REQUIRED = inspect.Parameter.empty


@pytest.fixture(params=["numba", "numpy"], autouse=True)
def backend(request):
    with nn.use_backend(request.param):
        yield request.param


def ones(shape):
    return np.ones(shape)


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
KEYWORD_ONLY = {
    "BatchSampler": {"reshuffle": False, "rng": None},
    "DataLoader": {"reshuffle": False, "rng": None},
    "Normal": {"rng": None},
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


# --- layers ---


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


# --- optimizers ---


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


# --- MSE ---

PRED, TARGET = np.array([[1.0, 2.0], [5.0, 0.0]]), np.array([[0.0, 4.0], [2.0, 0.0]])


@pytest.mark.parametrize(
    ("reduction", "loss", "scale"), [("mean", 7 / 4, 1 / 4), ("sum", 7.0, 1), ("none", [[0.5, 2], [4.5, 0]], 1)]
)
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


# --- data ---


class Pairs(nn.Dataset):
    """x = i, y = 10 i."""

    def __init__(self, n):
        self.n = n
        self.asked = []

    def __getitem__(self, idx):
        self.asked.append(idx)
        return np.array([idx]), 10.0 * idx

    def __len__(self):
        return self.n


@pytest.mark.parametrize("call", [lambda d: d[0], len], ids=["getitem", "len"])
def test_dataset_methods_are_to_be_defined(call):
    class Mine(nn.Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Mine"):
        call(Mine())


@pytest.mark.parametrize(("n", "size", "drop", "sizes"), [
    (10, 4, False, [4, 4, 2]), (10, 4, True, [4, 4]), (8, 4, True, [4, 4]), (8, 4, False, [4, 4]),
    (3, 5, False, [3]), (3, 5, True, []), (0, 2, False, []), (2, 1, False, [1, 1]),
])  # fmt: skip
def test_batches_cut(n, size, drop, sizes):
    sampler = nn.BatchSampler(range(n), False, size, drop)
    loader = nn.DataLoader(Pairs(n), nn.BatchSampler, False, size, drop)
    assert [len(batch) for batch in sampler] == sizes
    assert [len(x) for x, _ in loader] == sizes
    assert len(sampler) == len(loader) == len(sizes)
    assert [i for batch in sampler for i in batch] == list(range(sum(sizes)))


def test_sampler_indices_are_int64_and_decide_the_order():
    sampler = nn.BatchSampler(range(5), batch_size=2)
    assert sampler.indices.dtype == np.int64
    sampler.indices = np.array([4, 3, 2, 1, 0])
    assert [list(batch) for batch in sampler] == [[4, 3], [2, 1], [0]]


def test_changing_a_batch_does_not_change_the_order():
    sampler = nn.BatchSampler(range(4), batch_size=2)
    for batch in sampler:
        batch[:] = -1
    assert list(sampler.indices) == [0, 1, 2, 3]


def test_sampler_shuffles_once_with_the_tutorials_draw():
    np.random.seed(2)
    sampler = nn.BatchSampler(range(30), shuffle=True, batch_size=7)
    np.random.seed(2)
    order = np.arange(30)
    np.random.shuffle(order)
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(sampler)), order)


@pytest.mark.parametrize("make", [lambda **options: nn.DataLoader(Pairs(40), **options).sampler,
                                  lambda **options: nn.BatchSampler(Pairs(40), **options)])  # fmt: skip
def test_reshuffle_draws_a_new_order_each_epoch(make):
    sampler = make(shuffle=True, batch_size=8, reshuffle=True, rng=np.random.default_rng(0))
    first, second = np.concatenate(list(sampler)), np.concatenate(list(sampler))
    assert list(first) != list(second)
    assert sorted(first) == sorted(second) == list(range(40))


def test_own_generator_fixes_the_order_and_leaves_the_global_one_alone():
    before = np.random.get_state()[1].copy()
    orders = [
        np.concatenate([x for x, _ in nn.DataLoader(Pairs(20), shuffle=True, rng=np.random.default_rng(6))])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*orders)
    assert (np.random.get_state()[1] == before).all()


def test_loader_stacks_data_and_labels():
    (x, y), (x2, _) = nn.DataLoader(Pairs(5), batch_size=3)
    np.testing.assert_array_equal(x, [[0], [1], [2]])
    np.testing.assert_array_equal(y, [0, 10, 20])
    np.testing.assert_array_equal(x2, [[3], [4]])


def test_calling_the_loader_gives_the_iterator():
    loader = nn.DataLoader(Pairs(4), batch_size=2)
    batches = loader()
    assert iter(batches) is batches
    np.testing.assert_array_equal(next(batches)[0], [[0], [1]])
    np.testing.assert_array_equal(next(loader())[0], [[0], [1]])


def test_loader_asks_for_plain_integers():
    data = Pairs(3)
    list(nn.DataLoader(data, batch_size=2))
    assert [type(idx) for idx in data.asked] == [int] * 3


class PairsInLists(Pairs):
    def __getitems__(self, indices):
        self.asked.append(len(indices))
        return [(np.array([i]), 10.0 * i) for i in indices]


class PairsAsBatch(Pairs):
    def __getitems__(self, indices):
        self.asked.append(len(indices))
        return np.array(indices)[:, np.newaxis], 10.0 * np.array(indices)


@pytest.mark.parametrize("kind", [PairsInLists, PairsAsBatch])
def test_getitems_gives_the_same_batches_in_one_call_each(kind):
    data = kind(5)
    batches = list(nn.DataLoader(data, batch_size=2))
    assert data.asked == [2, 2, 1]
    for (x, y), (x2, y2) in zip(batches, nn.DataLoader(Pairs(5), batch_size=2), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


@pytest.mark.parametrize("plain", [list, np.array])
@pytest.mark.parametrize("data", [Pairs(4), PairsInLists(4), PairsAsBatch(4)], ids=lambda d: type(d).__name__)
def test_custom_sampler_class(plain, data):
    class Backwards:
        """The four arguments of the tutorial, and no others."""

        def __init__(self, dataset, shuffle, batch_size, drop_last):
            self.arguments = (dataset, shuffle, batch_size, drop_last)

        def __len__(self):
            return 17

        def __iter__(self):
            yield plain([3, 2])
            yield plain([1])

    loader = nn.DataLoader(data, Backwards, True, 2, True)
    assert loader.sampler.arguments == (data, True, 2, True)
    assert len(loader) == 17
    assert [x.tolist() for x, _ in loader] == [[[3], [2]], [[1]]]


def test_custom_sampler_gets_reshuffle_and_rng_only_where_set():
    seen = []

    def sampler(*arguments, **options):
        seen.append(options)
        return nn.BatchSampler(*arguments, **options)

    rng = np.random.default_rng(0)
    nn.DataLoader(Pairs(2), sampler)
    nn.DataLoader(Pairs(2), sampler, reshuffle=True, rng=rng)
    assert seen == [{}, {"reshuffle": True, "rng": rng}]


def test_array_dataset():
    x, y = np.arange(10.0).reshape(5, 2), [0, 1, 2, 3, 4]
    data = nn.ArrayDataset(x, y)
    assert len(data) == 5
    np.testing.assert_array_equal(data[3][0], [6, 7])
    assert data[3][1] == 3
    (xs, ys), *_ = nn.DataLoader(data, batch_size=3)
    np.testing.assert_array_equal(xs, x[:3])
    np.testing.assert_array_equal(ys, [0, 1, 2])


def test_array_dataset_reads_memory_mapped_files_without_copying(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = nn.ArrayDataset(x, np.arange(6))
    assert np.shares_memory(data.X, x)
    np.random.seed(0)
    xs, ys = next(nn.DataLoader(data, shuffle=True, batch_size=4)())
    np.testing.assert_array_equal(xs, np.stack([2 * ys, 2 * ys + 1], axis=1))
    xs[:] = -1
    assert x[0, 1] == 1


# --- where the arithmetic differs from the tutorial's ---


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
