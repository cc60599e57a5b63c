"""What Python calls. The contract is in `fastnp.kernels`; parts and rows are those of `fastnp.kernels.table`."""

import math

from .. import table as columns
from ..table import (
    BATCH_SIZE,
    BEGIN,
    COUNTS,
    FAR,
    FLAT,
    LOSS,
    PLAN_COLUMNS,
    RANGES,
    RATE_STEP,
    REDUCTION,
    ROWS,
    RULE_NUMBERS,
    SETS,
    SQUARES,
    STRIDE,
    TENSORS,
    UPDATES,
)
from . import walk
from ._jit import inlined, kernel
from .calling import call, call_for_number, row
from .simd import at, number_like, pointer, room, write

clipping = inlined(columns.clipping)
ROOM = 2 * RULE_NUMBERS + 1  # for two sets of numbers, and one that is 0
RULE_MEMORY = 4


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
def squares(plan, g):
    """Σ g² over the gradients g (size,) of the tensors of a plan, a double."""
    return _squares(plan, pointer(g, 0))


@kernel
def update(plan, p, kept, g, settings, rate, done, factor):
    """Change the parameters p (size,) of a plan once, by `factor` times the gradients g (size,).

    plan (·,) int64 is described in `table`; kept (multiple of size,) is what its rule keeps. settings (sets, ·),
    doubles, rate and done, the number of updates made before, are what the rule makes its numbers from.
    """
    numbers = room(pointer(p, 0), ROOM)
    _begin(plan, numbers, settings, rate, done, _no_memory(settings))
    _update(plan, pointer(p, 0), pointer(kept, 0), pointer(g, 0), factor, numbers)


@kernel
def train(losses, job, plan, table, work, params, kept, gradients, settings, rates, clip_norm, loss_numbers, x, y):
    """Train a program on batches; returns how many updates were made.

    One epoch for each number in losses (epochs,), a double to which the losses of its batches are added.
    Epoch e takes the rows e·STRIDE … e·STRIDE + ROWS − 1 of x (·, ld_in), padded, and y (·, ·), the targets as the loss
    takes them, in batches of BATCH_SIZE; the last may be shorter. job (JOB_COLUMNS,) int64; work, params and table are
    as for `backward`, plan, kept and settings as for `update`; rates (updates,), or (1,) where RATE_STEP is 0, doubles.
    A loss that is not finite, which is then left in losses, or the end of the rates, ends the call before that batch
    changes a parameter.

    Where clip_norm is not 0, the rows keep the gradients, in gradients (size,), and parameters change by these when
    their norm is known; else they change in the rows, and gradients is empty.
    """
    done = 0
    for epoch in range(len(losses)):
        before = done
        done = _epoch(losses, epoch, done, job, plan, table, work, params, kept, gradients, settings, rates, clip_norm,
                      loss_numbers, x, y)  # fmt: skip
        if done - before < -(-job[ROWS] // job[BATCH_SIZE]):
            break
    return done


# --- what these share ---


@inlined
def _no_memory(settings):
    """What a rule may remember from one update for the next, in one call: of none yet."""
    memory = room(pointer(settings, 0), RULE_MEMORY)
    for i in range(RULE_MEMORY):
        write(at(memory, i), -1.0)
    return memory


@inlined
def _begin(plan, numbers, settings, rate, done, memory):
    """Make the numbers of an update: one set, or two."""
    for i in range(plan[SETS]):
        of = pointer(settings, i * settings.shape[1])
        call(plan[BEGIN], (at(numbers, i * RULE_NUMBERS), of, rate, done, memory))


@inlined
def _squares(plan, g):
    """Those of each tensor by itself, then one tensor after the other."""
    result, first = 0.0, PLAN_COLUMNS + 3 * plan[RANGES]
    for i in range(plan[TENSORS]):
        start, size = plan[first + 2 * i], plan[first + 2 * i + 1]
        result += call_for_number(plan[SQUARES], (at(g, start), size))
    return result


@inlined
def _update(plan, p, kept, g, factor, numbers):
    """Apply a rule to all ranges, by gradients that were kept."""
    number = number_like(p, factor)
    for i in range(plan[RANGES]):
        column = PLAN_COLUMNS + 3 * i
        start, size, of = plan[column], plan[column + 1], at(numbers, plan[column + 2])
        call(plan[FLAT], (at(p, start), at(kept, start), plan[FAR], at(g, start), size, number, of))


@inlined
def _epoch(losses, epoch, done, job, plan, table, work, params, kept, gradients, settings, rates, clip_norm,
           loss_numbers, x, y):  # fmt: skip
    """One epoch, `done` updates after the call began; returns how many there are then."""
    last, first_row = row(table, len(table) - 1), epoch * job[STRIDE]
    work_, params_, kept_, gradients_ = pointer(work, 0), pointer(params, 0), pointer(kept, 0), pointer(gradients, 0)
    pred, dpred = at(work_, last.y), at(work_, last.dy)
    numbers = room(params_, ROOM)
    none = at(numbers, 2 * RULE_NUMBERS)  # of the rule that stores gradients
    write(none, number_like(none, 0.0))
    rate_before, memory = math.nan, _no_memory(settings)
    for start in range(first_row, first_row + job[ROWS], job[BATCH_SIZE]):
        batch = min(job[BATCH_SIZE], first_row + job[ROWS] - start)
        inputs = pointer(x, start * x.shape[1])
        walk.forward(inputs, work_, params_, table, batch)
        arguments = (
            dpred, pred, last.ld_out, pointer(y, start * y.shape[1]), y.shape[1], pointer(loss_numbers, 0), batch,
            last.n_out, job[REDUCTION],
        )  # fmt: skip
        loss = call_for_number(job[LOSS], arguments)
        if not math.isfinite(loss):
            losses[epoch] = loss
            break
        losses[epoch] += loss
        if done * job[RATE_STEP] == len(rates):
            break
        rate = rates[done * job[RATE_STEP]]
        if rate != rate_before or plan[COUNTS]:
            _begin(plan, numbers, settings, rate, job[UPDATES] + done, memory)
            rate_before = rate
        if clip_norm == 0:
            walk.backward(inputs, work_, params_, kept_, params.size, numbers, table, batch)
        else:
            walk.backward(inputs, work_, params_, gradients_, 0, none, table, batch)
            factor = clipping(_squares(plan, gradients_), clip_norm)
            _update(plan, params_, kept_, gradients_, factor, numbers)
        done += 1
    return done
