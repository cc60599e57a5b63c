"""Calls of losses, held to what their classes say."""

import bounds
import numpy as np

from fastnp.kernels.table import EACH
from fastnp.losses.built_in import REDUCTIONS
from fastnp.trust.losses import loss_rows


def judge(call, loss, backend):
    """AssertionError where the loss, or a number of its gradient or of what EACH writes, is outside its bound."""
    pred, target, reduction = (call[name] for name in ("pred", "target", "reduction"))
    loss_fn, weight = call.loss_fn, None
    columns = loss_fn._columns(pred.shape[1], (len(target), 1 if call.name.endswith("labels") else pred.shape[1]))
    if target.shape[1] > columns:
        target, weight = target[:, :columns], target[:, columns]
    loss_fn.reduction = next(name for name, number in REDUCTIONS.items() if number == reduction)
    loss_fn._last[:] = pred, target, None
    assert type(loss) is float
    got = call["terms"][:, 0] if call.name.startswith("cross_entropy") else call["terms"]
    with np.errstate(all="ignore"):
        for what, value, exact, bound in loss_rows(loss_fn, got if reduction == EACH else loss, call["dpred"], weight):
            error = np.where((value == exact) | np.isinf(bound), 0, value - exact)
            assert bounds.fraction(f"{call.name} {what} {backend}", error, bound) <= 1
