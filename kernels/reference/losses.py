"""Losses: their sum over a batch, in double, and the gradient of it times a scale."""

import numpy as np


def mse(dpred, pred, target, scale):
    """dpred = scale·(pred − target); returns Σ ½ (pred − target)²."""
    np.subtract(pred, target, out=dpred)
    squares = np.square(dpred, dtype=np.float64)
    np.multiply(dpred, pred.dtype.type(scale), out=dpred)
    return 0.5 * float(np.sum(squares))
