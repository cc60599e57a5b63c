"""What Python calls. The contract is in `fastnp.kernels`; parts and rows are those of `fastnp.kernels.table`."""

import math

from ..table import BATCH_SIZE, LOSS, LOSS_NUMBERS, REDUCTION, ROWS, STRIDE
from . import walk
from ._jit import kernel
from .calling import call, call_for_number, row
from .simd import at, pointer


@kernel
def forward(work, params, table, batch):
    """Run all rows of `table` forward on the first `batch` rows of their buffers.

    work, params (size,) of one dtype; table (rows, COLUMNS) int64. The input stands at x of the first row;
    the output is left at y of the last, and every row's at its y.
    """
    walk.forward(pointer(work, row(table, 0).x), pointer(work, 0), pointer(params, 0), table, batch)


@kernel
def backward(work, params, target, numbers, table, batch):
    """Run all rows of `table` backward, after a forward run.

    The gradient with respect to the output stands at dy of the last row; the one with respect to the input is
    left at dx of the first. target (size of params, or a multiple) and numbers are what the rows' rule takes.
    """
    inputs, work_ = pointer(work, row(table, 0).x), pointer(work, 0)
    walk.backward(inputs, work_, pointer(params, 0), pointer(target, 0), params.size, pointer(numbers, 0), table, batch)


@kernel
def loss(part, results, pred, target, numbers, reduction):
    """What a loss comes to, a double. results (1, rows, n) gets its gradient; (2, rows, n) each loss, too, for EACH.

    pred (rows, n) and target (rows, ·), behind which the weights of the rows may stand (see `losses`), are unpadded.
    """
    batch, n = pred.shape
    target_, columns = pointer(target, 0), target.shape[1]
    arguments = pointer(pred, 0), n, target_, columns, pointer(numbers, 0), batch, n, reduction
    return call_for_number(part, (pointer(results, 0), *arguments))


@kernel
def update(part, p, kept, far, g, numbers):
    """Change the parameters p (size,) by the gradients g (size,), size a multiple of the padding.

    What is kept of them stands in `kept`: numbers of one kind, those of the next `far` behind.
    """
    call(part, (pointer(p, 0), pointer(kept, 0), far, pointer(g, 0), p.size, pointer(numbers, 0)))


@kernel
def train(losses, job, table, work, params, kept, numbers, x, y):
    """Train a program on batches; returns how many batches were trained on.

    One epoch for each number in losses (epochs,), a double to which the losses of its batches are added.
    Epoch e takes the rows e·STRIDE … e·STRIDE + ROWS − 1 of x (·, ld_in), padded, and y (·, ·), the targets as the loss
    takes them, in batches of BATCH_SIZE; the last may be shorter. job (JOB_COLUMNS,) int64; kept (multiple of size,)
    and numbers are what the rule of the rows takes, and behind these those of the loss; work, params and table as for
    `backward`. A loss that is not finite ends the call before that batch changes a parameter,
    and stands in losses.
    """
    last = row(table, len(table) - 1)
    work_, params_, kept_, numbers_ = pointer(work, 0), pointer(params, 0), pointer(kept, 0), pointer(numbers, 0)
    far, n, ld, stride = params.size, last.n_out, last.ld_out, job[STRIDE]
    pred, dpred, loss_numbers = at(work_, last.y), at(work_, last.dy), at(numbers_, job[LOSS_NUMBERS])
    done = 0
    for epoch in range(len(losses)):
        for start in range(epoch * stride, epoch * stride + job[ROWS], job[BATCH_SIZE]):
            batch = min(job[BATCH_SIZE], epoch * stride + job[ROWS] - start)
            inputs = pointer(x, start * x.shape[1])
            walk.forward(inputs, work_, params_, table, batch)
            target = pointer(y, start * y.shape[1])
            arguments = dpred, pred, ld, target, y.shape[1], loss_numbers, batch, n, job[REDUCTION]
            loss = call_for_number(job[LOSS], arguments)
            if not math.isfinite(loss):
                losses[epoch] = loss
                return done
            losses[epoch] += loss
            walk.backward(inputs, work_, params_, kept_, far, numbers_, table, batch)
            done += 1
    return done
