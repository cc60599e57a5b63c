"""A network by its *net* (see `fastnp.kernels.nets`): the parts that jitted code of users calls, and C.

x (count, n_in), dy and out (count, n_out), dx (count, n_in) and the like are unpadded; `work` is room for as many
numbers as the net says, whatever stands there. These parts are compiled once for a dtype, and know no network.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import types

from .._shelter import sheltered
from ..nets import (
    AHEAD,
    CAPACITY,
    FORWARD,
    MANY,
    N_IN,
    N_OUT,
    NO_MORE,
    ON_STACK,
    ON_STACK_BACK,
    ONE,
    PARAMS,
    ROOM,
    ROOM_FOR_ONE,
    ROWS,
    VJP,
)
from . import walk
from ._jit import c_function, inlined, part
from .calling import call, row, run_forward
from .memory import aligned, integers, memory, table_at
from .simd import at, copy, number_like, read, room, write


@inlined
def _table(net, many):
    """One of the two tables of a net."""
    return table_at(integers(read(at(net, MANY if many else ONE)), 0), read(at(net, ROWS)))


@inlined
def _copy_rows(target, ld_target, source, ld_source, n, count):
    """Copy rows of n numbers, which are so many numbers apart."""
    for i in range(count):
        for j in range(n):
            write(at(target, i * ld_target + j), read(at(source, i * ld_source + j)))


@inlined
def _ahead(inputs, work, params, table, x, n_in, batch):
    """Run a table forward on some rows."""
    _copy_rows(inputs, row(table, 0).ld_in, x, n_in, n_in, batch)
    walk.forward(inputs, work, params, table, batch)


@inlined
def _clear_pads(dy, ld, n, batch):
    """What no layer behind has written."""
    for i in range(batch):
        for j in range(n, ld):
            write(at(dy, i * ld + j), number_like(dy, 0.0))


def sample(out, x, net):
    """out = f(x) of one sample, where that takes no more than `ON_STACK` numbers."""
    params, table = memory(out, read(at(net, PARAMS)), 0), _table(net, False)
    # Scratch space, in which nothing stands forward, comes first in a workspace: it is left out.
    work = at(aligned(room(out, ON_STACK)), read(at(net, AHEAD)) - read(at(net, ROOM_FOR_ONE)))
    last, n_out = row(table, len(table) - 1), read(at(net, N_OUT))
    _ahead(at(work, row(table, 0).x), work, params, table, x, read(at(net, N_IN)), 1)
    _copy_rows(out, n_out, at(work, last.y), last.ld_out, n_out, 1)


def forward(out, x, count, net, work):
    """out = f(x), row by row."""
    work, params, table = aligned(work), memory(out, read(at(net, PARAMS)), 0), _table(net, count != 1)
    n_in, n_out, capacity = read(at(net, N_IN)), read(at(net, N_OUT)), read(at(net, CAPACITY))
    last, inputs = row(table, len(table) - 1), at(work, row(table, 0).x)
    for start in range(0, count, capacity):
        batch = min(capacity, count - start)
        _ahead(inputs, work, params, table, at(x, start * n_in), n_in, batch)
        _copy_rows(at(out, start * n_out), n_out, at(work, last.y), last.ld_out, n_out, batch)


def vjp(out, dx, x, dy, count, net, work):
    """out = f(x), and dx = dyᵀ·J, of each row."""
    work, params, table = aligned(work), memory(out, read(at(net, PARAMS)), 0), _table(net, count != 1)
    n_in, n_out, capacity = read(at(net, N_IN)), read(at(net, N_OUT)), read(at(net, CAPACITY))
    first, last = row(table, 0), row(table, len(table) - 1)
    inputs, gradient = at(work, first.x), at(work, last.dy)
    for start in range(0, count, capacity):
        batch = min(capacity, count - start)
        _ahead(inputs, work, params, table, at(x, start * n_in), n_in, batch)
        _copy_rows(at(out, start * n_out), n_out, at(work, last.y), last.ld_out, n_out, batch)
        _copy_rows(gradient, last.ld_out, at(dy, start * n_out), n_out, n_out, batch)
        _clear_pads(gradient, last.ld_out, n_out, batch)
        walk.backward(inputs, work, params, params, 0, params, table, batch)  # no row has parameters to change
        _copy_rows(at(dx, start * n_in), n_in, at(work, first.dx), first.ld_in, n_in, batch)


def sample_vjp(out, dx, x, dy, net):
    """The same of one sample, where that takes no more than `ON_STACK_BACK` numbers."""
    call(read(at(net, VJP)), (out, dx, x, dy, 1, net, room(out, ON_STACK_BACK)))


def jacobian(out, jac, x, net, work):
    """out = f(x) of one sample, and jac[i] = d out[i] / d x: that sample in as many rows as there are outputs."""
    n_in, n_out = read(at(net, N_IN)), read(at(net, N_OUT))
    work, params, table = aligned(work), memory(out, read(at(net, PARAMS)), 0), _table(net, n_out != 1)
    most = min(n_out, read(at(net, CAPACITY)))
    first, last = row(table, 0), row(table, len(table) - 1)
    inputs, gradient, ld = at(work, first.x), at(work, last.dy), last.ld_out
    for i in range(most):
        copy(at(inputs, i * first.ld_in), x, n_in)
    walk.forward(inputs, work, params, table, most)
    copy(out, at(work, last.y), n_out)
    for start in range(0, n_out, most):
        batch = min(most, n_out - start)
        _clear_pads(gradient, ld, 0, batch)
        for i in range(batch):
            write(at(gradient, i * ld + start + i), number_like(out, 1.0))
        walk.backward(inputs, work, params, params, 0, params, table, batch)
        _copy_rows(at(jac, start * n_in), n_in, at(work, first.dx), first.ld_in, n_in, batch)


def from_c(real):
    """What C calls: a void(real *out, const real *x, int64 count, void *net), which makes room for itself."""

    def called(out, x, count, net):
        if read(at(net, N_IN)) == NO_MORE:
            for i in range(count * read(at(net, N_OUT))):
                write(at(out, i), number_like(out, np.nan))
        else:
            run_forward(read(at(net, FORWARD)), out, x, count, net, np.empty(read(at(net, ROOM)), real))

    return called


class Code(NamedTuple):
    """The addresses of the parts, and of what C calls."""

    sample: int
    forward: int
    sample_vjp: int
    vjp: int
    jacobian: int
    from_c: int


@cache
def _compiled(char):
    real = types.float32 if char == "f" else types.float64
    p, net, count = types.CPointer(real), types.CPointer(types.int64), types.int64
    return Code(
        part(sample, types.void(p, p, net), f"embedded.sample.{char}"),
        part(forward, types.void(p, p, count, net, p), f"embedded.forward.{char}"),
        part(sample_vjp, types.void(p, p, p, p, net), f"embedded.sample_vjp.{char}"),
        part(vjp, types.void(p, p, p, p, count, net, p), f"embedded.vjp.{char}"),
        part(jacobian, types.void(p, p, p, net, p), f"embedded.jacobian.{char}"),
        c_function(from_c(real), types.void(p, p, count, net), f"embedded.from_c.{char}"),
    )


def code_of(char):
    """The code for a dtype, by its character: compiled when it is first asked for."""
    return sheltered(_compiled, char)
