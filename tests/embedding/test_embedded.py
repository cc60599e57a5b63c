"""Networks inside jitted code: the numbers of `predict`, and the gradients of backward."""

import copy
import ctypes
import pickle

import embeddings
import numpy as np
import pytest
from embeddings import MODELS, embedded, sample
from models import assert_same_bits
from twins import dtypes

import fastnp as nn

models = pytest.mark.parametrize("name", MODELS)


@models
@dtypes
def test_outputs_have_the_bits_of_predict(name, dtype, numba):
    model, f = embedded(name, dtype)
    for count in 0, 1, 2, 7, 32, 33, 100:
        x = sample(f, count)
        expected = model.predict(x)
        assert_same_bits([f(x), embeddings.call(f, x)], [expected, expected])
        out = np.full((count, f.n_out), np.nan, dtype)
        embeddings.into(f, out, x)
        assert_same_bits([out], [expected])
        assert_same_bits([embeddings.call(f, row) for row in x[:3]], list(expected[:3]))
        assert_same_bits([f(row) for row in x[:3]], list(expected[:3]))
        for row, y in zip(x[:3], expected[:3], strict=True):
            out = np.full(f.n_out, np.nan, dtype)
            embeddings.into(f, out, row)
            assert_same_bits([out], [y])


@models
@dtypes
def test_gradients_have_the_bits_of_backward(name, dtype, numba):
    model, f = embedded(name, dtype)
    model.eval()
    for count in 1, 2, 5, 33, 100:
        x, dy = sample(f, count), np.random.default_rng(4).normal(size=(count, f.n_out)).astype(dtype)
        y = model(x)
        dx = model.backward(dy)
        assert_same_bits(embeddings.vjp(f, x, dy), [y, dx])
        assert_same_bits(f.vjp(x, dy), [y, dx])
        for i in range(min(count, 2)):
            assert_same_bits(embeddings.vjp(f, x[i], dy[i]), [y[i], dx[i]])
            assert_same_bits(f.vjp(x[i], dy[i]), [y[i], dx[i]])


@models
@dtypes
def test_a_jacobian_has_a_row_for_each_output(name, dtype, numba):
    _, f = embedded(name, dtype)
    x = sample(f)
    y, jacobian = embeddings.jacobian(f, x)
    expected = [embeddings.vjp(f, x, dy)[1] for dy in np.eye(f.n_out, dtype=dtype)]
    assert_same_bits([y, *jacobian], [f(x), *expected])
    assert_same_bits(f.jacobian(x), [y, jacobian])


@models
def test_a_jacobian_is_what_differences_are(name, backend):
    """In steps of any direction; ReLU and its like have a kink, which a step hardly meets."""
    _, f = embedded(name, np.float64)
    x, step = sample(f), 1e-6
    _, jacobian = f.jacobian(x)
    for direction in np.random.default_rng(5).normal(size=(3, f.n_in)):
        quotient = (f(x + step * direction) - f(x - step * direction)) / (2 * step)
        np.testing.assert_allclose(np.einsum("ij,j->i", jacobian, direction), quotient, rtol=1e-3, atol=1e-5)


@models
@dtypes
def test_the_same_object_in_plain_python(name, dtype):
    """By the backend "numpy": of the same model as the other."""
    model, compiled = embedded(name, dtype)
    with nn.use_backend("numpy"):
        f = nn.jit(model)
        for x in sample(f), sample(f, 5):
            dy = np.ones((*x.shape[:-1], f.n_out), dtype)
            expected = model.predict(np.atleast_2d(x)).reshape(dy.shape)
            out = np.full_like(expected, np.nan)
            f.into(out, x, f.workspace())
            assert_same_bits([f(x), out, f.vjp(x, dy)[0]], [expected] * 3)
            np.testing.assert_allclose(f.vjp(x, dy)[1], compiled.vjp(x, dy)[1], rtol=1e-3, atol=1e-5)
        y, jacobian = f.jacobian(sample(f))
        assert y.shape == (f.n_out,) and jacobian.shape == (f.n_out, f.n_in)
        with pytest.raises(ValueError, match='addresses are for the backend "numba"'):
            f.address  # noqa: B018
        assert not hasattr(f, "_numba_type_")


