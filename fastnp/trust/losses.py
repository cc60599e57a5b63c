"""A loss and its gradient beside the exact ones."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..losses.built_in import MEANS, BuiltInLoss
from .exact import unit, wide


def loss_rows(
    loss_fn: BuiltInLoss, loss: Any, gradient: np.ndarray, weight: Any
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """What was got of the last loss, the exact value, and how far apart they may be: of the gradient, and of the loss.

    Beside what the class says of its terms and slopes: weights of rows and classes, what a mean divides by, and the
    products with these are rounded, and the sum, in double, of all terms.
    """
    dtype, given = gradient.dtype, loss_fn.target
    assert given is not None
    pred, target, u, tiny = wide(loss_fn.pred), wide(given), unit(dtype), float(np.finfo(dtype).tiny)
    rounded = None if weight is None else wide(np.asarray(weight, np.float64).reshape(-1).astype(dtype))
    terms, slopes = loss_fn._exact_terms(pred, target)
    of_terms, of_slopes = loss_fn._errors(pred, target, u)
    of_terms = _unless_too_large(of_terms + 2 * u * abs(terms) + 4 * tiny, terms, dtype)
    divided = 4 * u + np.size(weight) * 2.0**-53  # a mean divides by a sum in double, and the quotient is rounded
    of_slopes = _unless_too_large(of_slopes + divided * abs(slopes) + 4 * tiny, slopes, dtype)
    if rounded is not None:
        terms, of_terms = (rounded.reshape(-1, *[1] * (a.ndim - 1)) * a for a in (terms, of_terms))
        slopes, of_slopes = (rounded.reshape(-1, *[1] * (a.ndim - 1)) * a for a in (slopes, of_slopes))
    divisor = loss_fn._divisor(np.atleast_1d(target), rounded) if loss_fn.reduction in MEANS else 1.0
    scale = 1 / divisor if divisor > 0 else 0.0
    yield "gradient", gradient, scale * slopes, scale * of_slopes + tiny
    if loss_fn.reduction == "none":
        yield "value", np.asarray(loss), terms, of_terms + tiny
    else:
        bound = np.sum(of_terms) + (terms.size + np.size(weight) + 8) * 2.0**-52 * np.sum(abs(terms))
        yield "value", np.asarray(loss), np.asarray(scale * np.sum(terms)), np.asarray(scale * bound + tiny)


def _unless_too_large(bound: np.ndarray, value: np.ndarray, dtype: Any) -> np.ndarray:
    """The bound, infinite where a number may overflow."""
    return np.where(abs(value) < np.finfo(dtype).max / 4, bound, np.inf)
