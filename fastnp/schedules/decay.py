"""Rates that are multiplied by a factor again and again."""

from typing import ClassVar

import numpy as np

from ..checks import check_rate
from .schedule import Checks, Schedule, check_updates


class Step(Schedule):
    """rate · factor^(t // every) for update t = 0, 1, …: multiplied by the factor after every so many updates.

    Args:
        rate: that of the first updates, finite and not negative.
        every: how many updates have the same rate, an integer from 1 on; `8 * len(loader)` is every 8 epochs.
        factor: finite and not negative; with one above 1 rates grow, in the end beyond what an optimizer takes.

    Source: C. Szegedy et al., "Going deeper with convolutions" (2014), with 0.96 every 8 epochs.
    """

    _checks: ClassVar[Checks] = {"rate": check_rate, "every": check_updates, "factor": check_rate}
    rate: float
    every: int
    factor: float

    def __init__(self, rate: float, every: int, factor: float):
        self._keep(rate=rate, every=every, factor=factor)

    def _formula(self, updates: np.ndarray) -> np.ndarray:
        return _decayed(self.rate, self.factor, updates // self.every)


class Exponential(Schedule):
    """rate · decay^t for update t = 0, 1, …

    Args:
        rate: that of the first update, finite and not negative.
        decay: the factor from one update to the next, finite and not negative; `0.9 ** (1 / len(loader))` makes 0.9 of
            the rate in an epoch. With one above 1 rates grow, in the end beyond what an optimizer takes.

    Source: A. Senior, G. Heigold, M. Ranzato, K. Yang, "An empirical study of learning rates in deep neural networks
    for speech recognition" (2013).
    """

    _checks: ClassVar[Checks] = {"rate": check_rate, "decay": check_rate}
    rate: float
    decay: float

    def __init__(self, rate: float, decay: float):
        self._keep(rate=rate, decay=decay)

    def _formula(self, updates: np.ndarray) -> np.ndarray:
        return _decayed(self.rate, self.decay, updates)


def _decayed(rate: float, factor: float, times: np.ndarray) -> np.ndarray:
    return rate * np.power(factor, times) if rate else np.zeros_like(times)  # and never 0 · inf
