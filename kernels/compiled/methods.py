"""The methods of what `fastnp.jit` gives, for code that Numba compiles.

They are compiled into functions of the user's, and so are short: they look at shapes, make room, and call a part of
`embedded` by its address.
"""

import numpy as np
from numba import types
from numba.core.errors import NumbaTypeError
from numba.extending import lower_builtin, overload_method

from ..nets import (
    AHEAD,
    FORWARD,
    JACOBIAN,
    N_IN,
    N_OUT,
    NO_MORE,
    ON_STACK,
    ON_STACK_BACK,
    ROOM,
    ROOM_FOR_ONE,
    SAMPLE,
    SAMPLE_VJP,
    VJP,
)
from .calling import run_forward, run_jacobian, run_sample, run_sample_vjp, run_vjp
from .jitted import Jitted, column, net_of

WIDTH = "fastnp.jit: an array has another width than the network takes or gives"
COUNT = "fastnp.jit: two arrays differ in how many rows they have"
SMALL = "fastnp.jit: work is too small; make it with f.workspace()"
GONE = "fastnp.jit: the model was converted, moved, let go, or a method of it replaced; make another by fastnp.jit"


def _check(name, given, dtype, axes=(1, 2), written=False):
    """Refuse what a network cannot take, in plain words, while a user's function is compiled."""
    expected = " or ".join({1: "one axis", 2: "two axes"}[n] for n in axes)
    if not isinstance(given, types.Array):
        raise NumbaTypeError(f"fastnp.jit: {name} must be an array of {dtype} with {expected}, got {given}")
    if given.ndim not in axes:
        raise NumbaTypeError(f"fastnp.jit: {name} must have {expected}, got an array with {given.ndim}")
    if given.dtype != dtype:
        cure = f"{name}.astype(np.{dtype})"
        raise NumbaTypeError(f"fastnp.jit: {name} must be of {dtype}, as the network; got {given.dtype}; give {cure}")
    if given.layout != "C" or not given.aligned:
        cure = f"np.ascontiguousarray({name})"
        raise NumbaTypeError(f"fastnp.jit: {name} must be C-contiguous; its layout is {given.layout!r}; give {cure}")
    if written and not given.mutable:
        raise NumbaTypeError(f"fastnp.jit: {name} is read-only")


def _called(f, x):
    _check("x", x, f.dtype)
    dtype = f.dtype

    def sample(f, x):
        if column(f, N_IN) == NO_MORE:
            raise ValueError(GONE)
        if len(x) != column(f, N_IN):
            raise ValueError(WIDTH)
        out = np.empty(column(f, N_OUT), dtype)
        if column(f, AHEAD) <= ON_STACK:
            run_sample(column(f, SAMPLE), out, x, net_of(f))
        else:
            run_forward(column(f, FORWARD), out, x, 1, net_of(f), np.empty(column(f, ROOM_FOR_ONE), dtype))
        return out

    def rows(f, x):
        if column(f, N_IN) == NO_MORE:
            raise ValueError(GONE)
        if x.shape[1] != column(f, N_IN):
            raise ValueError(WIDTH)
        out, work = np.empty((len(x), column(f, N_OUT)), dtype), np.empty(column(f, ROOM), dtype)
        run_forward(column(f, FORWARD), out, x, len(x), net_of(f), work)
        return out

    return sample if x.ndim == 1 else rows


overload_method(Jitted, "__call__")(_called)


@lower_builtin(Jitted, Jitted, types.Array)
def lower_call(context, builder, signature, args):
    """A call of the object is one of its method, which has been compiled when its type was asked for."""
    f, x = signature.args
    method = context.typing_context.resolve_getattr(f, "__call__")
    found = context.typing_context.resolve_function_type(method, (x,), {})
    return context.get_function(method, found)(builder, args)


@overload_method(Jitted, "workspace")
def workspace(f):
    dtype = f.dtype

    def made(f):
        return np.empty(column(f, ROOM), dtype)

    return made


@overload_method(Jitted, "into")
def into(f, out, x, work):
    _check("x", x, f.dtype)
    _check("out", out, f.dtype, (x.ndim,), written=True)
    _check("work", work, f.dtype, (1,), written=True)

    def sample(f, out, x, work):
        if column(f, N_IN) == NO_MORE:
            raise ValueError(GONE)
        if len(x) != column(f, N_IN) or len(out) != column(f, N_OUT):
            raise ValueError(WIDTH)
        if len(work) < column(f, ROOM_FOR_ONE):
            raise ValueError(SMALL)
        run_forward(column(f, FORWARD), out, x, 1, net_of(f), work)

    def rows(f, out, x, work):
        if column(f, N_IN) == NO_MORE:
            raise ValueError(GONE)
        if x.shape[1] != column(f, N_IN) or out.shape[1] != column(f, N_OUT):
            raise ValueError(WIDTH)
        if len(out) != len(x):
            raise ValueError(COUNT)
        if len(work) < column(f, ROOM):
            raise ValueError(SMALL)
        run_forward(column(f, FORWARD), out, x, len(x), net_of(f), work)

    return sample if x.ndim == 1 else rows


@overload_method(Jitted, "vjp")
def vjp(f, x, dy):
    _check("x", x, f.dtype)
    _check("dy", dy, f.dtype, (x.ndim,))
    dtype = f.dtype

    def sample(f, x, dy):
        n_in, n_out = column(f, N_IN), column(f, N_OUT)
        if n_in == NO_MORE:
            raise ValueError(GONE)
        if len(x) != n_in or len(dy) != n_out:
            raise ValueError(WIDTH)
        out, dx = np.empty(n_out, dtype), np.empty(n_in, dtype)
        if column(f, ROOM_FOR_ONE) <= ON_STACK_BACK:
            run_sample_vjp(column(f, SAMPLE_VJP), out, dx, x, dy, net_of(f))
        else:
            run_vjp(column(f, VJP), out, dx, x, dy, 1, net_of(f), np.empty(column(f, ROOM_FOR_ONE), dtype))
        return out, dx

    def rows(f, x, dy):
        n_in, n_out, count = column(f, N_IN), column(f, N_OUT), len(x)
        if n_in == NO_MORE:
            raise ValueError(GONE)
        if x.shape[1] != n_in or dy.shape[1] != n_out:
            raise ValueError(WIDTH)
        if len(dy) != count:
            raise ValueError(COUNT)
        out, dx = np.empty((count, n_out), dtype), np.empty((count, n_in), dtype)
        run_vjp(column(f, VJP), out, dx, x, dy, count, net_of(f), np.empty(column(f, ROOM), dtype))
        return out, dx

    return sample if x.ndim == 1 else rows


@overload_method(Jitted, "jacobian")
def jacobian(f, x):
    _check("x", x, f.dtype, (1,))
    dtype = f.dtype

    def sample(f, x):
        n_in, n_out = column(f, N_IN), column(f, N_OUT)
        if n_in == NO_MORE:
            raise ValueError(GONE)
        if len(x) != n_in:
            raise ValueError(WIDTH)
        out, jac, work = np.empty(n_out, dtype), np.empty((n_out, n_in), dtype), np.empty(column(f, ROOM), dtype)
        run_jacobian(column(f, JACOBIAN), out, jac, x, net_of(f), work)
        return out, jac

    return sample
