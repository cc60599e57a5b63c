"""What an estimator minimizes: its loss over rows, and a penalty on the weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..losses.built_in import BuiltInLoss


class Objective(NamedTuple):
    """The loss of rows, each of which counts as often as it weighs, is

        (Σ wᵢ·(lossᵢ / outputs + cᵢ) + ½·alpha·Σ W²) / Σ wᵢ

    W are all weights without biases, and cᵢ depends on the targets alone. lossᵢ is the sum over the outputs of what
    `loss_fn` has there; where `outputs` is not 1, their mean is reported. The gradient is always that of the sum, as
    scikit-learn has it.
    """

    loss_fn: BuiltInLoss  # of reduction 'batchmean'
    alpha: float
    outputs: int
    constants_of: Callable[[np.ndarray], np.ndarray] | None = None  # of each row, from its targets

    def shares(self, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """With what is multiplied (batches, 2) what `loss_fn` came to in a batch, and Σ W² before it.

        The batches have so many rows, which weigh so much. All added up, it is the loss of each batch, less its
        constants, as often as it has rows.
        """
        return np.stack([counts / self.outputs, 0.5 * self.alpha * counts * inverses(sums)], axis=1)

    def constants(self, targets: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """wᵢ·cᵢ of each row, where there are such."""
        if self.constants_of is None:
            return None
        found = self.constants_of(targets)
        return found if weight is None else weight * found


def sums_of(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum over each batch."""
    found: np.ndarray = np.add.reduceat(values, starts, dtype=np.float64)
    return found


def inverses(sums: Any) -> np.ndarray:
    """1 / Σ w of each batch, and 0 where nothing weighs anything."""
    sums = np.asarray(sums, np.float64)
    return np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
