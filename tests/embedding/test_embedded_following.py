"""A network inside jitted code goes with its model: trained, moved, extended, given other settings."""

import ctypes
import gc
import tracemalloc
import weakref

import embeddings
import numba as nb
import numpy as np
import pytest
from embeddings import embedded, sample
from models import assert_same_bits, batches, build, sgd, train
from numba.core.runtime import _nrt_python, rtsys

import fastnp as nn

pytestmark = pytest.mark.usefixtures("numba")


def as_global(f):
    """A function with f in it; Numba says that it cannot be kept on disk only where it is asked to."""

    @nb.njit
    def function(x):
        return f(x)

    return function


def add(model):
    model.add(nn.Tanh())
    model.add(nn.Linear(2, 2))


def join_another(model):
    return nn.Sequential(model, nn.ReLU(), nn.Linear(2, 2))


def optimize(model):
    """With parameters of others, which lie elsewhere."""
    other = nn.Linear(2, 2)
    return nn.SGD(parameters=[*other.parameters(), *model.parameters()]), other


def fit(model):
    loader = nn.DataLoader(nn.ArrayDataset(np.ones((8, 3)), np.ones((8, 2))), batch_size=4)
    nn.fit(model, nn.MSE(), sgd(model), loader, epochs=2, progress=False)


def loop(model):
    train(model, sgd(model), batches(3, 2))


def share_a_layer(model):
    return nn.Sequential(model.graphs[-1], nn.Linear(2, 9))


def lose_a_neighbour(model):
    """In an arena with gaps, tensors are brought together."""
    other = nn.Sequential(nn.Linear(2, 3), *model.graphs)
    del other
    gc.collect()
    return nn.SGD(parameters=model.parameters())


def assign(model):
    model.graphs[0].weights.data = np.ones((3, 5))


def change_a_list(model):
    del model.graphs[1:]


def convert_another(model):
    other = join_another(model)
    for tensor in other.graphs[-1].parameters():
        tensor.convert(np.float64)
    return other


CHANGES = [
    add, join_another, optimize, fit, loop, share_a_layer, lose_a_neighbour, assign, change_a_list, convert_another,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_of_the_layers_that_it_was_made_of(change):
    """By a global, which nobody asks where it is now, as by an argument, from Python and from C."""
    model = build(3, 5, 2)
    f = nn.jit(model)
    layers, function, x = list(model.graphs), as_global(f), sample(f, 4)
    net, from_c = f.net, ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_void_p)(f.address)
    function(x)
    for _ in range(2):
        kept = change(model)
        outputs = np.empty((4, 2), np.float32)
        from_c(outputs.ctypes.data, x.ctypes.data, 4, net)
        found = [function(x), outputs, embeddings.call(f, x), f(x)]
        expected = x
        for layer in layers:
            expected = layer.predict(expected)
        assert_same_bits(found, [expected] * 4)
        assert_same_bits([function(row) for row in x], list(expected))
        for layer in layers:
            for tensor in layer.parameters():
                tensor.data += 0.5
        expected = x
        for layer in layers:
            expected = layer.predict(expected)
        assert_same_bits([function(x), embeddings.call(f, x), f(x)], [expected] * 3)
        del kept
        gc.collect()


SETTINGS = {
    "leaky_relu": ("negative_slope", 0.5),
    "elu": ("alpha", 2.0),
    "gelu": ("approximate", True),
    "norm": ("epsilon", 0.5),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_it_has_the_settings_of_the_layers(name):
    model, f = embedded(name, np.float32)
    function, x = as_global(f), sample(f, 5)
    before = function(x)
    attribute, value = SETTINGS[name]
    for layer in model.graphs:
        if hasattr(layer, attribute):
            setattr(layer, attribute, value)
    expected = model.predict(x)
    assert_same_bits([function(x), embeddings.call(f, x), f(x)], [expected] * 3)
    assert (before != expected).any()
    dy = np.ones_like(expected)
    model.eval()
    model(x)
    assert_same_bits([embeddings.vjp(f, x, dy)[1], f.vjp(x, dy)[1]], [model.backward(dy)] * 2)


def test_dropout_may_change():
    model, f = embedded("dropout", np.float32)
    x = sample(f, 5)
    expected = f(x)
    model.train()
    model.graphs[0].p = 0.75
    assert_same_bits([f(x), embeddings.call(f, x)], [expected] * 2)


@pytest.mark.parametrize("copied", [False, True])
def test_a_copy_is_of_the_model_as_it_was(copied):
    model = build(3, 5, 2)
    f = nn.jit(model, copy=copied)
    x = sample(f, 4)
    before = f(x)
    fit(model)
    for found in f(x), embeddings.call(f, x), as_global(f)(x):
        assert_same_bits([found], [before if copied else model.predict(x)])
    assert (model.predict(x) != before).any()


def test_what_is_called_lives_on():
    model = build(3, 5, 2)
    f, x = nn.jit(model), sample(nn.jit(model), 4)
    function, expected = as_global(f), model.predict(x)
    found = weakref.ref(model)
    del model, f
    gc.collect()
    garbage = [np.full(n, np.nan, np.float32) for n in range(10, 3000)]
    assert_same_bits([function(x)], [expected])
    assert found() is None  # the layers are held, not what they stood in
    del garbage


def refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_converted_model_is_another():
    model = build(3, 5, 2)
    f, x = nn.jit(model), np.ones(3, np.float32)
    function, expected = as_global(f), f(x)
    function(x)
    from_c = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_void_p)(f.address)
    net, out = f.net, np.ones((2, 2), np.float32)
    for tensor in model.parameters():
        tensor.convert(np.float64)
    refused(lambda: function(x), "the model was converted")
    refused(lambda: function(np.ones((2, 3), np.float32)), "was converted")  # while that is compiled
    refused(lambda: f(x), "converted to float64 since; make another")
    refused(lambda: embeddings.call(f, x), "converted to float64 since; make another")
    from_c(out.ctypes.data, np.ones((2, 3), np.float32).ctypes.data, 2, net)
    assert np.isnan(out).all()
    for tensor in model.parameters():
        tensor.convert(np.float32)
    assert_same_bits([f(x), function(x), embeddings.call(f, x)], [expected] * 3)


