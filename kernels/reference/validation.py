"""The loss over validation data: the same name and signature as in the compiled wing, where it is described."""

import numpy as np

from ..table import SUM, rows
from . import walk
from .link import function_of
from .operands import rows_of


def validation_loss(job, table, work, params, counts, loss_numbers, x, y):
    last = rows_of(table)[-1]
    part, size, rows_in_all, _, reduction, *_ = job.tolist()
    by_count = len(counts) > 1 and reduction != SUM
    total = count = 0.0
    for i, counted in enumerate(counts.tolist()):
        start = i * size
        batch = min(size, rows_in_all - start)
        walk.forward(x[start:].reshape(-1), work, params, table, batch)
        pred, dpred = (rows(work, at, batch, last.ld_out)[:, : last.n_out] for at in (last.y, last.dy))
        loss = function_of(part)(dpred[np.newaxis], pred, y[start : start + batch], loss_numbers, reduction)
        total += loss * counted if by_count else loss
        count += counted
    if by_count:
        total = total / count if count else 0.0
    return total
