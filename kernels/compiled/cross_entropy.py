"""Cross-entropy of logits: each row of pred predicts one of n classes, with the probabilities softmax(pred).

Where class j has the share cⱼ, a row's loss is Σ cⱼ·(log Σ e^predₖ − predⱼ), and the gradient softmax(pred)·Σ c − c;
0 times infinity is 0. e^pred is taken of pred less its largest number, and is 0 where it is no normal number: for what
underflows, CPUs take twenty times as long, and a network that is sure of its classes shall not be slow. The numbers are
the label smoothing ε, the most that log Σ e^predₖ − predⱼ counts for in the loss, and the n class weights; EACH writes
the loss of a row in its first column.

Sums of a row are made in double, in the order of `sixteen`: what gradients depend on is the same on every CPU.
"""

import math

from ..table import BATCHMEAN, EACH, MEAN
from ._jit import inlined
from .mathematics import exp_of_negative
from .reduction import scale_of, weight_of
from .simd import (
    add,
    at,
    fma,
    keep_columns,
    largest,
    load,
    load_columns,
    multiply,
    number_like,
    read,
    sixteen,
    splat,
    store,
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
def _products_cut_off(pred, shares, target, label, own, numbers, n, top, floor):
    """Σ c·(pred − top), where that is not below the floor, else Σ c·floor; summed as `_row` sums it."""
    zeros = sixteen(pred)
    products = widen(zeros)
    lowest = splat(products, floor)
    for j in range(0, n, width(zeros)):
        x = subtract(load_columns(zeros, at(pred, j), n - j, top), splat(zeros, top))
        c = shares(zeros, target, label, own, numbers, n, j)
        wide = widen(where_less(zeros, c, x, zeros))
        products = fma(widen(c), where_less(wide, lowest, lowest, wide), products)
    return sum_by_halves(products)


@inlined
def _row(dpred, pred, shares, target, label, own, numbers, n, scale):
    """The loss of one row; dpred becomes its gradient times scale.

    shares(zeros, target, label, own, numbers, n, j) is a tile of c from class j on, 0 behind the last.
    """
    zeros, top = sixteen(pred), _largest(pred, n)
    last = n - width(zeros)
    e, exponentials, sums, products = zeros, widen(zeros), widen(zeros), widen(zeros)
    for j in range(0, n, width(zeros)):
        x = subtract(load_columns(zeros, at(pred, j), n - j, top), splat(zeros, top))
        c, e = shares(zeros, target, label, own, numbers, n, j), keep_columns(exp_of_negative(x), n - j)
        exponentials, sums = add(exponentials, widen(e)), add(sums, widen(c))
        products = fma(widen(c), widen(where_less(zeros, c, x, zeros)), products)
        if j < last:  # the last stay in registers: what was stored in part would have to be waited for
            store(e, at(dpred, j), 0)
    whole, count = sum_by_halves(exponentials), sum_by_halves(sums)
    factor, share = number_like(pred, scale * count / whole), number_like(pred, scale)
    for j in range(0, n, width(zeros)):
        of_block = load(zeros, at(dpred, j), 0) if j < last else e
        c = multiply(shares(zeros, target, label, own, numbers, n, j), splat(zeros, share))
        store_columns(subtract(multiply(of_block, splat(zeros, factor)), c), at(dpred, j), n - j)
    logarithm, most, of_products = math.log(whole), float(read(at(numbers, 1))), sum_by_halves(products)
    if most < math.inf:
        of_products = _products_cut_off(pred, shares, target, label, own, numbers, n, top, logarithm - most)
    return count * logarithm - of_products


@inlined
def _labelled(target, numbers, n):
    """The label at `target` and its class weight; 0 and NaN where it is none of n."""
    number = float(read(target))
    label, weight = 0, math.nan
    if number >= 0 and number < n and int(number) == number:
        label = int(number)
        weight = float(read(at(numbers, 2 + label)))
    return label, weight


@inlined
def _smoothed(zeros, numbers, n, j):
    """ε/n of each class, times its weight"""
    w = load_columns(zeros, at(numbers, 2 + j), n - j, number_like(numbers, 0.0))
    return multiply(splat(zeros, number_like(numbers, float(read(numbers)) / n)), w)


@inlined
def _shares_of_label(zeros, target, label, own, numbers, n, j):
    """What is the label's own, and ε/n of each class, times its weight"""
    c = splat(zeros, number_like(numbers, own))
    c = subtract(keep_columns(c, label - j + 1), keep_columns(c, label - j))
    return add(c, _smoothed(zeros, numbers, n, j))


def labels(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
    """Of the class whose number is the target, 1 − ε, and ε/n of all, each times the weight of that class.

    In a mean, a row counts as often as its own weight times that of its label says. Where the target is no label, the
    loss is NaN.
    """
    scale, loss = 1.0, 0.0
    if reduction in (MEAN, BATCHMEAN):
        counts = 0.0
        for i in range(batch):
            counts += weight_of(target, ld_target, 1, i) * _labelled(at(target, i * ld_target), numbers, n)[1]
        scale = 1 / counts if counts > 0 else 0.0
    for i in range(batch):
        row, k, weight = at(target, i * ld_target), i * ld, weight_of(target, ld_target, 1, i)
        label, own = _labelled(row, numbers, n)
        own *= 1 - float(read(numbers))
        of_row = _row(at(dpred, k), at(pred, k), _shares_of_label, row, label, own, numbers, n, scale * weight)
        of_row *= weight
        loss += of_row
        if reduction == EACH:
            write(at(dpred, batch * ld + k), number_like(pred, of_row))
    return scale * loss


@inlined
def _mixed(zeros, target, label, own, numbers, n, j):
    """1 − ε of the target's probabilities, and ε/n of each class"""
    p = load_columns(zeros, at(target, j), n - j, number_like(numbers, 0.0))
    p = multiply(splat(zeros, number_like(numbers, 1 - float(read(numbers)))), p)
    return add(p, _smoothed(zeros, numbers, n, j))


def probabilities(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
    """Of each class 1 − ε of its probability in the target, and ε/n."""
    scale, loss = scale_of(target, ld_target, n, batch, 1, reduction), 0.0
    for i in range(batch):
        row, k, weight = at(target, i * ld_target), i * ld, weight_of(target, ld_target, n, i)
        of_row = weight * _row(at(dpred, k), at(pred, k), _mixed, row, 0, 0.0, numbers, n, scale * weight)
        loss += of_row
        if reduction == EACH:
            write(at(dpred, batch * ld + k), number_like(pred, of_row))
    return scale * loss
