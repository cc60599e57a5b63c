"""What Python calls: the same names and signatures as in the compiled wing, where they are described."""

import math

import numpy as np

from ..table import (
    BATCH_SIZE,
    BATCHES,
    BEGIN,
    BETTER,
    BY_VALIDATION,
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
    SETS,
    SQUARES,
    STRIDE,
    TENSORS,
    WAITS,
    clipping,
    is_better,
    rows,
)
from . import walk
from .link import function_of
from .operands import rows_of, silent
from .validation import validation_loss


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
def loss_and_gradients(gradients, job, table, work, params, loss_numbers, x, y):
    last = rows_of(table)[-1]
    total = 0.0
    for start in range(0, int(job[ROWS]), int(job[BATCH_SIZE])):
        batch = min(int(job[BATCH_SIZE]), int(job[ROWS]) - start)
        inputs = x[start:].reshape(-1)
        walk.forward(inputs, work, params, table, batch)
        pred, dpred = (rows(work, at, batch, last.ld_out)[:, : last.n_out] for at in (last.y, last.dy))
        arguments = y[start : start + batch], loss_numbers, int(job[REDUCTION])
        total += function_of(int(job[LOSS]))(dpred[np.newaxis], pred, *arguments)
        walk.backward(inputs, work, params, gradients, np.full(1, start > 0, params.dtype), table, batch)
    return total


@silent
def squares(plan, g):
    return _squares(plan, g)


@silent
def update(plan, p, kept, g, settings, rate, before, squares, clip_norm):
    updated(plan, p, kept, g, settings, rate, before, squares, clip_norm)


def updated(plan, p, kept, g, settings, rate, before, squares, clip_norm):
    """`update`, for others here."""
    _update(plan, p, kept, g, squares, clip_norm, _begun(plan, settings, rate, before, p.dtype))


@silent
def train(
    losses, job, plan, table, work, params, kept, gradients, settings, rates, before, clip_norm, loss_numbers, x, y,
    each, penalty,
):  # fmt: skip
    last = rows_of(table)[-1]
    part, size, count, stride, reduction, rate_step, settings_step = job.tolist()
    done = 0
    for epoch in range(len(losses)):
        for start in range(epoch * stride, epoch * stride + count, size):
            batch = min(size, epoch * stride + count - start)
            inputs = x[start:].reshape(-1)
            walk.forward(inputs, work, params, table, batch)
            pred, dpred = (rows(work, at, batch, last.ld_out)[:, : last.n_out] for at in (last.y, last.dy))
            loss = function_of(part)(dpred[np.newaxis], pred, y[start : start + batch], loss_numbers, reduction)
            if len(each):
                each[done] = loss, _squares(penalty, params)
            if not math.isfinite(loss):
                losses[epoch] = loss
                return done
            losses[epoch] += loss
            if done * rate_step == len(rates):
                return done
            of_update, rate = settings[done * settings_step :], rates[done * rate_step]
            numbers = _begun(plan, of_update, rate, before + done, params.dtype)
            if clip_norm == 0:
                walk.backward(inputs, work, params, kept, numbers, table, batch)
            else:
                walk.backward(inputs, work, params, gradients, np.zeros(1, params.dtype), table, batch)
                _update(plan, params, kept, gradients, _squares(plan, gradients), clip_norm, numbers)
            done += 1
    return done


@silent
def train_and_watch(
    losses, job, plan, table, work, params, kept, gradients, settings, rates, before, clip_norm, loss_numbers, x, y,
    each, penalty, stopping, best, best_kept, validation_losses, validation_job, validation_table, validation_work,
    counts, validation_x, validation_y,
):  # fmt: skip
    done = 0
    for epoch in range(len(losses)):
        first = epoch * int(job[STRIDE])
        updates = train(
            losses[epoch : epoch + 1], job, plan, table, work, params, kept, gradients, settings,
            rates[done * int(job[RATE_STEP]) :], before + done, clip_norm, loss_numbers, x[first:], y[first:],
            each, penalty,
        )  # fmt: skip
        done += updates
        if updates < -(-int(job[ROWS]) // int(job[BATCH_SIZE])):
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


# --- what these share ---


def _begun(plan, settings, rate, before, dtype):
    """The numbers of an update: one set, or two."""
    numbers = np.zeros(2 * RULE_NUMBERS, dtype)
    for i in range(int(plan[SETS])):
        function_of(int(plan[BEGIN]))(numbers[i * RULE_NUMBERS :], settings[i], float(rate), int(before))
    return numbers


def _squares(plan, g):
    """Those of each tensor by itself, then one tensor after the other."""
    result, first = 0.0, PLAN_COLUMNS + 3 * int(plan[RANGES])
    for start, size in plan[first : first + 2 * int(plan[TENSORS])].reshape(-1, 2).tolist():
        result += function_of(int(plan[SQUARES]))(g[start : start + size])
    return result


def _update(plan, p, kept, g, squares, clip_norm, numbers):
    """Apply a rule to all ranges, by gradients that were kept, and that may be clipped."""
    far, factor = int(plan[FAR]), p.dtype.type(clipping(squares, clip_norm) if clip_norm else 1)
    for start, size, of in plan[PLAN_COLUMNS : PLAN_COLUMNS + 3 * int(plan[RANGES])].reshape(-1, 3).tolist():
        if not size:
            continue
        kinds = [kept[at : at + size] for at in range(start, kept.size, far)]
        here = slice(start, start + size)
        function_of(int(plan[FLAT]))(g[here], p[here], kinds, numbers[of:], factor)


def _copy(plan, copies, values):
    """Copy what belongs to the tensors of a plan, of each kind."""
    for first, size, _ in plan[PLAN_COLUMNS : PLAN_COLUMNS + 3 * int(plan[RANGES])].reshape(-1, 3).tolist():
        for start in range(first, values.size, int(plan[FAR])):
            copies[start : start + size] = values[start : start + size]
