"""Rates that go from one number to another, in a given number of updates."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..checks import check_integer, check_rate
from .schedule import Checks, Schedule, check_updates

Rates = Callable[[np.ndarray], np.ndarray]


def _along_line(start: float, stop: float, share: np.ndarray) -> np.ndarray:
    """From start, where the share is 0, to stop, where it is 1, or more: exactly these at both ends."""
    rates = start + (stop - start) * share
    if not share[-1] < 1:
        rates[share >= 1] = stop
    return rates


def _along_cosine(start: float, stop: float, share: np.ndarray) -> np.ndarray:
    """The same along half a wave."""
    return _along_line(start, stop, 0.5 - 0.5 * np.cos(np.pi * np.minimum(share, 1)))


def _in_turn(updates: np.ndarray, first: float, rising: Rates, falling: Rates) -> np.ndarray:
    """The rates that rise up to an update, and those that fall from it on; most blocks have only one of these."""
    if updates[-1] < first:
        return rising(updates)
    if updates[0] >= first:
        return falling(updates)
    return np.where(updates < first, rising(updates), falling(updates))


class Linear(Schedule):
    """start + (stop − start) · t / total for update t = 0, 1, … up to total, and stop ever after.

    Args:
        start, stop: rates, finite and not negative; either may be the larger.
        total: after how many updates the rate is stop, an integer from 1 on.

    Source: J. Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding" (2018),
    for rates that fall to 0; P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017), for
    rates that rise first.
    """

    _checks: ClassVar[Checks] = {"start": check_rate, "stop": check_rate, "total": check_updates}
    start: float
    stop: float
    total: int

    def __init__(self, start: float, stop: float, total: int):
        self._keep(start=start, stop=stop, total=total)

    def _settled(self) -> int:
        return self.total

    def _formula(self, updates: np.ndarray) -> np.ndarray:
        return _along_line(self.start, self.stop, updates / self.total)


def _check_warmup(owner: str, name: str, value: Any) -> int:
    return check_integer(owner, name, value, 0)


class Cosine(Schedule):
    """Up to rate along a line, then down to floor along half a wave of the cosine. For update t = 0, 1, …

        rate · (t + 1) / warmup                                                          below warmup,
        floor + (rate − floor) · (1 + cos(π · (t − warmup) / (total − warmup))) / 2      up to total,

    and floor ever after.

    Args:
        rate: the largest, unless floor is; finite and not negative.
        total: after how many updates, with those of the warm-up, the rate is floor; an integer from 1 on.
        warmup: how many updates the rate takes to rise, an integer from 0 to total − 1.
        floor: the last rate, finite and not negative.

    Source: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), here without
    restarts; P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017), for the warm-up.
    """

    _checks: ClassVar[Checks] = {
        "rate": check_rate,
        "total": check_updates,
        "warmup": _check_warmup,
        "floor": check_rate,
    }
    rate: float
    total: int
    warmup: int
    floor: float

    def __init__(self, rate: float, total: int, warmup: int = 0, floor: float = 0.0):
        self._keep(rate=rate, total=total, warmup=warmup, floor=floor)
        if self.warmup >= self.total:
            raise ValueError(f"Cosine: warmup must be less than total, which is {self.total}, got {self.warmup}")

    def _settled(self) -> int:
        return self.total

    def _formula(self, updates: np.ndarray) -> np.ndarray:
        return _in_turn(
            updates,
            self.warmup,
            lambda t: _along_line(0.0, self.rate, (t + 1) / max(self.warmup, 1)),
            lambda t: _along_cosine(self.rate, self.floor, (t - self.warmup) / (self.total - self.warmup)),
        )


class OneCycle(Schedule):
    """Up from peak / 25 to peak in the first 30 % of the updates, then down to peak / 250,000, both along cosines.

    The rates are those of PyTorch's `OneCycleLR` with its defaults: peak is reached at update 0.3 · total − 1, the last
    rate at update total − 1, and that is the rate ever after. Momentum stays as it is.

    Args:
        peak: the largest rate, finite and not negative.
        total: how many updates the cycle has, an integer from 1 on; `epochs * len(loader)` for a whole training.

    Source: L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning
    rates" (2018).
    """

    _checks: ClassVar[Checks] = {"peak": check_rate, "total": check_updates}
    peak: float
    total: int

    def __init__(self, peak: float, total: int):
        self._keep(peak=peak, total=total)

    def _settled(self) -> int:
        return self.total - 1

    def _formula(self, updates: np.ndarray) -> np.ndarray:
        first, last = self.peak / 25, self.peak / 25 / 1e4
        top, end = 0.3 * self.total - 1, self.total - 1  # top is never 0, and negative where total is 3 at most
        return _in_turn(
            updates,
            np.nextafter(top, np.inf),
            lambda t: _along_cosine(first, self.peak, t / top),
            lambda t: _along_cosine(self.peak, last, (t - top) / (end - top)),
        )
