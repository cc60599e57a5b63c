"""Cross-entropy of logits: each row of pred predicts one of n classes, with the probabilities softmax(pred)."""

import numpy as np

from .reduction import reduced, scale_of, weights_of


def _of_rows(pred, shares, most):
    """The loss of each row, (batch, 1) in double, and its slopes, where the classes have these shares.

    In the loss, no −log softmax(pred) counts more than `most`.
    """
    x = pred - np.max(pred, axis=1, keepdims=True, initial=-np.inf)
    e = np.exp(x)
    whole, count = (np.sum(array, axis=1, keepdims=True, dtype=np.float64) for array in (e, shares))
    logarithm = np.log(whole)
    products = np.maximum(np.where(shares > 0, x, 0), logarithm - most) * shares.astype(np.float64)
    slopes = e * (count / whole).astype(pred.dtype) - shares
    return count * logarithm - np.sum(products, axis=1, keepdims=True), slopes


def labels(results, pred, target, numbers, reduction):
    """Of the class whose number is the target, 1 − ε, and ε/n of all, each times the weight of that class."""
    n, epsilon, most, class_weights = pred.shape[1], numbers[0], numbers[1], numbers[2:]
    weights, number = weights_of(target, 1), target[:, :1]
    is_label = (number >= 0) & (number < n) & (np.floor(number) == number)
    label = np.where(is_label, number, 0).astype(np.intp)
    of_label = np.where(is_label, class_weights[label], np.nan)
    shares = np.broadcast_to(epsilon / n * class_weights, pred.shape).astype(pred.dtype)
    np.put_along_axis(shares, label, np.take_along_axis(shares, label, 1) + (1 - epsilon) * of_label, 1)
    counts = of_label if weights is None else of_label.astype(np.float64) * weights
    scale = scale_of(counts, len(pred), 1, reduction)
    return reduced(results, *_of_rows(pred, shares, most), weights, scale, reduction)


def probabilities(results, pred, target, numbers, reduction):
    """Of each class 1 − ε of its probability in the target, and ε/n."""
    n, epsilon, most = pred.shape[1], numbers[0], numbers[1]
    weights = weights_of(target, n)
    shares = (1 - epsilon) * target[:, :n] + epsilon / n
    scale = scale_of(weights, len(pred), 1, reduction)
    return reduced(results, *_of_rows(pred, shares, most), weights, scale, reduction)
