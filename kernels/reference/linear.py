"""The fully connected layer."""

import numpy as np

from ..table import Operation


def forward(op):
    """y = x·w + b, or its positive part."""
    y = np.dot(op.x[:, : op.n_in], op.weights, out=op.y)
    y += op.bias
    if op.rectified:
        np.copyto(y, np.where(y <= 0, 0, y))


def input_gradient(op):
    """dx = dy·wᵀ; where x is the positive part of something, only where it is positive."""
    dx, n_in, n_out = op.dx, op.n_in, op.n_out
    dx[:, :n_in] = np.dot(op.dy[:, :n_out], op.weights[:, :n_out].T)
    dx[:, n_in:] = 0
    if op.masked:
        np.copyto(dx, np.where(op.x > 0, dx, 0))


def parameters(rule):
    """The part that makes dw and db, and does with each what `rule` says (see `updates`)."""

    def part(op):
        n, dy = op.n_out, op.dy[:, : op.n_out]
        dw, db = np.dot(op.x[:, : op.n_in].T, dy), np.sum(dy, axis=0, keepdims=True)
        rule(dw, op.weights[:, :n], op.weights_kept[..., :n], op.weight_numbers)
        rule(db, op.bias[:, :n], op.bias_kept[..., :n], op.bias_numbers)

    return part


linear = Operation(forward, input_gradient, parameters)