@pytest.mark.parametrize("name", ["sin", "large", "norm"])
@dtypes
def test_c_code_calls_it_by_its_address(name, dtype, numba):
    model, f = embedded(name, dtype)
    arguments = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p
    function = ctypes.CFUNCTYPE(None, *arguments)(f.address)
    for count in 0, 1, 5, 70:
        x, out = sample(f, count), np.full((count + 1, f.n_out), 7, dtype)
        function(out.ctypes.data, x.ctypes.data, count, f.net)
        assert_same_bits([out[:-1]], [model.predict(x)])
        assert (out[-1] == 7).all()


def guarded(values):
    """A copy of an array in the midst of NaN, at an odd place, and a function that says whether these are all there."""
    flat = np.full(values.size + 400, np.nan, values.dtype)
    flat[199 : 199 + values.size] = values.ravel()
    inside = flat[199 : 199 + values.size].reshape(values.shape)
    return inside, lambda: np.isnan(flat[:199]).all() and np.isnan(flat[199 + values.size :]).all()


@models
@dtypes
def test_nothing_is_read_or_written_around_arrays(name, dtype, numba):
    """Whatever stands in the workspace."""
    model, f = embedded(name, dtype)
    arguments = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p
    function = ctypes.CFUNCTYPE(None, *arguments)(f.address)
    for count in None, 1, 33:
        x, x_is_whole = guarded(sample(f, count))
        expected = model.predict(np.atleast_2d(x)).reshape(*x.shape[:-1], f.n_out)
        out, out_is_whole = guarded(np.full_like(expected, np.nan))
        work, work_is_whole = guarded(np.full_like(f.workspace(), np.nan))
        embeddings.into_room(f, out, x, work)
        assert_same_bits([out, embeddings.call(f, x)], [expected] * 2)
        out[...] = np.nan
        function(out.ctypes.data, x.ctypes.data, count or 1, f.net)
        assert_same_bits([out], [expected])
        dy, dy_is_whole = guarded(np.ones_like(out))
        _, dx = embeddings.vjp(f, x, dy)
        assert np.isfinite(dx).all()
        assert x_is_whole() and out_is_whole() and work_is_whole() and dy_is_whole()


def test_gradients_of_parameters_are_left_alone(numba):
    model, f = embedded("norm", np.float32)
    x, dy = sample(f, 5), np.ones((5, f.n_out), np.float32)
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape)
    embeddings.vjp(f, x, dy), f.vjp(x, dy), embeddings.jacobian(f, x[0]), f.jacobian(x[0])
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    model.parameters()[0].clear_grad()
    f.vjp(x, dy)
    assert not model.parameters()[0].grad.any()
    nn.SGD(parameters=model.parameters()).clear_grad()  # all of them at once
    f.vjp(x, dy)
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_a_backward_to_come_is_not_disturbed(backend):
    model, f = embedded("sin", np.float32)
    x = sample(f, 4)
    gradient = np.ones_like(model(x))
    expected = model.backward(gradient)
    model(x)
    f(sample(f, 9)), f.vjp(sample(f), np.ones(1)), f.jacobian(sample(f))
    assert_same_bits([model.backward(gradient)], [expected])


def test_arrays_of_the_caller_may_be_of_any_kind_in_python(backend):
    _, f = embedded("nested", np.float64)
    x = sample(f, 6)
    expected = f(x)
    for given in x.tolist(), np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(">f8"):
        before = np.array(given)
        assert_same_bits([f(given)], [expected])
        assert_same_bits(f.vjp(given, np.ones((6, 2))), f.vjp(x, np.ones((6, 2))))
        assert (np.array(given) == before).all()
    assert f(np.ones((2, 4), int)).dtype == np.float64


def test_a_copy_of_it_is_of_a_copy_of_the_layers(backend):
    model, f = embedded("norm", np.float32)
    x = sample(f, 4)
    expected = f(x)
    for other in pickle.loads(pickle.dumps(f)), copy.deepcopy(f):
        assert_same_bits([other(x)], [expected])
    same = copy.copy(f)
    model.parameters()[0].data *= 2
    assert_same_bits([other(x), same(x)], [expected, f(x)])
    assert (f(x) != expected).any()


def test_what_it_says_of_itself():
    _, f = embedded("nested", np.float64)
    assert repr(f) == "<fastnp.jit: 4 to 2, float64>"
    assert (f.n_in, f.n_out, f.dtype) == (4, 2, np.float64)
