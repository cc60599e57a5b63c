"""Weights of rows: how much each counts."""

from typing import Any

import numpy as np

from .arrays import real_array


def check_weights(name: str, weight: Any, rows: int) -> np.ndarray:
    """As `checked_weights`, of all data there is; raises ValueError also where all are 0."""
    weights = checked_weights(name, weight, rows)
    if rows and not weights.any():
        raise ValueError(f"{name}: all weights are 0; nothing would be learned from such data")
    return weights


def checked_weights(name: str, weight: Any, rows: int, first: int = 0) -> np.ndarray:
    """`weight` as an array (rows,) of real numbers, not copied where it is one already.

    Raises TypeError for what are no numbers; ValueError for another length, and where one is negative or not finite,
    with the number of its row, counted from `first`.
    """
    array = real_array(weight, name)
    if array.shape == (rows, 1):
        array = array[:, 0]
    if array.shape != (rows,):
        raise ValueError(f"{name} has shape {array.shape}; expected a number for each of {rows} rows, ({rows},)")
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name}[{first + row}] is {array[row]}; weights must be finite and not negative")
    return array
