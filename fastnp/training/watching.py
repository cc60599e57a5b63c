"""What watches a run: its loss over validation data, and the rule that stops it."""

import math
from typing import Any

import numpy as np

from ..interchange.training import Progress
from ..kernels.table import BEST, BY_VALIDATION, MIN_DELTA, PATIENCE, STOPPING_COLUMNS, WAITS, is_better
from ..optimizers.snapshot import Snapshot, snapshot
from .early_stopping import EarlyStopping
from .history import History
from .validation import Validation

ENDLESS = 2**53  # epochs; up to here all integers are doubles


class Watch:
    """After every epoch of a run, takes the loss over validation data, and judges whether that or the loss got better.

    Either may be None. The best epoch is remembered, with what it left where that is to be restored. `stopping` is
    what kernels take the rule for.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        history: History,
        validation: Validation | None,
        settings: EarlyStopping | None,
    ):
        self._model, self._optimizer, self.history = model, optimizer, history
        self.validation = validation
        self.stopping = np.zeros(STOPPING_COLUMNS)
        self.stopping[BEST] = math.inf
        self.restores = False
        if settings is not None:
            self.stopping[PATIENCE], self.stopping[MIN_DELTA] = min(settings.patience, ENDLESS), settings.min_delta
            self.stopping[BY_VALIDATION] = settings.monitor == "validation_loss"
            self.restores = settings.restore_best
        self.monitor = None if settings is None else settings.monitor
        self.sees_nothing = validation is None and settings is None
        self._at: tuple[int, float] | None = None  # the best epoch, and its loss
        self._left: Snapshot | None = None
        self.restored = False

    @property
    def stops(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.stopping[PATIENCE] <= self.stopping[WAITS]

    def follow(self, epoch: int) -> None:
        """Take up an epoch of the run, the last one in the history."""
        value = loss = self.history.loss[-1]
        if self.validation is not None:
            validation_loss = self.validation()
            self.history.validation_loss.append(validation_loss)
            value = validation_loss if self.stopping[BY_VALIDATION] else loss
        if self.stopping[PATIENCE] and is_better(self.stopping, value):
            self.found_better(epoch, 0, snapshot(self._model, self._optimizer) if self.restores else None)

    def found_better(self, epoch: int, ago: int, left: Snapshot | None) -> None:
        """An epoch of the run, so many before the last in the history, is the best; what it left."""
        place = len(self.history.loss) - 1 - ago
        self._left, self._at = left, (epoch, self.history.loss[place])
        self.history.best_epoch = place

    def told(self, progress: Progress) -> None:
        """Note what a run that is broken off here has to know, to go on."""
        progress.monitor, progress.left, progress.restored = self.monitor, self._left, self.restored
        progress.best, progress.waits = float(self.stopping[BEST]), int(self.stopping[WAITS])
        if self._at is not None:
            progress.best_epoch, progress.best_loss = self._at

    def go_on(self, progress: Progress) -> None:
        """Go on from there; where something else was monitored, it begins anew."""
        if progress.monitor is not None and progress.monitor == self.monitor:
            self.stopping[BEST], self.stopping[WAITS] = progress.best, progress.waits
            if self.restores:
                self._left = snapshot(self._model, self._optimizer) if progress.restored else progress.left
            if progress.best_epoch is not None:
                self._at = progress.best_epoch, progress.best_loss

    def restore(self) -> tuple[int, float] | None:
        """Go back to what the best epoch left, where that is wanted; returns which one it was, and its loss."""
        if self._left is None:
            return None
        self._left.restore(self._model, self._optimizer)
        self._left, self.restored = None, True
        return self._at
