"""A whole program, forward or backward, in one call.

A program is the table of integers described in `fastnp.kernels`: a row for each layer, in their order,
with its sizes and its offsets in two flat arrays: the workspace (activations, their gradients, scratch)
and the arena (parameters; the gradients are in an arena of the same layout). One compiled kernel runs any
table: a new architecture compiles nothing.
"""

from . import BIAS, DX, DY, LD_IN, LD_OUT, LINEAR, N_IN, N_OUT, OP, RELU, SCRATCH, WEIGHT, X, Y, linear, relu
from ._jit import inlined, kernel
from .simd import at, pointer


@inlined
def buffer(work, inputs, table, offset):
    """Where the buffer at an offset of the workspace is: the first of the program is at `inputs`."""
    return inputs if offset == table[0, X] else at(work, offset)


@inlined
def forward(work, inputs, params, table, batch, first, last):
    """Rows first … last − 1 of a table, forward. A ReLU behind a Linear is done in the same pass."""
    i = first
    while i < last:
        op = table[i]
        y, x = buffer(work, inputs, table, op[Y]), buffer(work, inputs, table, op[X])
        if op[OP] == LINEAR:
            fused = i + 1 < last and table[i + 1, OP] == RELU
            w, b = at(params, op[WEIGHT]), at(params, op[BIAS])
            linear.forward(y, op[LD_OUT], x, op[LD_IN], w, b, batch, op[N_IN], op[N_OUT], fused)
            if fused:
                i += 1
        else:
            relu.forward(y, x, batch * op[LD_OUT])
        i += 1


@inlined
def backward(work, grads, params, table, batch, first, last, add_to):
    """Rows last − 1 … first of a table, backward. A ReLU before a Linear is done in the same pass."""
    i = last - 1
    while i >= first:
        op = table[i]
        dx, dy, x, y = at(work, op[DX]), at(work, op[DY]), at(work, op[X]), at(work, op[Y])
        if op[OP] == LINEAR:
            fused = i > first and table[i - 1, OP] == RELU
            n_in, n_out, ldx, ldy = op[N_IN], op[N_OUT], op[LD_IN], op[LD_OUT]
            w, scratch = at(params, op[WEIGHT]), at(work, op[SCRATCH])
            linear.backward_input(dx, ldx, dy, ldy, w, scratch, x, batch, n_in, n_out, fused)
            dw, db = at(grads, op[WEIGHT]), at(grads, op[BIAS])
            linear.backward_parameters(dw, db, dy, ldy, x, ldx, batch, n_in, n_out, add_to)
            if fused:
                i -= 1
        else:
            relu.backward(dx, dy, y, batch * op[LD_OUT])
        i -= 1


@kernel
def program_forward(work, params, table, batch, first, last):
    """Run rows first … last − 1 of `table` forward on the first `batch` rows of their buffers.

    work, params (size,) of one dtype; table (rows, COLUMNS) int64. The input stands at X of row `first`;
    the output is left at Y of row last − 1, and every layer's activations at its Y.
    """
    forward(pointer(work, 0), pointer(work, table[0, X]), pointer(params, 0), table, batch, first, last)


@kernel
def program_backward(work, grads, params, table, batch, first, last, add_to):
    """Run rows last − 1 … first of `table` backward, after a forward run of the same rows.

    The gradient with respect to the output stands at DY of row last − 1; the one with respect to the
    input is left at DX of row `first`. Parameter gradients are stored in grads, or added where `add_to`.
    """
    backward(pointer(work, 0), pointer(grads, 0), pointer(params, 0), table, batch, first, last, add_to)
