"""The NumPy twin of every kernel: same names, same signatures, the textbook's formulas.

The twins are what the compiled kernels are checked against, and what runs where there is no Numba. Like
compiled kernels they compute with infinity and NaN without a warning.
"""

import numpy as np

from . import BIAS, DX, DY, LD_IN, LD_OUT, LINEAR, N_IN, N_OUT, OP, RELU, SCRATCH, WEIGHT, X, Y

silent = np.errstate(over="ignore", invalid="ignore")


@silent
def linear_forward(y, x, w, b, batch, n_in, relu):
    out = y[:batch]
    np.dot(x[:batch, :n_in], w, out=out)
    out += b
    if relu:
        relu_forward(out, out)


@silent
def linear_backward_input(dx, dy, w, scratch, x, batch, n_in, n_out, relu_input):
    out = dx[:batch]
    out[:, :n_in] = np.dot(dy[:batch, :n_out], w[:, :n_out].T)
    out[:, n_in:] = 0
    if relu_input:
        relu_backward(out, out, x[:batch])


@silent
def linear_backward_parameters(dw, db, dy, x, batch, n_in, n_out, add_to):
    dw, db, dy = dw[:, :n_out], db[:, :n_out], dy[:batch, :n_out]
    if add_to:
        dw += np.dot(x[:batch, :n_in].T, dy)
        db += np.sum(dy, axis=0)
    else:
        dw[...] = np.dot(x[:batch, :n_in].T, dy)
        np.sum(dy, axis=0, keepdims=True, out=db)


@silent
def relu_forward(y, x):
    np.copyto(y, np.where(x <= 0, 0, x))


@silent
def relu_backward(dx, dy, y):
    np.copyto(dx, np.where(y > 0, dy, 0))


@silent
def mse(dpred, pred, target, scale):
    np.subtract(pred, target, out=dpred)
    squares = np.square(dpred, dtype=np.float64)
    np.multiply(dpred, pred.dtype.type(scale), out=dpred)
    return 0.5 * float(np.sum(squares))


@silent
def momentum_update(p, v, g, learning_rate, momentum, weight_decay, l1):
    real = p.dtype.type
    v *= real(momentum)
    if real(weight_decay) != 0:
        v += g + real(weight_decay) * (np.sign(p) if l1 else p)
    else:
        v += g
    v[np.abs(v) < np.finfo(p.dtype).tiny] = 0
    p -= real(learning_rate) * v


def _rows(flat, offset, batch, ld):
    return flat[offset : offset + batch * ld].reshape(batch, ld)


@silent
def program_forward(work, params, table, batch, first, last):
    for op in table[first:last].tolist():
        y = _rows(work, op[Y], batch, op[LD_OUT])
        x = _rows(work, op[X], batch, op[LD_IN])
        if op[OP] == LINEAR:
            w = _rows(params, op[WEIGHT], op[N_IN], op[LD_OUT])
            b = _rows(params, op[BIAS], 1, op[LD_OUT])
            linear_forward(y, x, w, b, batch, op[N_IN], False)
        elif op[OP] == RELU:
            relu_forward(y, x)


@silent
def program_backward(work, grads, params, table, batch, first, last, add_to):
    for op in table[first:last][::-1].tolist():
        n_in, n_out, ld_in, ld_out = op[N_IN], op[N_OUT], op[LD_IN], op[LD_OUT]
        x = _rows(work, op[X], batch, ld_in)
        y = _rows(work, op[Y], batch, ld_out)
        dx = _rows(work, op[DX], batch, ld_in)
        dy = _rows(work, op[DY], batch, ld_out)
        if op[OP] == LINEAR:
            w = _rows(params, op[WEIGHT], n_in, ld_out)
            linear_backward_input(dx, dy, w, work[op[SCRATCH] :], x, batch, n_in, n_out, False)
            dw = _rows(grads, op[WEIGHT], n_in, ld_out)
            db = _rows(grads, op[BIAS], 1, ld_out)
            linear_backward_parameters(dw, db, dy, x, batch, n_in, n_out, add_to)
        elif op[OP] == RELU:
            relu_backward(dx, dy, y)


@silent
def train_batches(losses, work, params, velocity, table, x, y, batch_size, rows, stride, rates, l1, mean):
    first, last = table[0].tolist(), table[-1].tolist()
    grads = np.zeros_like(params)
    done = 0
    for epoch in range(len(losses)):
        for start in range(epoch * stride, epoch * stride + rows, batch_size):
            batch = min(batch_size, epoch * stride + rows - start)
            _rows(work, first[X], batch, first[LD_IN])[...] = x[start : start + batch]
            program_forward(work, params, table, batch, 0, len(table))
            pred = _rows(work, last[Y], batch, last[LD_OUT])[:, : last[N_OUT]]
            dpred = _rows(work, last[DY], batch, last[LD_OUT])[:, : last[N_OUT]]
            scale = 1 / dpred.size if mean else 1.0
            loss = mse(dpred, pred, y[start : start + batch], scale) * scale
            if not np.isfinite(loss):
                losses[epoch] = loss
                return done
            losses[epoch] += loss
            program_backward(work, grads, params, table, batch, 0, len(table), False)
            momentum_update(params, velocity, grads, *rates.tolist(), l1)
            done += 1
    return done
