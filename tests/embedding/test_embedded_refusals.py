"""What `jit` and the networks that it gives refuse, in Python and in jitted code, and in which words."""

import embeddings
import numba as nb
import numpy as np
import pytest
from embeddings import embedded
from models import Scale, build
from numba.core.errors import TypingError

import fastnp as nn

pytestmark = pytest.mark.usefixtures("numba")


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def mixed():
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, dtype=np.float64))


def half_converted():
    model = build(2, 3)
    model.graphs[0].weights.convert(np.float64)
    return model


def own_method():
    model = build(2, 3, 2)
    model.graphs[1].forward = lambda x: x
    return model


class OwnModel(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


MODELS = [
    (lambda: None, TypeError, "jit takes a model of built-in layers, got None"),
    (lambda: nn.Linear, TypeError, "jit takes a model of built-in layers"),
    (lambda: nn.Sequential(nn.Linear(1, 2), Scale()), TypeError, "none of the library's layers"),
    (lambda: nn.Sequential(Twice(1, 2)), TypeError, "or one with a method of your own"),
    (lambda: OwnModel(nn.Linear(1, 2)), TypeError, "or one with a method of your own"),
    (own_method, TypeError, "or one with a method of your own"),
    (lambda: nn.Sequential(), ValueError, "has no layers"),
    (lambda: nn.Sequential(nn.Linear(1, 2), nn.Sequential()), ValueError, "has no layers"),
    (mixed, ValueError, "of one dtype, got float32 and float64"),
    (half_converted, ValueError, "weights are float64, bias float32"),
    (lambda: nn.Tanh(), ValueError, "no layer says how wide x is"),
    (lambda: nn.Sequential(nn.Dropout(), nn.Softmax()), ValueError, "no layer says how wide x is"),
]


@pytest.mark.parametrize("make, error, words", MODELS)
def test_models(make, error, words):
    with pytest.raises(error, match=words):
        nn.jit(make())


def test_copy_is_a_flag():
    with pytest.raises(TypeError, match="jit: copy must be True or False"):
        nn.jit(build(2, 3), copy="yes")


def test_a_subclass_that_only_adds_names_is_a_model():
    class Named(nn.Sequential):
        def greet(self):
            return "hello"

    model = Named(nn.Linear(2, 3))
    x = np.ones((1, 2))
    assert (nn.jit(model)(x) == model.predict(x)).all()


F32, F64 = np.float32, np.float64
ONE, ROWS = np.ones(4, F32), np.ones((3, 4), F32)


def read_only():
    out = np.ones(2, F32)
    out.flags.writeable = False
    return out


TYPES = [
    (lambda f: embeddings.call(f, np.ones(4)), "x must be of float32, as the network; got float64"),
    (lambda f: embeddings.call(f, np.ones(4, int)), r"give x.astype\(np.float32\)"),
    (lambda f: embeddings.call(f, ROWS[:, 0]), r"x must be C-contiguous; its layout is 'A'; give np.ascontiguousarray"),
    (lambda f: embeddings.call(f, np.asfortranarray(ROWS)), "its layout is 'F'"),
    (lambda f: embeddings.call(f, ROWS[np.newaxis]), "x must have one axis or two axes, got an array with 3"),
    (lambda f: embeddings.call(f, 1.0), "x must be an array of float32 with one axis or two axes, got float64"),
    (lambda f: embeddings.call(f, (1.0, 2.0)), "x must be an array of float32"),
    (lambda f: embeddings.call(f, None), "x must be an array of float32"),
    (lambda f: embeddings.into(f, ROWS, ONE), "out must have one axis, got an array with 2"),
    (lambda f: embeddings.into(f, np.ones(2), ONE), "out must be of float32"),
    (lambda f: embeddings.into(f, read_only(), ONE), "out is read-only"),
    (lambda f: embeddings.into(f, ROWS, 1), "x must be an array"),
    (lambda f: embeddings.vjp(f, ONE, ROWS), "dy must have one axis"),
    (lambda f: embeddings.vjp(f, ONE, np.ones(2)), "dy must be of float32"),
    (lambda f: embeddings.jacobian(f, ROWS), "x must have one axis, got an array with 2"),
    (lambda f: other_work(f, np.ones(9)), "work must be of float32"),
]  # fmt: skip


@nb.njit
def other_work(f, work):
    f.into(np.empty(2, np.float32), np.empty(4, np.float32), work)


@pytest.mark.parametrize("call, words", TYPES)
def test_types_in_jitted_code(call, words):
    _, f = embedded("nested", F32)
    with pytest.raises(TypingError, match=words):
        call(f)


def ones(*shape):
    return np.ones(shape, F32)


VALUES = [
    lambda by, f: by.call(f, ones(3)),
    lambda by, f: by.call(f, ones(0)),
    lambda by, f: by.call(f, ones(3, 5)),
    lambda by, f: by.call(f, ones(0, 5)),
    lambda by, f: by.into(f, ones(3), ones(4)),
    lambda by, f: by.into(f, ones(2), ones(5)),
    lambda by, f: by.into(f, ones(5, 2), ones(4, 4)),
    lambda by, f: by.into(f, ones(5, 3), ones(5, 4)),
    lambda by, f: by.vjp(f, ones(5), ones(2)),
    lambda by, f: by.vjp(f, ones(4), ones(3)),
    lambda by, f: by.vjp(f, ones(3, 4), ones(3, 3)),
    lambda by, f: by.vjp(f, ones(3, 4), ones(2, 2)),
    lambda by, f: by.jacobian(f, ones(5)),
    lambda by, f: by.other_work(f, ones(7)),
]


class Jitted:
    call, into, vjp, jacobian, other_work = (
        staticmethod(function)
        for function in (embeddings.call, embeddings.into, embeddings.vjp, embeddings.jacobian, other_work)
    )


class Plain:
    call, into, vjp, jacobian, other_work = (
        staticmethod(function.py_func)
        for function in (embeddings.call, embeddings.into, embeddings.vjp, embeddings.jacobian, other_work)
    )


@pytest.mark.parametrize("by", [Jitted, Plain])
@pytest.mark.parametrize("call", VALUES)
def test_shapes_that_do_not_fit(call, by):
    _, f = embedded("nested", F32)
    with pytest.raises(ValueError, match=r"fastnp\.jit: "):
        call(by, f)
    assert by.call(f, ones(4)).shape == (2,)


def test_arrays_that_python_refuses():
    _, f = embedded("nested", F32)
    for given, error in (
        (["a"], TypeError),
        (1.0, ValueError),
        (np.ones((1, 1, 4)), ValueError),
        (1j * ONE, TypeError),
    ):
        with pytest.raises(error):
            f(given)
    for out in np.ones(2), [1, 2]:
        with pytest.raises(TypeError, match="out must be an array of float32"):
            f.into(out, ONE, f.workspace())
    with pytest.raises(ValueError, match="read-only"):
        f.into(read_only(), ONE, f.workspace())


def test_it_cannot_be_returned_from_jitted_code():
    @nb.njit
    def given_back(f):
        return f

    _, f = embedded("nested", F32)
    with pytest.raises(TypeError, match=r"cannot convert native fastnp\.jit"):
        given_back(f)
