"""Files from which a run goes on: when they are written, and what a run that goes on begins with."""

from pathlib import Path
from typing import Any

import numpy as np

from ..checks import check_positive_integer
from ..interchange.files import noted_all, save
from ..interchange.replacing import checked_target
from ..interchange.training import Progress, give, running, take
from .early_stopping import EarlyStopping
from .epoch import Parts
from .finite import are_finite
from .history import History
from .watching import ENDLESS, Watch


class Checkpoints:
    """How far a run is. Where there is a path, this is written there every so many epochs, and when it ends.

    `start` is how many epochs were done by a run that was broken off, of which this is the rest.
    """

    def __init__(self, path: Any, every: int, parts: Parts, epochs: int, settings: EarlyStopping | None, watch: Watch):
        self._every = check_positive_integer("fit", "every", every)
        self._path = None if path is None else checked_target(path)  # also where the current folder changes
        self._parts, self._epochs, self._settings, self._watch = parts, epochs, settings, watch
        self._parameters = parts.model.parameters()
        self._finite = path is not None and are_finite(self._parameters)
        if path is not None:
            self._note({})  # what a file cannot hold is refused before anything is trained
        self._updates, self._around = getattr(parts.optimizer, "updates", 0), running.get(id(parts.optimizer))
        self._found = found = take(parts.optimizer)
        self.goes_on = found is not None
        self.start = self._done = 0 if found is None else found.done
        self.stopped = found is not None and found.stopped
        if found is not None:
            try:
                _fill(watch.history, found.history)
            except ValueError:
                give(parts.optimizer, found)
                raise
            watch.go_on(found)

    def __enter__(self) -> "Checkpoints":
        running[id(self._parts.optimizer)] = self._progress
        return self

    def __exit__(self, error: Any, *_: object) -> None:
        optimizer = self._parts.optimizer
        running.pop(id(optimizer), None)
        if self._around is not None:  # a run inside a callback of that one
            running[id(optimizer)] = self._around
        if error is not None and self._found is not None and getattr(optimizer, "updates", 0) == self._updates:
            give(optimizer, self._found)  # nothing came of this run

    def _progress(self) -> Progress:
        progress = Progress(self._done, self.stopped)
        self._watch.told(progress)
        return progress

    def _given(self) -> dict[str, Any]:
        _, loss_fn, optimizer, dataloader = self._parts
        of = {"optimizer": optimizer, "dataloader": dataloader, "loss_fn": loss_fn}
        return {**of, "history": self._watch.history, "early_stopping": self._settings}

    def _note(self, tensors: dict[str, Any]) -> None:
        noted_all(self._parts.model, tensors, **self._given())

    def until_next(self, epoch: int) -> int:
        """How many epochs after this one there is something to write."""
        return ENDLESS if self._path is None else self._every - epoch % self._every

    def counts(self, epoch: int) -> None:
        """So many epochs are done, which a callback is told of next."""
        self._done = epoch

    def passes(self, epoch: int) -> None:
        """So many epochs are done, and a callback has been told of it; more may follow."""
        ends = epoch >= self._epochs or self._watch.stops  # which `ends` is told of
        due = self._path is not None and epoch % self._every == 0 and not ends
        if due and (not self._finite or are_finite(self._parameters)):  # else the file before is one to go back to
            self._write()

    def ends(self) -> None:
        """The run has ended, and left what it leaves."""
        news = not self.goes_on or self._done > self.start or self._watch.restored
        if self._path is not None and (news or not Path(self._path).exists()):
            self._write()

    def _write(self) -> None:
        save(self._path, self._parts.model, **self._given())


def _fill(history: History, numbers: dict[str, Any] | None) -> None:
    """Begin with what a history had. Raises ValueError for one that has begun otherwise."""
    if numbers is None or np.array_equal(history.loss, numbers["loss"], equal_nan=True):
        return
    if history.loss:
        raise ValueError(
            f"fit: history has {len(history.loss)} epochs, that of the run that goes on had {len(numbers['loss'])}; "
            "give a new History, or the one that was loaded"
        )
    for name, values in numbers.items():
        setattr(history, name, values)
