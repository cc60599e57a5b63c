"""A program, forward and backward: what its rows say is done, row by row."""

from ._jit import inlined
from .calling import call, row
from .simd import at


@inlined
def forward(inputs, work, params, table, batch):
    """All rows of a table forward; the input of the first stands at `inputs`."""
    for i in range(len(table)):
        op = row(table, i)
        if op.forward:
            call(op.forward, (op, at(work, op.x) if i else inputs, work, params, batch))


@inlined
def backward(inputs, work, params, target, far, numbers, table, batch):
    """All rows of a table backward: of each first dx, then what becomes of its parameters' gradients."""
    for i in range(len(table) - 1, -1, -1):
        op = row(table, i)
        x = at(work, op.x) if i else inputs
        if op.input:
            call(op.input, (op, x, work, params, batch))
        if op.parameters:
            call(op.parameters, (op, x, work, params, target, far, numbers, batch))
