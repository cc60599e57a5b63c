"""The steps of a loop that a user writes: each is one call from Python, with all that it works on in a *block*.

Blocks are of integers, (rows, ·), and described in `fastnp.kernels.blocks`. What an array may be that a user gives, is
said in `given`. A function that returns an integer returns 0, or 1 where nothing was done: an array has another shape
than was expected, or numbers too large to be converted, of which NumPy would warn; or a flag of the arena says that
the block is out of date, or that zeros have to be written first.
"""

import math

from ..blocks import (
    BATCH,
    DEAD,
    FLAGS,
    GRADIENTS,
    NUMBERS,
    NUMBERS_SIZE,
    PARAMS,
    PART,
    PLAN,
    PLAN_SIZE,
    REDUCED,
    SETTINGS,
    SETTINGS_SIZE,
    SIZE,
    STALE,
    WHOLE,
    WIDTH,
    WORK,
    WORK_SIZE,
)
from ..table import BEGIN, COLUMNS, FLAT, RULE_NUMBERS
from . import walk
from ._jit import inlined
from .calling import call, call_for_number, row
from .given import columns, first, give_out, rows, take_in
from .memory import doubles, integers, memory, table_at
from .simd import at, number_like, read, room, write

ROOM = 2 * RULE_NUMBERS
MEMORY = 4  # doubles of a rule


@inlined
def _numbers(like, block, where, size):
    """The numbers that a block names, of the type of those in `like`."""
    return memory(like, read(at(block, where)), read(at(block, size)))


def forward(out, x, block):
    """Run a program forward on x (batch, n_in); out (batch, n_out) gets the output."""
    head = first(block)
    table, flags = table_at(at(head, COLUMNS), rows(block) - 1), integers(read(at(head, FLAGS)), 2)
    start, last, batch = row(table, 0), row(table, len(table) - 1), rows(out)
    if rows(x) != batch or columns(x) != start.n_in or read(at(flags, DEAD)) != 0:
        return 1
    work, params = _numbers(out, head, WORK, WORK_SIZE), _numbers(out, head, PARAMS, SIZE)
    inputs = at(work, start.x)
    if not take_in(inputs, start.ld_in, x):
        return 1
    walk.forward(inputs, work, params, table, batch)
    give_out(out, at(work, last.y), last.ld_out)
    return 0


def backward(dx, gradient, block):
    """Run a program backward, after `forward`, by the gradient (batch, n_out) with respect to its output.

    dx (batch, n_in) gets that with respect to the input. The gradients of the parameters are stored, or added to those
    that are there.
    """
    head = first(block)
    table, flags = table_at(at(head, COLUMNS), rows(block) - 1), integers(read(at(head, FLAGS)), 2)
    start, last, batch, stale = row(table, 0), row(table, len(table) - 1), rows(dx), read(at(flags, STALE)) != 0
    if rows(gradient) != batch or columns(gradient) != last.n_out or read(at(flags, DEAD)) != 0:
        return 1
    if stale and read(at(head, WHOLE)) == 0:
        return 1
    work, params, size = _numbers(dx, head, WORK, WORK_SIZE), _numbers(dx, head, PARAMS, SIZE), read(at(head, SIZE))
    numbers = room(work, 1)
    write(numbers, number_like(work, 0.0 if stale else 1.0))
    take_in(at(work, last.dy), last.ld_out, gradient)
    inputs, gradients = at(work, start.x), _numbers(dx, head, GRADIENTS, SIZE)
    walk.backward(inputs, work, params, gradients, size, numbers, table, batch)
    give_out(dx, at(work, start.dx), start.ld_in)
    write(at(flags, STALE), 0)
    return 0


def loss(kept, pred, target, block):
    """What a loss comes to, a double, or NaN where nothing was done.

    kept (3, batch·n) gets its gradient, and copies of pred and target, (batch, n).
    """
    head, gradient, size = first(block), first(kept), columns(kept)
    batch, n = read(at(head, BATCH)), read(at(head, WIDTH))
    if rows(pred) != batch or columns(pred) != n or rows(target) != batch or columns(target) != n or size != batch * n:
        return math.nan
    of_pred, of_target = at(gradient, size), at(gradient, 2 * size)
    if not take_in(of_target, n, target):
        return math.nan
    take_in(of_pred, n, pred)
    numbers = _numbers(kept, head, NUMBERS, NUMBERS_SIZE)
    arguments = gradient, of_pred, n, of_target, n, numbers, batch, n, read(at(head, REDUCED))
    return call_for_number(read(at(head, PART)), arguments)


def update(kept, block, rate, before):
    """Change parameters once, by the gradients that are there, after so many updates; kept (1, ·) as in `run`."""
    head = first(block)
    flags = integers(read(at(head, FLAGS)), 2)
    if read(at(flags, DEAD)) != 0 or read(at(flags, STALE)) != 0:
        return 1
    plan = integers(read(at(head, PLAN)), read(at(head, PLAN_SIZE)))
    params, gradients = _numbers(kept, head, PARAMS, SIZE), _numbers(kept, head, GRADIENTS, SIZE)
    count = read(at(head, SETTINGS_SIZE))
    numbers, settings = room(params, ROOM), doubles(read(at(head, SETTINGS)), 2 * count)
    call(read(at(plan, BEGIN)), (plan, numbers, settings, count, rate, before, room(settings, MEMORY), 1))
    call(read(at(plan, FLAT)), (plan, params, first(kept), gradients, 0.0, 0.0, numbers))
    return 0
