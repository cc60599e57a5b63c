"""What watches a run: its loss over validation data, and the rule that stops it."""

import math
from collections.abc import Callable
from typing import Any

from .early_stopping import EarlyStopping
from .history import History
from .snapshot import Snapshot


class Watch:
    """After every epoch of a run, takes the loss over validation data, and judges whether that or the loss got better.

    Either may be None. The best epoch is remembered, with what it left where that is to be restored.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        history: History,
        validate: Callable[[], float] | None,
        stopping: EarlyStopping | None,
    ):
        self._model, self._optimizer, self._history, self._validate = model, optimizer, history, validate
        self._stops = stopping is not None
        settings = stopping or EarlyStopping()
        self._by_loss, self._patience = settings.monitor == "loss", settings.patience
        self._min_delta, self._restores = settings.min_delta, settings.restore_best
        self._best, self._waits = math.inf, 0
        self._at: tuple[int, float] | None = None  # the best epoch, and its loss
        self._left: Snapshot | None = None
        self.sees_nothing = validate is None and stopping is None

    def follow(self, epoch: int, loss: float) -> bool:
        """Take up an epoch of the run that has been added to the history; returns whether to stop."""
        value = loss
        if self._validate is not None:
            validation_loss = self._validate()
            self._history.validation_loss.append(validation_loss)
            value = loss if self._by_loss else validation_loss
        return self._stops and self._judge(epoch, loss, value)

    def _judge(self, epoch: int, loss: float, value: float) -> bool:
        if not value < self._best - self._min_delta:  # so NaN is no better
            self._waits += 1
            return self._waits >= self._patience
        if self._restores:
            self._left = Snapshot(self._model, self._optimizer)
        self._best, self._waits, self._at = value, 0, (epoch, loss)
        self._history.best_epoch = len(self._history.loss) - 1
        return False

    def restore(self) -> tuple[int, float] | None:
        """Go back to what the best epoch left, where that is wanted; returns which one it was, and its loss."""
        if self._left is None:
            return None
        self._left.restore(self._model, self._optimizer)
        return self._at
