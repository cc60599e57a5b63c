"""Cases of losses: predictions, targets that suit each, and weights."""

from functools import partial

import numpy as np
from calls import NAN
from declared import LOSSES

from fastnp.kernels.table import EACH, MEAN
from fastnp.losses.built_in import BuiltInLoss


def targets(of, rng, draw, shape):
    """Targets (rows, ·) that suit a loss, for predictions of this shape."""
    cls, part = LOSSES[of]
    if part in cls._kernel_kind.variants:
        return rng.dirichlet(np.ones(shape[1]), shape[0])
    if cls._example_target is BuiltInLoss._example_target:
        return draw(rng, shape)
    found = cls()._example_target(shape, rng)
    return found if found.ndim == 2 else found[:, np.newaxis]


def loss(call, case, rng, draw, of="mse", reduction=MEAN, weighted=False, settings=None):
    """`dpred` and, for EACH, `terms` are written: of each number, or in the first column of each row."""
    shape, kinds = (case.batch, case.n_out), 1 + (reduction == EACH)
    results = call.array(np.full((kinds * case.batch, case.n_out), NAN), written=case.batch)
    cls, part = LOSSES[of]
    loss_fn = cls(**(settings or {}))
    columns = loss_fn._each(np.zeros((1, case.n_out))).size
    for row in results[case.batch :]:
        call.allow(row[:columns])
    results = results.reshape(kinds, *shape)
    pred, target = draw(rng, shape), targets(of, rng, draw, shape)
    if weighted:
        target = np.concatenate([target, rng.uniform(0, 2, (case.batch, 1))], axis=1)
    call.arguments.update(pred=call.array(pred), target=call.array(target))
    call.arguments.update(dpred=results[0], terms=results[-1][:, :columns], reduction=reduction)
    call.loss_fn, numbers = loss_fn, loss_fn._numbers_as(call.dtype, case.n_out)

    def make(kernels):
        number = kernels.parts[f"{part}.sum", call.dtype.char]
        return kernels.loss(number, results, call["pred"], call["target"], numbers, reduction)

    call.make = make


OF_LOSSES = {name: partial(loss, of=name) for name in LOSSES}
