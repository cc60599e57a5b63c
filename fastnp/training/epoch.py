"""One epoch of a training, batch by batch: the loop as a user writes it."""

import math
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Tensor
from .batches import unpacked
from .finite import diverged
from .history import History


class Parts(NamedTuple):
    """What a training takes."""

    model: Any
    loss_fn: Any
    optimizer: Any
    dataloader: Any


class Epoch:
    """An epoch, and how far it is. When it is complete, its mean loss over the batches is in the history."""

    def __init__(self, parts: Parts, number: int, history: History, held: AbstractContextManager[None]):
        self.parts, self.number, self._history, self.held = parts, number, history, held
        self.total, self.batches, self._recorded, self._rate = 0.0, 0, False, math.nan
        self._expected = len(parts.dataloader)
        self._others: list[Tensor] | None = None  # which the optimizer does not clear

    def step(self, batch: Any) -> None:
        """Train on a batch."""
        model, loss_fn, optimizer, _ = self.parts
        x, y, *weight = unpacked(batch, self.batches, f"epoch {self.number}")
        pred = model(x)
        loss = loss_fn(pred, y, *weight)
        if type(loss) is not float:
            loss = float(np.mean(loss))
        if not math.isfinite(loss):
            raise diverged(self.number, self.batches, loss, x, y, model.parameters(), pred)
        if self._others is None:
            held_ones = {id(tensor) for tensor in optimizer.parameters}
            self._others = [tensor for tensor in model.parameters() if id(tensor) not in held_ones]
        with self.held:
            rate = self._rate if self.batches else _rate(optimizer)
            try:
                model.backward(loss_fn.backward())
                optimizer.step()
            finally:  # where a layer of the user's raises, too: the next batch shall not add to these
                optimizer.clear_grad()
                for tensor in self._others:
                    tensor.clear_grad()
            self.passed(1, self.total + loss, rate)

    def passed(self, batches: int, total: float, rate: float) -> None:
        """So many more batches were trained on. The losses of all come to this; `rate` is that of the first of them."""
        if not self.batches:
            self._rate = rate
        self.total = total
        self.batches += batches
        if self._recorded:  # the loader gives more than its length says
            self._history.loss[-1] = total / self.batches
        elif self.batches == self._expected:
            self._record()

    def end(self) -> None:
        """There are no more batches. Raises ValueError where there was none."""
        if not self.batches:
            of = f"{self.parts.dataloader!r} gave no batches in epoch {self.number}"
            raise ValueError(f"fit: {of}; it must be iterable again and again")
        if not self._recorded:  # it gave fewer than its length says
            with self.held:
                self._record()

    def _record(self) -> None:
        self._history._add([self.total / self.batches], [self._rate])
        self._recorded = True


def _rate(optimizer: Any) -> float:
    """The learning rate of the next update; NaN where an optimizer of the user's own has none that is a number."""
    rate = getattr(optimizer, "learning_rate", math.nan)
    try:
        return float(rate)
    except (TypeError, ValueError):
        return math.nan