@pytest.mark.parametrize("which", [0, 1, 3])
def test_one_converted_tensor_is_enough(which):
    model = build(3, 5, 2)
    f, x = nn.jit(model), np.ones(3, np.float32)
    function, expected = as_global(f), f(x)
    function(x)
    tensor = model.parameters()[which]
    tensor.convert(np.float64)
    refused(lambda: function(x), "the model was converted")
    refused(lambda: f(x), "converted to float64 since; make another")
    tensor.convert(np.float32)
    assert_same_bits([f(x), function(x)], [expected] * 2)


def test_a_layer_with_a_method_of_the_users_is_no_more_run():
    model = build(3, 5, 2)
    f, x = nn.jit(model), np.ones(3, np.float32)
    function, expected = as_global(f), f(x)
    function(x)
    model.graphs[1].forward = lambda x: x
    refused(lambda: function(x), "or a method of it replaced")
    refused(lambda: f(x), "a method of 'relu' was replaced since")
    del model.graphs[1].forward
    assert_same_bits([function(x), f(x)], [expected] * 2)


def test_nobody_holds_one_that_is_done_with():
    """But a function of the user's in which it is a global does, until it goes."""
    model = build(3, 5, 2)
    for call in (lambda f: f(np.ones(3)), lambda f: embeddings.call(f, np.ones(3, np.float32)), lambda f: f.net):
        f = nn.jit(model)
        call(f)
        found = weakref.ref(f)
        del f
        assert found() is None


def test_memory_does_not_grow():
    model = build(3, 5, 2)
    f, x, dy = nn.jit(model), np.ones((3, 3), np.float32), np.ones((3, 2), np.float32)

    def use():
        for _ in range(30):
            embeddings.call(f, x), embeddings.call(f, x[0]), embeddings.vjp(f, x, dy), embeddings.jacobian(f, x[0])
            f(x), f.vjp(x, dy), f.jacobian(x[0])
            nn.jit(model)(x)
            nn.Sequential(*model.graphs)

    use()
    gc.collect()
    tracemalloc.start()
    use()
    gc.collect()
    first = tracemalloc.get_traced_memory()[0]
    use()
    gc.collect()
    second = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert second - first < 20_000


def test_calls_in_jitted_code_leave_no_memory_behind():
    _nrt_python.memsys_enable_stats()
    _, f = embedded("nested", np.float32)
    x, dy = np.ones((2, 4), np.float32), np.ones((2, 2), np.float32)
    before = rtsys.get_allocation_stats()
    for _ in range(10):
        embeddings.call(f, x), embeddings.call(f, x[0]), embeddings.into(f, dy, x), embeddings.into(f, dy[0], x[0])
        embeddings.vjp(f, x, dy), embeddings.vjp(f, x[0], dy[0]), embeddings.jacobian(f, x[0])
    gc.collect()
    after = rtsys.get_allocation_stats()
    _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.free - before.free > 0
    assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free


def test_a_list_that_outlives_f_raises():
    """Its elements are addresses, of which nobody there knows whose they are."""
    model = nn.Sequential(nn.Linear(4, 3, dtype=np.float64))

    @nb.njit
    def first(fs, x):
        return fs[0](x)

    x, f = np.ones((5, 4)), nn.jit(model)
    fs = nb.typed.List([f])
    assert np.array_equal(first(fs, x), model.predict(x))
    del f
    gc.collect()
    held = [np.full(15, 4) for _ in range(3000)]  # in the memory that may have been given back
    with pytest.raises(ValueError, match="fastnp"):
        first(fs, x)
    assert len(held) == 3000


def test_a_tensor_that_moves_alone_leaves_no_old_numbers():
    """They are together again when the model is used next; until then a global has none of them."""
    model = nn.Sequential(nn.Linear(3, 2, dtype=np.float64))
    f = nn.jit(model)

    @nb.njit
    def as_global(x):
        return f(x)

    x = np.ones((2, 3))
    assert np.array_equal(as_global(x), model.predict(x))
    weights, bias = model.parameters()
    weights.convert(weights.dtype)
    weights.data[...], bias.data[...] = 5, 0
    try:
        assert np.array_equal(as_global(x), np.full((2, 2), 15.0))
    except ValueError as error:
        assert "fastnp" in str(error)
    assert np.array_equal(model.predict(x), np.full((2, 2), 15.0))
    assert np.array_equal(as_global(x), np.full((2, 2), 15.0))
