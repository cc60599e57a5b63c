"""Losses: what they come to over a batch, in double, and the gradient of that."""

import numpy as np

from .reduction import reduced, scale_of, weights_of


def _by_number(terms):
    """A loss that is a sum over numbers: (loss, slope) = terms(pred, target, numbers), on arrays."""

    def loss_of_batch(results, pred, target, numbers, reduction):
        n = pred.shape[1]
        weights = weights_of(target, n)
        scale = scale_of(weights, len(pred), n, reduction)
        values, slopes = terms(pred, target[:, :n], numbers)
        return reduced(results, values, slopes, weights, scale, reduction)

    return loss_of_batch


def _mse(pred, target, numbers):
    """½ (pred − target)²"""
    difference = pred - target
    return 0.5 * np.square(difference, dtype=np.float64), difference


mse = _by_number(_mse)


def _product(factor, x):
    """factor·x for a factor that is not negative; 0 for 0 and infinity, NaN where either is NaN."""
    return factor * np.where(factor > 0, x, np.clip(x, -1, 1))


def _mae(pred, target, numbers):
    """|pred − target|"""
    difference = pred - target
    return np.abs(difference), np.sign(difference)


mae = _by_number(_mae)


def _huber(pred, target, numbers):
    """s·(d − ½·s), where d = pred − target and s, the slope, is d cut off at ± delta."""
    difference, (delta,) = pred - target, numbers
    slope = np.clip(difference, -delta, delta)
    return slope * (difference - slope / 2), slope


huber = _by_number(_huber)


def _quantile(pred, target, q):
    """q·(target − pred), or (1 − q)·(pred − target), whichever is positive"""
    difference = pred - target
    slope = np.where(difference > 0, 1 - q, np.where(difference < 0, -q, difference))
    return slope * difference, slope


quantile = _by_number(_quantile)


def _poisson_nll(pred, target, numbers):
    """e^pred − target·pred. From 1000 on, where e^pred is infinite, target·pred is as there."""
    e = np.exp(pred)
    return e - _product(target, np.minimum(pred, 1000)), e - target


poisson_nll = _by_number(_poisson_nll)


def _bce_with_logits(pred, target, numbers):
    """w·target·softplus(−pred) + (1 − target)·softplus(pred), where w is the weight of positives

    The first number is the most that a softplus counts for, where probabilities are rounded; slopes are as if there
    were none.
    """
    most, positive_weight = numbers[0], numbers[1:]
    yes, no = positive_weight * target, 1 - target
    e = np.exp(-np.abs(pred))
    rest, steep = np.log1p(e), 1 / (1 + e)
    flat = e * steep
    of_yes, of_no = (np.maximum(x, 0) + rest for x in (-pred, pred))
    if most < np.inf:
        rounded = -np.log(np.maximum(1 - steep, np.exp(-most) / 2))
        of_yes, of_no = np.minimum(of_yes, most), np.minimum(np.where(pred > 0, rounded, of_no), most)
    loss = _product(yes, of_yes) + _product(no, of_no)
    up, down = np.where(pred < 0, flat, steep), np.where(pred < 0, steep, flat)
    return loss, no * up - yes * down


bce_with_logits = _by_number(_bce_with_logits)
