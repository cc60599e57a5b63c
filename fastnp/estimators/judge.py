"""How good a network is on validation data."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .network import Network
from .objective import Objective
from .rows import Rows, is_sparse


class Judge:
    """Looks at a network on validation data: `score`, and the loss, without the penalty on its weights.

    score(outputs, targets, weight) is of a network's outputs; they are not finite where this is NaN.
    """

    def __init__(
        self, network: Network, objective: Objective, data: Rows, score: Callable[..., float], loss_scores: bool
    ):
        self._network, self._objective, self._data = network, objective, data
        self._score, self._loss_scores = score, loss_scores

    def look(self) -> tuple[float, float]:
        """The score and the loss."""
        X, _, targets, weight = self._data
        outputs = outputs_of(self._network, X)
        if not np.isfinite(outputs).all():
            return np.nan, np.nan
        loss = self._loss(outputs, targets, weight)
        return -loss if self._loss_scores else self._score(outputs, targets, weight), loss

    def _loss(self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> float:
        loss_fn, _, of_outputs, constants_of = self._objective
        value = float(loss_fn(outputs, targets, weight)) / of_outputs
        return value if constants_of is None else value + float(np.average(constants_of(targets), weights=weight))


def outputs_of(network: Network, X: Any) -> np.ndarray:
    """The outputs of a network, before its last activation."""
    if not is_sparse(X):
        return network.model.predict(X)
    outputs = X.astype(network.plan.dtype) @ network.coefs[0] + network.intercepts[0]
    for layer in network.model.graphs[1:]:
        outputs = layer.predict(outputs)
    return outputs


def accuracy(right: np.ndarray, weight: np.ndarray | None) -> float:
    """The share of rows that are right, each as often as it weighs."""
    return float(np.average(right, weights=weight))


def r_squared(outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray | None) -> float:
    """R², the mean over the outputs; 1 where a target is constant and met, 0 where it is not."""
    weights = np.ones(len(targets)) if weight is None else weight
    mean = np.average(targets, weights=weight, axis=0)
    residual = weights @ np.square(targets - outputs, dtype=np.float64)
    spread = weights @ np.square(targets - mean, dtype=np.float64)
    scores = np.where(residual == 0, 1.0, 0.0)
    np.divide(residual, spread, out=scores, where=(spread != 0) & (residual != 0))
    varies = (spread != 0) & (residual != 0)
    return float(np.mean(np.where(varies, 1 - scores, scores)))
