"""What Python calls. The contract is in `fastnp.kernels`; parts and rows are those of `fastnp.kernels.table`."""

import math

from .. import table as columns
from ..table import (
    BATCH_SIZE,
    BATCHES,
    BEGIN,
    BETTER,
    BY_VALIDATION,
    COUNTS,
    FAR,
    FLAT,
    LOSS,
    PATIENCE,
    PLAN_COLUMNS,
    RANGES,
    RATE_STEP,
    REDUCTION,
    ROWS,
    RULE_NUMBERS,
    SETTINGS_STEP,
    SQUARES,
    STRIDE,
    WAITS,
)
from . import walk
from ._jit import inlined, kernel
from .calling import call, call_for_number, row
from .simd import at, copy, number_like, pointer, read, room, write
from .validation import validation_loss

is_better = inlined(columns.is_better)
ROOM = 2 * RULE_NUMBERS + 1  # for two sets of numbers, and one that is 0
MEMORY = 4  # doubles of a rule


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
def loss_and_gradients(gradients, job, table, work, params, loss_numbers, x, y):
    """What a loss comes to over ROWS rows, a double, in batches of BATCH_SIZE, added up one after the other.

    gradients (size of params,) gets the sums of those of the batches. job (JOB_COLUMNS,) int64; the rest is as for
    `train`, and rows of the table keep gradients.
    """
    last = row(table, len(table) - 1)
    work_, params_, target = pointer(work, 0), pointer(params, 0), pointer(gradients, 0)
    numbers = room(params_, 1)
    total = 0.0
    for start in range(0, job[ROWS], job[BATCH_SIZE]):
        batch = min(job[BATCH_SIZE], job[ROWS] - start)
        inputs, of_batch = pointer(x, start * x.shape[1]), pointer(y, start * y.shape[1])
        walk.forward(inputs, work_, params_, table, batch)
        arguments = of_batch, y.shape[1], pointer(loss_numbers, 0), batch, last.n_out, job[REDUCTION]
        total += call_for_number(job[LOSS], (at(work_, last.dy), at(work_, last.y), last.ld_out, *arguments))
        write(numbers, number_like(numbers, 1.0 if start else 0.0))  # by which the rows store gradients, or add them
        walk.backward(inputs, work_, params_, target, 0, numbers, table, batch)
    return total


@kernel
def squares(plan, g):
    """Σ g² over the gradients g (size,) of the tensors of a plan, a double."""
    return call_for_number(plan[SQUARES], (pointer(plan, 0), pointer(g, 0)))


@kernel
def update(plan, p, kept, g, settings, rate, before, squares, clip_norm):
    """Change the parameters p (size,) of a plan once by the gradients g (size,), after `before` updates.

    plan (·,) int64 is described in `table`; kept (multiple of size,) is what its rule keeps. settings (sets, ·),
    doubles, and the learning rate are what the rule makes its numbers from. Where clip_norm is not 0, the gradients,
    the square of whose norm is `squares`, are clipped to it.
    """
    plan_, params, numbers = pointer(plan, 0), pointer(p, 0), room(pointer(p, 0), ROOM)
    of_rule, memory = pointer(settings, 0), room(pointer(settings, 0), MEMORY)
    call(plan[BEGIN], (plan_, numbers, of_rule, settings.shape[1], rate, before, memory, 1))
    call(plan[FLAT], (plan_, params, pointer(kept, 0), pointer(g, 0), squares, clip_norm, numbers))


