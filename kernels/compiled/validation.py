"""The loss over validation data."""

from ..table import BATCH_SIZE, LOSS, REDUCTION, ROWS, SUM
from . import walk
from ._jit import inlined
from .calling import call_for_number, row
from .simd import at, pointer


@inlined
def validation_loss(job, table, work, params, counts, loss_numbers, x, y):
    """The losses of batches, added up one after the other: as often as each counts, or once for SUM, or for one."""
    last, work_, params_ = row(table, len(table) - 1), pointer(work, 0), pointer(params, 0)
    by_count = len(counts) > 1 and job[REDUCTION] != SUM
    total = count = 0.0
    for i in range(len(counts)):
        start = i * job[BATCH_SIZE]
        batch = min(job[BATCH_SIZE], job[ROWS] - start)
        walk.forward(pointer(x, start * x.shape[1]), work_, params_, table, batch)
        arguments = (
            at(work_, last.dy), at(work_, last.y), last.ld_out, pointer(y, start * y.shape[1]), y.shape[1],
            pointer(loss_numbers, 0), batch, last.n_out, job[REDUCTION],
        )  # fmt: skip
        loss = call_for_number(job[LOSS], arguments)
        total += loss * counts[i] if by_count else loss
        count += counts[i]
    if by_count:
        total = total / count if count else 0.0
    return total
