"""Inputs of every layout and dtype give the same answer and stay as they were."""

import numpy as np
import pytest
from models import assert_same_bits, batches, build, gradients, sgd, train

import fastnp as nn

pytestmark = pytest.mark.usefixtures("backend")


def strided(a):
    holder = np.full((2 * a.shape[0], 3 * a.shape[1]), np.nan, a.dtype)
    holder[::2, ::3] = a
    return holder[::2, ::3]


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a):
    a = a.copy()
    a.setflags(write=False)
    return a


LAYOUTS = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.array(a.T).T,
    "strided, NaN between": strided,
    "negative strides": lambda a: np.array(a[::-1, ::-1])[::-1, ::-1],
    "misaligned": misaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
}


def memory_mapped(a, folder):
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, a)
    return np.load(path, mmap_mode="r")


@pytest.fixture(params=[*LAYOUTS, "memory-mapped"])
def layout(request, tmp_path):
    if request.param == "memory-mapped":
        return lambda a: memory_mapped(a, tmp_path)
    return LAYOUTS[request.param]


def bits_under(a):
    """The bits of an array and of everything around it in its buffer."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a.tobytes()


def run(model, x, g, target):
    """Everything a model and a loss give for one batch, as plain arrays."""
    sgd(model).clear_grad()
    y = model(x)
    dx = model.backward(g)
    loss_fn = nn.MSE()
    loss = loss_fn(target, g)
    relu = nn.ReLU()
    return [y, dx, *gradients(model), np.float64(loss), loss_fn.backward(), relu(target), relu.backward(g)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layout_gives_the_same_bits_and_is_left_as_it_was(layout, dtype):
    rng = np.random.default_rng(0)
    plain = [rng.normal(size=shape).astype(dtype) for shape in ((7, 5), (7, 3), (7, 3))]
    model = build(5, 17, 3, dtype=dtype)
    expected = run(model, *plain)
    given = [layout(a) for a in plain]
    before = [bits_under(a) for a in given]
    assert_same_bits(run(model, *given), expected)
    assert [bits_under(a) for a in given] == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_layout_can_be_assigned_to_a_tensor(layout, dtype):
    plain = np.random.default_rng(0).normal(size=(7, 5)).astype(dtype)
    tensor = nn.Tensor((7, 5), dtype)
    tensor.data = layout(plain)
    tensor.grad = layout(plain)
    assert_same_bits([tensor.data, tensor.grad], [plain, plain])


def test_broadcast_arrays_with_stride_zero():
    rows = [np.random.default_rng(i).normal(size=(1, n)).astype(np.float32) for i, n in enumerate((5, 3, 3))]
    model = build(5, 17, 3)
    expected = run(model, *(np.repeat(row, 7, axis=0) for row in rows))
    assert_same_bits(run(model, *(np.broadcast_to(row, (7, row.shape[1])) for row in rows)), expected)


@pytest.mark.parametrize("kind", ["float16", "int8", "uint8", "int64", ">i4", "bool", "longdouble"])
def test_other_real_dtypes_give_the_bits_of_the_same_numbers_in_float32(kind):
    numbers = [np.random.default_rng(i).integers(0, 2, size=(7, n)) for i, n in enumerate((5, 3, 3))]
    model = build(5, 17, 3)
    expected = run(model, *(a.astype(np.float32) for a in numbers))
    assert_same_bits(run(model, *(a.astype(kind) for a in numbers)), expected)


def test_lists_give_the_bits_of_the_same_arrays():
    model, rng = build(5, 17, 3, dtype=np.float64), np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((7, 5), (7, 3), (7, 3))]
    assert_same_bits(run(model, *(a.tolist() for a in arrays)), run(model, *arrays))
    assert_same_bits(run(model, *(tuple(a) for a in arrays)), run(model, *arrays))


def test_double_inputs_of_a_single_model_are_rounded_once():
    model = build(5, 17, 3)
    x = np.random.default_rng(0).normal(size=(4, 5))
    assert_same_bits([model(x)], [model(x.astype(np.float32))])


def test_mixed_dtypes_in_one_model():
    np.random.seed(0)
    he = nn.HeNormal()
    model = nn.Sequential(
        nn.Linear(3, 8, weight_attr=he),
        nn.ReLU(),
        nn.Linear(8, 8, weight_attr=he, dtype=np.float64),
        nn.ReLU(),
        nn.Linear(8, 2, weight_attr=he),
    )
    twin = nn.Sequential(*(
        nn.Linear(*layer.weights.shape, dtype=np.float64) if isinstance(layer, nn.Linear) else nn.ReLU()
        for layer in model.graphs
    ))  # fmt: skip
    for p, q in zip(twin.parameters(), model.parameters(), strict=True):
        p.data = q.data
    data = batches(3, 2, count=10)
    np.testing.assert_allclose(train(model, sgd(model), data), train(twin, sgd(twin), data), rtol=1e-4)
    assert [p.data.dtype for p in model.parameters()] == [np.float32] * 2 + [np.float64] * 2 + [np.float32] * 2
