"""Cross-entropy of logits: each row of pred predicts one of n classes, with the probabilities softmax(pred).

Where class j has the share cⱼ, a row's loss is Σ cⱼ·(log Σ e^predₖ − predⱼ), and the gradient softmax(pred)·Σ c − c;
0 times infinity is 0. e^pred is taken of pred less its largest number. The numbers are the label smoothing ε and the
n class weights; EACH writes the loss of a row in its first column.

Sums of a row are made in double, in the order of `sixteen`: what gradients depend on is the same on every CPU.
"""

import math

from ..table import EACH, MEAN
from ._jit import inlined
from .mathematics import exp
from .reduction import scale_of, weight_of
from .simd import (
    add,
    at,
    fma,
    largest,
    load_columns,
    multiply,
    number_like,
    read,
    sixteen,
    splat,
    store_columns,
    subtract,
    sum_by_halves,
    where_less,
    widen,
    width,
    write,
)  # fmt: skip


@inlined
def _largest(pred, n):
    """The largest of n numbers; any where one of them is NaN."""
    zeros, lowest = sixteen(pred), number_like(pred, -math.inf)
    tops = splat(zeros, lowest)
    for j in range(0, n, width(zeros)):
        x = load_columns(zeros, at(pred, j), n - j, lowest)
        tops = where_less(tops, x, x, tops)
    return largest(tops)


@inlined
def _row(dpred, pred, shares, target, numbers, n, label, of_label, scale):
    """The loss of one row; dpred becomes its gradient times scale.

    shares(zeros, target, numbers, n, j) is a tile of c from class j on, to which of_label is added at the label; where
    that is −1, to nothing but Σ c.
    """
    zeros, none, lowest = sixteen(pred), number_like(pred, 0.0), number_like(pred, -math.inf)
    top = _largest(pred, n)
    exponentials, sums, products = widen(zeros), widen(zeros), widen(zeros)
    for j in range(0, n, width(zeros)):
        x = subtract(load_columns(zeros, at(pred, j), n - j, lowest), splat(zeros, top))
        c, e = shares(zeros, target, numbers, n, j), exp(x)
        store_columns(e, at(dpred, j), n - j)
        exponentials, sums = add(exponentials, widen(e)), add(sums, widen(c))
        products = fma(widen(c), widen(where_less(zeros, c, x, zeros)), products)
    whole, count, product = sum_by_halves(exponentials), of_label + sum_by_halves(sums), sum_by_halves(products)
    factor, share = number_like(pred, scale * count / whole), number_like(pred, scale)
    for j in range(0, n, width(zeros)):
        e = multiply(load_columns(zeros, at(dpred, j), n - j, none), splat(zeros, factor))
        c = multiply(shares(zeros, target, numbers, n, j), splat(zeros, share))
        store_columns(subtract(e, c), at(dpred, j), n - j)
    if label >= 0:
        write(at(dpred, label), read(at(dpred, label)) - number_like(pred, scale * of_label))
        if of_label > 0:
            product += of_label * float(read(at(pred, label)) - top)
    return count * math.log(whole) - product


@inlined
def _labelled(target, numbers, n):
    """The label at `target` and its class weight; −1 and NaN where it is none of n."""
    number = float(read(target))
    label, weight = -1, math.nan
    if number >= 0 and number < n and math.floor(number) == number:
        label = int(number)
        weight = float(read(at(numbers, 1 + label)))
    return label, weight


@inlined
def _smoothed(zeros, target, numbers, n, j):
    """ε/n of each class, times its weight"""
    w = load_columns(zeros, at(numbers, 1 + j), n - j, number_like(numbers, 0.0))
    return multiply(splat(zeros, number_like(numbers, float(read(numbers)) / n)), w)


def labels(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
    """Of the class whose number is the target, 1 − ε, and ε/n of all, each times the weight of that class.

    In a mean, a row counts as often as its own weight times that of its label says. Where the target is no label, the
    loss is NaN.
    """
    scale, loss = 1.0, 0.0
    if reduction == MEAN:
        counts = 0.0
        for i in range(batch):
            counts += weight_of(target, ld_target, 1, i) * _labelled(at(target, i * ld_target), numbers, n)[1]
        scale = 1 / counts if counts > 0 else 0.0
    for i in range(batch):
        row, k, weight = at(target, i * ld_target), i * ld, weight_of(target, ld_target, 1, i)
        label, of_label = _labelled(row, numbers, n)
        of_label *= 1 - float(read(numbers))
        of_row = weight * _row(at(dpred, k), at(pred, k), _smoothed, row, numbers, n, label, of_label, scale * weight)
        loss += of_row
        if reduction == EACH:
            write(at(dpred, batch * ld + k), number_like(pred, of_row))
    return scale * loss


@inlined
def _mixed(zeros, target, numbers, n, j):
    """1 − ε of the target's probabilities, and ε/n of each class"""
    p = load_columns(zeros, at(target, j), n - j, number_like(numbers, 0.0))
    p = multiply(splat(zeros, number_like(numbers, 1 - float(read(numbers)))), p)
    return add(p, _smoothed(zeros, target, numbers, n, j))


def probabilities(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
    """Of each class 1 − ε of its probability in the target, and ε/n."""
    scale, loss = scale_of(target, ld_target, n, batch, 1, reduction), 0.0
    for i in range(batch):
        row, k, weight = at(target, i * ld_target), i * ld, weight_of(target, ld_target, n, i)
        of_row = weight * _row(at(dpred, k), at(pred, k), _mixed, row, numbers, n, -1, 0.0, scale * weight)
        loss += of_row
        if reduction == EACH:
            write(at(dpred, batch * ld + k), number_like(pred, of_row))
    return scale * loss
