"""The fully connected layer."""

import numpy as np

from ..table import Operation


def _rectify(y):
    np.copyto(y, np.where(y <= 0, 0, y))


def forward(op):
    """y = x·w + b, or its positive part."""
    y = np.dot(op.x[:, : op.n_in], op.weights, out=op.y)
    y += op.bias
    if op.rectified:
        _rectify(y)


def _input_gradient(op, w):
    dx, n_in = op.dx, op.n_in
    dx[:, :n_in] = np.dot(op.dy[:, : op.n_out], w.T)
    dx[:, n_in:] = 0
    if op.masked:
        np.copyto(dx, np.where(op.x > 0, dx, 0))


def input_gradient(op):
    """dx = dy·wᵀ; where x is the positive part of something, only where it is positive."""
    _input_gradient(op, op.weights[:, : op.n_out])


def _parameters(op, rule, w, w_kept):
    n, dy = op.n_out, op.dy[:, : op.n_out]
    dw, db = np.dot(op.x[:, : op.n_in].T, dy), np.sum(dy, axis=0, keepdims=True)
    rule(dw, w, w_kept, op.weight_numbers)
    rule(db, op.bias[:, :n], op.bias_kept[..., :n], op.bias_numbers)


def parameters(rule):
    """The part that makes dw and db, and does with each what `rule` says (see `updates`)."""
    return lambda op: _parameters(op, rule, op.weights[:, : op.n_out], op.weights_kept[..., : op.n_out])


linear = Operation(forward, input_gradient, parameters)


# --- the same, where n_out is 1 ---


def column_forward(op):
    """y = x·w + b, or its positive part."""
    y = op.y[:, :1]
    y[...] = np.dot(op.x[:, : op.n_in], op.weight_column) + op.bias[:, :1]
    if op.rectified:
        _rectify(y)


def column_input_gradient(op):
    """dx = dy·wᵀ; where x is the positive part of something, only where it is positive."""
    _input_gradient(op, op.weight_column)


def column_parameters(rule):
    """As `parameters`."""
    return lambda op: _parameters(op, rule, op.weight_column, op.weight_column_kept)


column = Operation(column_forward, column_input_gradient, column_parameters)
