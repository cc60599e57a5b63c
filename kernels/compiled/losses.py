"""Losses: what they come to over a batch, in double, and the gradient of that.

A loss is a part (dpred, pred, ld, target, ld_target, numbers, batch, n, reduction). pred and dpred (batch, n) have rows
`ld` apart. A row of target is as wide as the loss wants it; where rows are longer, the number behind it is the *weight*
of the row, by which its losses are multiplied and so often it counts in a mean. `numbers` are the loss's own. The
losses of EACH are written where dpred ends, `batch` rows further.

Those here are of each number by itself, with a target as wide as pred. Where one stands for two factors, 0 times
infinity is 0.
"""

import math

from ..table import EACH
from ._jit import inlined
from .mathematics import exp, log1p
from .reduction import scale_of, weight_of
from .simd import (
    absolute,
    add,
    at,
    divide,
    fma,
    keep_columns,
    load,
    load_columns,
    multiply,
    negative,
    number_like,
    read,
    sign,
    splat,
    store,
    store_columns,
    subtract,
    sum_by_halves,
    total,
    where_less,
    widen,
    width,
    write,
    zeros,
)  # fmt: skip
from .together import as_they_are, of_column, second_sixteen_times


@inlined
def _row_of_squares(loss, dpred, pred, target, terms, n, scale, weight, each):
    """Write scale·(pred − target) over n numbers and return loss + weight · Σ ½ (pred − target)², summed in double.

    Whole vectors are summed lane by lane, then the lanes in order, then the numbers that are left.
    """
    vector = zeros(pred, 1, 1)
    squares = widen(vector)
    factor = splat(vector, scale)
    whole = n - n % width(vector)
    for j in range(0, whole, width(vector)):
        difference = subtract(load(vector, at(pred, j), 0), load(vector, at(target, j), 0))
        store(multiply(factor, difference), at(dpred, j), 0)
        wide = widen(difference)
        squares = fma(wide, wide, squares)
    if whole:
        loss += weight * (0.5 * total(0.0, squares))
    for j in range(whole, n):
        difference = read(at(pred, j)) - read(at(target, j))
        write(at(dpred, j), scale * difference)
        loss += weight * (0.5 * float(difference) * float(difference))
    if each:
        factor = number_like(pred, 0.5 * weight)
        for j in range(n):
            difference = read(at(pred, j)) - read(at(target, j))
            write(at(terms, j), factor * (difference * difference))
    return loss


