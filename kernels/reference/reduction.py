"""From the losses of numbers or rows to that of a batch: weights of rows, means."""

import numpy as np

from ..table import BATCHMEAN, EACH, MEAN


def weights_of(target, columns):
    """The weights of the rows, (batch, 1), whose targets have so many columns; None where there are none."""
    return target[:, columns:] if target.shape[1] > columns else None


def scale_of(weights, batch, count, reduction):
    """What the sum of the losses is multiplied by, `count` of which are of one row; 0 where all weights are."""
    if reduction not in (MEAN, BATCHMEAN):
        return 1.0
    total = float(batch) if weights is None else float(np.sum(weights, dtype=np.float64))
    return 1 / (total * (count if reduction == MEAN else 1)) if total > 0 else 0.0


def reduced(results, terms, slopes, weights, scale, reduction):
    """The loss, from what each number, or row, adds to it and the slopes; fills `results`: gradients, and terms."""
    dtype = slopes.dtype.type
    if weights is None:
        np.multiply(slopes, dtype(scale), out=results[0])
    else:
        np.multiply(slopes, (scale * weights.astype(np.float64)).astype(dtype), out=results[0])
        terms = terms * weights
    if reduction == EACH:
        results[1][:, : terms.shape[1]] = terms
    return scale * float(np.sum(terms, dtype=np.float64))
