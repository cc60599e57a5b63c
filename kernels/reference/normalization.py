"""Layer normalization: each row is shifted and scaled to mean 0 and variance 1, then weighted column by column."""

import numpy as np

from ..table import Operation

REMEMBERED = 3  # numbers for each row


def _memory(op):
    """(batch, 3): of each row the mean, as a sum of two numbers, and 1 / √(var + ε)."""
    return op.memory(REMEMBERED * op.batch).reshape(-1, REMEMBERED)


def _normalized(op):
    """x̂ = (x − mean) / √(var + ε)"""
    high, low, scale = (column[:, np.newaxis] for column in _memory(op).T)
    return ((op.x[:, : op.n_out] - high) - low) * scale


def forward(op):
    """y = x̂·weights + bias"""
    n, memory = op.n_out, _memory(op)
    x = op.x[:, :n].astype(np.float64)
    mean = x.mean(axis=1)
    x -= mean[:, np.newaxis]
    left = x.mean(axis=1)
    x -= left[:, np.newaxis]
    memory[:, 0] = mean
    memory[:, 1] = (mean - memory[:, 0]) + left
    memory[:, 2] = 1 / np.sqrt(np.mean(x * x, axis=1) + op.setting)
    op.y[:, :n] = _normalized(op) * op.weight_row[:, :n] + op.bias[:, :n]


def input_gradient(op):
    """dx = (g − mean(g) − x̂·mean(g·x̂)) / √(var + ε), where g = dy·weights."""
    n, dx, normalized = op.n_out, op.dx, _normalized(op)
    g = op.dy[:, :n] * op.weight_row[:, :n]
    mean = g.mean(axis=1, dtype=np.float64, keepdims=True).astype(dx.dtype)
    slope = np.mean(np.multiply(g, normalized, dtype=np.float64), axis=1, keepdims=True).astype(dx.dtype)
    dx[:, :n] = (g - mean - normalized * slope) * _memory(op)[:, 2:]
    dx[:, n:] = 0


def parameters(rule):
    """The part that makes dweights = Σ dy·x̂ and dbias = Σ dy, and does with each what `rule` says (see `updates`)."""

    def part(op):
        n, dy = op.n_out, op.dy[:, : op.n_out]
        dw, db = (np.sum(terms, axis=0, keepdims=True) for terms in (dy * _normalized(op), dy))
        rule(dw, op.weight_row[:, :n], op.weight_row_kept[..., :n], op.weight_numbers)
        rule(db, op.bias[:, :n], op.bias_kept[..., :n], op.bias_numbers)

    return part


layer_norm = Operation(forward, input_gradient, parameters)