def mse(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
    """Σ ½ (pred − target)² or its mean; dpred is pred − target times the scale.

    The difference is rounded to the dtype of the numbers, the product with scale and weight once more.
    """
    scale, each = scale_of(target, ld_target, n, batch, n, reduction), reduction == EACH
    loss = 0.0
    for i in range(batch):
        weight = weight_of(target, ld_target, n, i)
        factor, k = number_like(pred, scale * weight), i * ld
        terms = at(dpred, batch * ld + k)
        row = at(target, i * ld_target)
        loss = _row_of_squares(loss, at(dpred, k), at(pred, k), row, terms, n, factor, weight, each)
    return scale * loss


def _by_number(terms):
    """A loss that is a sum over numbers: (loss, slope) = terms(pred, target, numbers, j, left), on tiles.

    j is the column of the first number of the tiles, and `left` how many there are from there on in the row.
    """

    def loss_of_batch(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
        scale, each = scale_of(target, ld_target, n, batch, n, reduction), reduction == EACH
        vector, none = zeros(pred, 1, 1), number_like(pred, 0.0)
        loss = 0.0
        for i in range(batch):
            weight = weight_of(target, ld_target, n, i)
            share, factor = number_like(pred, weight), number_like(pred, scale * weight)
            sums = widen(vector)
            for j in range(0, n, width(vector)):
                k, left = i * ld + j, n - j
                of_pred = load_columns(vector, at(pred, k), left, none)
                of_target = load_columns(vector, at(target, i * ld_target + j), left, none)
                value, slope = terms(of_pred, of_target, numbers, j, left)
                store_columns(multiply(splat(vector, factor), slope), at(dpred, k), left)
                sums = add(sums, widen(keep_columns(value, left)))
                if each:
                    store_columns(multiply(splat(vector, share), value), at(dpred, batch * ld + k), left)
            loss += weight * sum_by_halves(sums)
        return scale * loss

    return loss_of_batch


def _or_together(terms, for_column):
    """The same; rows one number wide are worked on together, which pays where `terms` take long."""
    by_row, together = inlined(_by_number(terms)), of_column(terms, for_column)

    def loss_of_batch(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction):
        if n == 1:
            scale = scale_of(target, ld_target, 1, batch, 1, reduction)
            return together(dpred, pred, ld, target, ld_target, numbers, batch, scale, reduction == EACH)
        return by_row(dpred, pred, ld, target, ld_target, numbers, batch, n, reduction)

    return loss_of_batch


@inlined
def _cut_off(x, low, high):
    """x, or the bound that it is beyond; NaN for NaN."""
    return where_less(x, low, low, where_less(high, x, high, x))


@inlined
def _product(factor, x):
    """factor·x for a factor that is not negative; 0 for 0 and infinity, NaN where either is NaN."""
    one = splat(x, 1.0)
    return multiply(factor, where_less(splat(x, 0.0), factor, x, _cut_off(x, negative(one), one)))


@inlined
def _mae(pred, target, numbers, j, left):
    """|pred − target|"""
    difference = subtract(pred, target)
    return absolute(difference), sign(difference)


mae = _by_number(_mae)


@inlined
def _huber(pred, target, numbers, j, left):
    """s·(d − ½·s), where d = pred − target and s, the slope, is d cut off at ± delta."""
    difference, delta = subtract(pred, target), splat(pred, read(numbers))
    slope = _cut_off(difference, negative(delta), delta)
    return multiply(slope, subtract(difference, multiply(splat(pred, 0.5), slope))), slope


huber = _by_number(_huber)


@inlined
def _quantile(pred, target, numbers, j, left):
    """q·(target − pred), or (1 − q)·(pred − target), whichever is positive"""
    zero, difference = splat(pred, 0.0), subtract(pred, target)
    q = load_columns(pred, at(numbers, j), left, number_like(numbers, 0.0))
    above = where_less(zero, difference, subtract(splat(pred, 1.0), q), difference)
    slope = where_less(difference, zero, negative(q), above)
    return multiply(slope, difference), slope


quantile = _by_number(_quantile)


@inlined
def _poisson_nll(pred, target, numbers, j, left):
    """e^pred − target·pred. From 1000 on, where e^pred is infinite, target·pred is as there."""
    e, limit = exp(pred), splat(pred, 1000.0)
    return subtract(e, _product(target, where_less(limit, pred, limit, pred))), subtract(e, target)


poisson_nll = _or_together(_poisson_nll, as_they_are)


@inlined
def _of_rounded(exact, p, flat, limit):
    """−log(1 − p), where p was rounded, and `exact` and `flat` are what it and 1 − p would be had it not been."""
    one = splat(p, 1.0)
    ratio = divide(subtract(one, p), flat)
    change = log1p(_cut_off(subtract(where_less(ratio, one, divide(one, ratio), ratio), one), splat(p, 0.0), one))
    rounded = where_less(ratio, one, add(exact, change), subtract(exact, change))
    return where_less(add(limit, one), exact, exact, rounded)  # far beyond the limit 1 − p is 0


@inlined
def _bce_with_logits(pred, target, numbers, j, left):
    """w·target·softplus(−pred) + (1 − target)·softplus(pred), where w is the weight of positives.

    The first number is the most that a softplus counts for, where probabilities are rounded; slopes are as if there
    were none. With e = e^−|pred|, softplus(x) is max(x, 0) + log(1 + e), and its slope 1 / (1 + e), or e times that
    below 0.
    """
    zero, one, most = splat(pred, 0.0), splat(pred, 1.0), read(numbers)
    yes = multiply(load_columns(pred, at(numbers, 1 + j), left, number_like(numbers, 0.0)), target)
    no = subtract(one, target)
    e = exp(negative(absolute(pred)))
    rest, steep = log1p(e), divide(one, add(one, e))
    flat = multiply(e, steep)
    of_no = add(where_less(pred, zero, zero, pred), rest)
    of_yes = add(where_less(pred, zero, negative(pred), zero), rest)
    if most < math.inf:
        limit = splat(pred, most)
        of_no = where_less(zero, pred, _of_rounded(of_no, steep, flat, limit), of_no)
        of_no, of_yes = where_less(limit, of_no, limit, of_no), where_less(limit, of_yes, limit, of_yes)
    up, down = where_less(pred, zero, flat, steep), where_less(pred, zero, steep, flat)
    return add(_product(yes, of_yes), _product(no, of_no)), subtract(multiply(no, up), multiply(yes, down))


bce_with_logits = _or_together(_bce_with_logits, second_sixteen_times)