@kernel
def train(
    losses, job, plan, table, work, params, kept, gradients, settings, rates, before, clip_norm, loss_numbers, x, y,
    each, penalty,
):  # fmt: skip
    """Train a program on batches; returns how many updates were made.

    One epoch for each number in losses (epochs,), a double to which the losses of its batches are added.
    Epoch e takes the rows e·STRIDE … e·STRIDE + ROWS − 1 of x (·, ld_in), padded, and y (·, ·), the targets as the loss
    takes them, in batches of BATCH_SIZE; the last may be shorter. job (JOB_COLUMNS,) int64; work, params and table are
    as for `backward`, plan, kept, settings (or those of each update) and before as for `update`; rates (updates,), or
    (1,) for RATE_STEP 0, doubles. A loss that is not finite, then left in losses, or the end of the rates, ends the
    call before that batch changes a parameter. Where clip_norm is not 0, the rows keep the gradients, in gradients
    (size,), and parameters change by these when their norm is known; else in the rows, and gradients is empty.
    each (updates, 2), or (0, 2), doubles, gets of each batch the loss, and before it Σ p² by the plan `penalty`.
    """
    last = row(table, len(table) - 1)
    plan_, work_, params_, kept_ = pointer(plan, 0), pointer(work, 0), pointer(params, 0), pointer(kept, 0)
    pred, dpred, n, ld, stride = at(work_, last.y), at(work_, last.dy), last.n_out, last.ld_out, job[STRIDE]
    of_rule, memory, numbers = pointer(settings, 0), room(pointer(settings, 0), MEMORY), room(params_, ROOM)
    target, far, of_rows = kept_, params.size, numbers
    if clip_norm != 0:
        target, far, of_rows = pointer(gradients, 0), 0, at(numbers, 2 * RULE_NUMBERS)
        write(of_rows, number_like(of_rows, 0.0))  # by which the rows store gradients
    done, rate_before, tells, each_, penalty_ = 0, math.nan, len(each) > 0, pointer(each, 0), pointer(penalty, 0)
    for epoch in range(len(losses)):
        for start in range(epoch * stride, epoch * stride + job[ROWS], job[BATCH_SIZE]):
            batch = min(job[BATCH_SIZE], epoch * stride + job[ROWS] - start)
            inputs, of_batch = pointer(x, start * x.shape[1]), pointer(y, start * y.shape[1])
            walk.forward(inputs, work_, params_, table, batch)
            arguments = dpred, pred, ld, of_batch, y.shape[1], pointer(loss_numbers, 0), batch, n, job[REDUCTION]
            loss = call_for_number(job[LOSS], arguments)
            if tells:  # asked of the array itself, it would take 3 % of the step of a small network
                _tell(at(each_, 2 * done), loss, penalty_, params_)
            if not math.isfinite(loss):
                losses[epoch] = loss
                return done
            losses[epoch] += loss
            if done * job[RATE_STEP] == len(rates):
                return done
            rate = rates[done * job[RATE_STEP]]
            if rate != rate_before or plan[COUNTS] or job[SETTINGS_STEP]:
                count, of_update = before + done, at(of_rule, done * job[SETTINGS_STEP] * settings.shape[1])
                call(plan[BEGIN], (plan_, numbers, of_update, settings.shape[1], rate, count, memory, done == 0))
            rate_before = rate
            walk.backward(inputs, work_, params_, target, far, of_rows, table, batch)
            if clip_norm != 0:
                squares = call_for_number(plan[SQUARES], (plan_, target))
                call(plan[FLAT], (plan_, params_, kept_, target, squares, clip_norm, numbers))
            done += 1
    return done


@kernel
def train_and_watch(
    losses, job, plan, table, work, params, kept, gradients, settings, rates, before, clip_norm, loss_numbers, x, y,
    each, penalty, stopping, best, best_kept, validation_losses, validation_job, validation_table, validation_work,
    counts, validation_x, validation_y,
):  # fmt: skip
    """As `train`, with a look at every epoch that is done; the end of patience ends the call, too. `each` is empty.

    Where there are counts (batches,), doubles, validation_losses (epochs,) gets the loss over the validation data:
    those of its batches, each as often as it counts (for SUM, once). validation_job, _table and _work are as for
    `train`, of a pass forward alone, and apart from these; validation_x and _y are the batches, one behind the other.

    stopping (STOPPING_COLUMNS,), doubles, is described in `table`. When an epoch is better than all before, what the
    plan changes is copied to best, like params, and best_kept, like kept, unless best is empty.
    """
    done = 0
    for epoch in range(len(losses)):
        first = epoch * job[STRIDE]
        updates = train(
            losses[epoch : epoch + 1], job, plan, table, work, params, kept, gradients, settings,
            rates[done * job[RATE_STEP] :], before + done, clip_norm, loss_numbers, x[first:], y[first:], each, penalty,
        )  # fmt: skip
        done += updates
        if updates < -(-job[ROWS] // job[BATCH_SIZE]):
            break
        value = losses[epoch] / stopping[BATCHES]
        if len(counts):
            validation_losses[epoch] = validation_loss(
                validation_job, validation_table, validation_work, params, counts, loss_numbers, validation_x,
                validation_y,
            )  # fmt: skip
            if stopping[BY_VALIDATION]:
                value = validation_losses[epoch]
        if stopping[PATIENCE] and is_better(stopping, value):
            stopping[BETTER] = epoch
            if best.size:
                _copy(plan, best, params)
                _copy(plan, best_kept, kept)
        if stopping[PATIENCE] and stopping[WAITS] >= stopping[PATIENCE]:
            break
    return done


@inlined
def _tell(each, loss, penalty, params):
    """Write down what is asked for of a batch."""
    write(each, loss)
    write(at(each, 1), call_for_number(read(at(penalty, SQUARES)), (penalty, params)))


@inlined
def _copy(plan, copies, values):
    """Copy what belongs to the tensors of a plan, of each kind."""
    for i in range(plan[RANGES]):
        first, size = plan[PLAN_COLUMNS + 3 * i], plan[PLAN_COLUMNS + 3 * i + 1]
        for start in range(first, values.size, plan[FAR]):
            copy(pointer(copies, start), pointer(values, start), size)
