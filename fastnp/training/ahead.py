"""Training by a kernel on what a data set of the user's own gives, which is asked for some batches ahead."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import numpy as np

from ..arrays import real_array
from ..data.loader import whole_batch_of
from .alike import Columns, alike, taken_by
from .epoch import Epoch, Parts
from .finite import diverged
from .kernel_run import KernelRun
from .staging import SECONDS_PER_CALL, STAGED_BYTES, Stage
from .trainable import Trained, trained_on

GROWTH = 8  # by how much more may be asked for than the last time, of which alone it is known how long it took


class BatchesRun(KernelRun):
    """Trains a program on batches, staged one behind the other: at `most` so many, for they take room."""

    most = 1

    def __init__(
        self, trained: Trained, loss_fn: Any, optimizer: Any, held: AbstractContextManager[None], columns: Columns
    ):
        shape, weighted = columns[1][0].shape, len(columns) == 3
        stage = Stage(trained.program, loss_fn, shape, weighted)
        super().__init__(trained, loss_fn, optimizer, held, stage, shape)
        self._key = self._what(trained, columns)

    def _what(self, trained: Trained, columns: Columns) -> tuple[Any, ...]:
        shape = columns[1][0].shape[1:]
        return (id(trained.program), id(trained.held), *trained, *self._rule(), shape, len(columns))

    def is_for(self, trained: Trained, columns: Columns) -> bool:
        """Whether this run trains on such batches, and nothing has changed since it was made."""
        return self._what(trained, columns) == self._key

    def train(self, epoch: Epoch, batches: list[Any], columns: Columns) -> int:
        """Train on the batches of these columns, of which `batches` are as they came; returns how many that were.

        It is all or none: none where a number in them cannot be converted, and the user wants to be told.
        """
        count, size, rows = len(columns[0]), len(columns[0][0]), sum(map(len, columns[0]))
        rates, losses = self._rates(count), np.array([epoch.total])
        try:
            self._stage.put_batches(*columns)
        except (RuntimeWarning, FloatingPointError):
            return 0
        with self._held:
            done = self._call(losses, size, rows, 0, rates)
            first = min(done, count - 1) * size
            x, target, weight = self._stage.batch(first, min(first + size, rows))
            # Copies, for others are staged next.
            self._last_batch = x.copy(), target.copy(), None if weight is None else weight.copy()
            if done:
                epoch.passed(done, float(losses[0]), float(rates[0]))
        if done < count:
            self._break_off(epoch, batches[done], float(losses[0]))
        self.most = max(1, STAGED_BYTES // (self._stage.row_bytes * size))
        return count

    def _break_off(self, epoch: Epoch, batch: Any, loss: float) -> None:
        """Raise what the loop raises for this batch."""
        no_rate, self._no_rate = self._no_rate, None  # whose traceback holds this object
        self.settle()
        if np.isfinite(loss):
            assert no_rate is not None
            try:
                raise no_rate
            finally:
                del no_rate
        x, y, *_ = batch
        raise diverged(epoch.number, epoch.batches, loss, x, y, epoch.parts.model.parameters(), self._loss_fn.pred)

    def settle(self) -> None:
        """Leave model and loss as the last batch leaves them, unless the loop has gone on since."""
        with self._held:
            self._settle()
            self._last_batch = None


class Ahead:
    """Trains on data sets of the user's own, an epoch at a time.

    Batches are stacked as the loader stacks them; a kernel trains on as many as take about 20 ms together, or the loop
    on one of them that the kernel does not take. Where nobody `looks` between epochs, model and loss take up the state
    that the last batch leaves when all are over, by `settle`.
    """

    def __init__(self, held: AbstractContextManager[None], looks: bool):
        self._held, self._looks = held, looks
        self._run: BatchesRun | None = None
        self._most = 1  # until one is compiled: for that, which takes seconds, Ctrl-C in the data set shall not wait

    def train(self, epoch: Epoch) -> None:
        """Train for an epoch."""
        loader = epoch.parts.dataloader
        batches, more = iter(loader), True
        if whole_batch_of(loader.dataset) is not None:
            batches = map(_copied, batches)
        try:
            while more:
                more = self._train_some(epoch, batches)
        except BaseException:
            self.settle()
            raise
        if self._looks:
            self.settle()
        epoch.end()

    def _train_some(self, epoch: Epoch, batches: Iterator[Any]) -> bool:
        """Ask for batches, and train on them; returns whether there may be more."""
        wanted, run = self._most, self._run
        asked: list[Any] = []
        error: BaseException | None = None
        start = time.perf_counter()
        try:
            try:
                asked.extend(islice(batches, wanted))  # which keeps those before an error
            except BaseException as caught:  # also Ctrl-C: of batches that it came after, none shall be lost
                error = caught
            i = 0
            while i < len(asked):
                i += self._train_first(epoch, asked[i:] if i else asked)
            if asked and self._run is not None and self._run is run:
                seconds = max((time.perf_counter() - start) / len(asked), 1e-9)
                most = max(self._most, GROWTH * len(asked))
                self._most = max(1, min(int(SECONDS_PER_CALL / seconds), most, run.most))
            if error is not None:
                raise error
        finally:
            del error  # it holds this frame, and with it the model
        return len(asked) == wanted

    def _train_first(self, epoch: Epoch, batches: list[Any]) -> int:
        """Train on the first batches by a kernel, or on one by the loop; returns how many."""
        columns = alike(batches)
        run = None if columns is None else self._run_for(epoch.parts, columns)
        if columns is not None and run is not None:
            count = taken_by(epoch.parts.loss_fn, run.program.n_out, columns)
            if count and run.train(epoch, batches, [column[:count] for column in columns]):
                return count
        self.settle()  # for the loop may come no further than the first line
        epoch.step(batches[0])
        return 1

    def _run_for(self, parts: Parts, columns: Columns) -> BatchesRun | None:
        """What trains on such batches; asked for anew each time, for the data set may have changed anything."""
        model, loss_fn, optimizer, _ = parts
        trained = trained_on(model, loss_fn, optimizer, columns[0][0].shape, columns[1][0].shape)
        if trained is None:
            return None
        if self._run is None or not self._run.is_for(trained, columns):
            self.settle()
            self._run = BatchesRun(trained, loss_fn, optimizer, self._held, columns)
        return self._run

    def settle(self) -> None:
        """Leave model and loss as the last batch left them."""
        if self._run is not None:
            self._run.settle()


def _copied(batch: Any) -> Any:
    """A batch that the data set gives as a whole, whose arrays it may use again for the next."""
    return tuple([_copied_array(value) for value in batch])


def _copied_array(value: Any) -> Any:
    try:
        return real_array(value, "a batch").copy()
    except (TypeError, ValueError):  # which the loop refuses in its own words
        return value
