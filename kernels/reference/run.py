"""What Python calls: the same names and signatures as in the compiled wing, where they are described."""

import math

import numpy as np

from ..table import BATCH_SIZE, LOSS, LOSS_NUMBERS, REDUCTION, ROWS, STRIDE, rows
from . import walk
from .link import function_of
from .operands import rows_of, silent


@silent
def forward(work, params, table, batch):
    first = rows_of(table)[0]
    walk.forward(work[first.x :], work, params, table, batch)


@silent
def backward(work, params, target, numbers, table, batch):
    first = rows_of(table)[0]
    walk.backward(work[first.x :], work, params, target, numbers, table, batch)


@silent
def loss(part, results, pred, target, numbers, reduction):
    return function_of(part)(results, pred, target, numbers, reduction)


@silent
def update(part, p, kept, far, g, numbers):
    if not p.size:
        return
    kinds = [kept[start : start + p.size] for start in range(0, kept.size, far)] if far else [kept]
    function_of(part)(g, p, kinds, numbers)


@silent
def train(losses, job, table, work, params, kept, numbers, x, y):
    last = rows_of(table)[-1]
    size, count, stride, reduction = (int(job[column]) for column in (BATCH_SIZE, ROWS, STRIDE, REDUCTION))
    numbers, loss_numbers = np.split(numbers, [int(job[LOSS_NUMBERS])])
    done = 0
    for epoch in range(len(losses)):
        for start in range(epoch * stride, epoch * stride + count, size):
            batch = min(size, epoch * stride + count - start)
            inputs = x[start:].reshape(-1)
            walk.forward(inputs, work, params, table, batch)
            pred, dpred = (rows(work, at, batch, last.ld_out)[:, : last.n_out] for at in (last.y, last.dy))
            loss = function_of(int(job[LOSS]))(
                dpred[np.newaxis], pred, y[start : start + batch], loss_numbers, reduction
            )
            if not math.isfinite(loss):
                losses[epoch] = loss
                return done
            losses[epoch] += loss
            walk.backward(inputs, work, params, kept, numbers, table, batch)
            done += 1
    return done
