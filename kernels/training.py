"""Many steps of training in one call: forward, loss, backward and update, batch after batch."""

import math

from . import (
    BIAS,
    DX,
    DY,
    LD_IN,
    LD_OUT,
    LINEAR,
    N_IN,
    N_OUT,
    OP,
    RELU,
    SCRATCH,
    WEIGHT,
    X,
    Y,
    linear,
    mse,
    program,
    relu,
)
from ._jit import inlined, kernel
from .simd import at, pointer


@inlined
def backward_update(work, inputs, params, velocity, table, batch, rate, keep, decay, l1):
    """All rows of a table backward, updating the parameters of each as soon as they are no longer needed.

    One of the rows is a LINEAR.
    """
    lowest = 0  # below the first LINEAR nothing has parameters
    while table[lowest, OP] != LINEAR:
        lowest += 1
    i = len(table) - 1
    while i >= lowest:
        op = table[i]
        dx, dy = at(work, op[DX]), at(work, op[DY])
        if op[OP] == LINEAR:
            fused = i > 0 and table[i - 1, OP] == RELU
            n_in, n_out, ldx, ldy = op[N_IN], op[N_OUT], op[LD_IN], op[LD_OUT]
            x = program.buffer(work, inputs, table, op[X])
            w, b = at(params, op[WEIGHT]), at(params, op[BIAS])
            vw, vb = at(velocity, op[WEIGHT]), at(velocity, op[BIAS])
            if i > lowest:
                linear.backward_input(dx, ldx, dy, ldy, w, at(work, op[SCRATCH]), x, batch, n_in, n_out, fused)
            linear.backward_update(w, b, vw, vb, dy, ldy, x, ldx, batch, n_in, n_out, rate, keep, decay, l1)
            if fused:
                i -= 1
        else:
            relu.backward(dx, dy, at(work, op[Y]), batch * op[LD_OUT])
        i -= 1


@kernel
def train_batches(losses, work, params, velocity, table, x, y, batch_size, rows, stride, rates, l1, mean):
    """Train a program on batches; returns how many batches were trained on.

    One epoch for each number in losses (epochs,), a double to which the losses of its batches are added.
    Epoch e takes the rows e·stride … e·stride + rows − 1 of x (·, ld_in), padded, and y (·, n_out), in
    batches of batch_size; the last may be shorter. The gradient is that of the half squared error, its
    mean where `mean`, else its sum. rates (3,), double: learning rate, momentum, weight decay; l1 and the
    update as for `momentum_update`. work, params, velocity, table as for `program_backward`, which this
    equals bit for bit. Where the program starts with a RELU, x is overwritten by its positive part. A loss
    that is not finite ends the call before that batch changes a parameter, and stands in losses.
    """
    real = params.dtype.type
    rate, keep, decay = real(rates[0]), real(rates[1]), real(rates[2])
    last = len(table) - 1
    n_out, ldy = table[last, N_OUT], table[last, LD_OUT]
    work_, params_, velocity_ = pointer(work, 0), pointer(params, 0), pointer(velocity, 0)
    done = 0
    for epoch in range(len(losses)):
        for start in range(epoch * stride, epoch * stride + rows, batch_size):
            batch = min(batch_size, epoch * stride + rows - start)
            inputs = pointer(x, start * x.shape[1])
            program.forward(work_, inputs, params_, table, batch, 0, last + 1)
            scale = 1 / (batch * n_out) if mean else 1.0
            loss = 0.0
            for i in range(batch):
                pred = at(program.buffer(work_, inputs, table, table[last, Y]), i * ldy)
                dpred, target = at(work_, table[last, DY] + i * ldy), pointer(y, (start + i) * n_out)
                loss = mse.row_loss(loss, dpred, pred, target, n_out, real(scale))
            loss *= scale
            if not math.isfinite(loss):
                losses[epoch] = loss
                return done
            losses[epoch] += loss
            backward_update(work_, inputs, params_, velocity_, table, batch, rate, keep, decay, l1)
            done += 1
    return done
