"""The steps of a loop that a user writes: the same names and signatures as in the compiled wing."""

import math

import numpy as np

from ..blocks import DEAD, STALE
from ..table import rows
from . import walk
from .blocks import loss_block, pass_block, update_block
from .link import function_of
from .operands import rows_of, silent
from .run import updated


def _fits(given, dtype):
    """Whether all numbers that are finite are so in another dtype."""
    return given.dtype == dtype or bool((np.isfinite(given.astype(dtype)) | ~np.isfinite(given)).all())


@silent
def forward(out, x, block):
    of, batch = pass_block(block, out.dtype), len(out)
    first, last = rows_of(of.table)[0], rows_of(of.table)[-1]
    if x.shape != (batch, first.n_in) or of.flags[DEAD]:
        return 1
    if not _fits(x, out.dtype):
        return 1
    rows(of.work, first.x, batch, first.ld_in)[:, : x.shape[1]] = x
    walk.forward(of.work[first.x :], of.work, of.params, of.table, batch)
    out[...] = rows(of.work, last.y, batch, last.ld_out)[:, : out.shape[1]]
    return 0


@silent
def backward(dx, gradient, block):
    of, batch = pass_block(block, dx.dtype), len(dx)
    first, last = rows_of(of.table)[0], rows_of(of.table)[-1]
    stale = bool(of.flags[STALE])
    if gradient.shape != (batch, last.n_out) or of.flags[DEAD] or (stale and not of.whole):
        return 1
    rows(of.work, last.dy, batch, last.ld_out)[:, : gradient.shape[1]] = gradient
    numbers = np.array([not stale], dx.dtype)
    walk.backward(of.work[first.x :], of.work, of.params, of.gradients, numbers, of.table, batch)
    dx[...] = rows(of.work, first.dx, batch, first.ld_in)[:, : dx.shape[1]]
    of.flags[STALE] = 0
    return 0


@silent
def loss(kept, pred, target, block):
    of = loss_block(block, kept.dtype)
    if not pred.shape == target.shape == of.shape or kept.shape[1] != pred.size:
        return math.nan
    gradient, of_pred, of_target = kept.reshape(3, *of.shape)
    if not _fits(target, kept.dtype):
        return math.nan
    of_pred[...], of_target[...] = pred, target
    return function_of(of.part)(gradient[np.newaxis], of_pred, of_target, of.numbers, of.reduction)


@silent
def update(kept, block, rate, before):
    of = update_block(block, kept.dtype)
    if of.flags[DEAD] or of.flags[STALE]:
        return 1
    updated(of.plan, of.params, kept[0], of.gradients, of.settings, rate, before, 0.0, 0.0)
    return 0
