"""Whole epochs of training in one kernel call, for models, losses, optimizers and data of fastnp's own."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..data.loader import DataLoader
from .finite import diverged
from .history import History
from .kernel_run import KernelRun
from .kernel_watch import KernelWatch, kernel_watch
from .staging import SECONDS_PER_CALL, STAGED_BYTES, ArrayStage
from .trainable import Trained
from .watching import Watch

SLOWEST = 1e9  # operations a second, and …
SECONDS_PER_BATCH = 1e-4  # … more for each batch: assumed until the first call has been timed


class CompiledRun(KernelRun):
    """Trains a program on an `ArrayDataset`: rows are staged in the order of their batches, then one call
    trains on all of them. Epochs that are short are staged and trained on several at a time.
    """

    def __init__(
        self,
        trained: Trained,
        loss_fn: Any,
        optimizer: Any,
        loader: DataLoader,
        held: AbstractContextManager[None],
        watch: Watch | None,
    ):
        dataset = loader.dataset
        stage = ArrayStage(trained.program, loss_fn, dataset.X, dataset.Y, dataset.weight)
        super().__init__(trained, loss_fn, optimizer, held, stage, dataset.Y.shape)
        self._stage: ArrayStage = stage
        self._sampler = loader.sampler
        self._batch_size = self._sampler.batch_size
        self._rows = len(self._sampler.indices)
        if self._sampler.drop_last:
            self._rows -= self._rows % self._batch_size
        self._batches = -(-self._rows // self._batch_size)
        batch = min(self._batch_size, self._rows)
        stage.make_room(max(1, STAGED_BYTES // (stage.row_bytes * batch)) * batch)
        self._watch = None if watch is None else kernel_watch(watch, self.program, trained.held, loss_fn)
        self._seconds_per_row = 6 * self.program.multiplications() / SLOWEST + SECONDS_PER_BATCH / batch
        self._made_for = self._what(trained, loader)
        if self._watch is not None:
            watched = self._watch.told(0, 1, self._loss())
            self.program.compile_training(self._update(np.zeros(0)), self._loss(), watched)

    @property
    def is_watched(self) -> bool:
        """Whether each epoch is followed by the watch before `epochs` returns."""
        return self._watch is not None

    def _what(self, trained: Trained, loader: DataLoader) -> tuple[Any, ...]:
        sampler, dataset = loader.sampler, loader.dataset
        objects = trained.program, trained.held, sampler, dataset.X, dataset.Y, dataset.weight
        return (*map(id, objects), *trained, *self._rule(), sampler.batch_size, sampler.drop_last, len(sampler.indices))

    def is_for(self, trained: Trained, loader: DataLoader) -> bool:
        """Whether nothing has changed since this run was made."""
        return self._what(trained, loader) == self._made_for

    def epochs(self, epoch: int, most: int, history: History) -> tuple[int, Exception | None]:
        """Train for one epoch or more, at most `most`, the first counted as `epoch`.

        Those completed are added to the history, before Ctrl-C is let through. Returns how many these are, and the
        error that ended them.
        """
        piece = self._piece()
        if self._rows > piece:
            return self._long_epoch(epoch, history)
        count = self._rows_per_call() // (self._rows + self._rows_watched())
        if self._sampler.reshuffle:
            count = min(count, piece // self._rows)
        return self._short_epochs(epoch, max(1, min(most, count)), history)

    def _rows_watched(self) -> int:
        return 0 if self._watch is None else self._watch.rows

    def _rows_per_call(self) -> int:
        return int(SECONDS_PER_CALL / self._seconds_per_row)

    def _piece(self) -> int:
        """Rows to stage at once: whole batches, as many as there is room and time for, at least one."""
        rows = min(len(self._stage.x), self._rows_per_call())
        return max(rows - rows % self._batch_size, min(self._batch_size, self._rows))

    def _short_epochs(self, epoch: int, count: int, history: History) -> tuple[int, Exception | None]:
        """`count` epochs in one call. Without reshuffling all take the same rows."""
        sampler, losses, batches = self._sampler, np.zeros(count), self._batches
        stride = self._rows if sampler.reshuffle else 0
        rates, before = self._rates(count * batches), self._optimizer.updates
        with self._held:
            drawn = sampler.state() if sampler.reshuffle and count > 1 else None
            for e in range(count if sampler.reshuffle else 1):
                self._put(sampler.next_order()[: self._rows], e * self._rows)
            done, stopped = self._train(losses, self._rows, stride, rates, self._watch)
            self._settle()
            finished, batch = divmod(done, batches)
            step = batches if len(rates) > 1 else 0
            history._add((losses[:finished] / batches).tolist(), [float(rates[e * step]) for e in range(finished)])
            if self._watch is not None:
                self._watch.take_up(epoch, finished, before, batches)
            if finished == count:
                return count, None
            if drawn is not None:  # the generator shall stand where the loop would have left it
                sampler.restore(drawn)
                for _ in range(finished if stopped else finished + 1):
                    sampler.next_order()
        return finished, self._broken_off(epoch + finished, batch, losses[finished], stopped)

    def _long_epoch(self, epoch: int, history: History) -> tuple[int, Exception | None]:
        """One epoch, piece by piece."""
        order, before = self._sampler.next_order(), self._optimizer.updates
        losses, first_rate = np.zeros(1), np.zeros(0)
        start = 0
        try:
            while start < self._rows:
                rows = min(self._piece(), self._rows - start)
                batches = -(-rows // self._batch_size)
                rates = self._rates(batches)
                first_rate = first_rate if start else rates[:1]
                watch = self._watch if start + rows >= self._rows else None
                with self._held:
                    self._put(order[start : start + rows], 0)
                    done, _ = self._train(losses, rows, 0, rates, watch)
                    if done < batches:
                        return 0, self._broken_off(epoch, start // self._batch_size + done, losses[0])
                    start += rows
                    if start >= self._rows:
                        history._add((losses / self._batches).tolist(), first_rate.tolist())
                    if watch is not None:
                        watch.take_up(epoch, 1, before, self._batches)
        finally:  # once: between pieces nobody looks, except after Ctrl-C
            with self._held:
                self._settle()
        return 1, None

    def _broken_off(self, epoch: int, batch: int, loss: float, stopped: bool = False) -> Exception | None:
        """Why a call ended in the middle of an epoch, where it is not that the watch `stopped` it."""
        no_rate, self._no_rate = self._no_rate, None  # whose traceback holds this object
        if stopped:
            return None
        if np.isfinite(loss):
            assert no_rate is not None
            return no_rate
        assert self._last_batch is not None  # it is the one
        x, y, *_ = self._last_batch
        return diverged(epoch, batch, float(loss), x, y, list(self._optimizer.parameters))

    def _put(self, order: np.ndarray, start: int) -> None:
        """Stage the rows of `order`, from row `start` on."""
        self._last_batch = None  # whose rows these may overwrite
        self._stage.put(order, start)

    def _train(
        self, losses: np.ndarray, rows: int, stride: int, rates: np.ndarray, watch: KernelWatch | None
    ) -> tuple[int, bool]:
        """One kernel call over the staged rows; returns how many updates were made, and whether the watch ended it."""
        batch_size = min(self._batch_size, rows)
        watched = None if watch is None else watch.told(len(losses), self._batches, self._loss())
        done = self._call(losses, batch_size, rows, stride, rates, watched)
        rows_in_all = (rows + (0 if watch is None else watch.rows)) * len(losses)
        self._seconds_per_row = max(self._seconds / rows_in_all, 1e-12)
        batches, stopped = -(-rows // batch_size), watch is not None and watch.stops
        epoch, batch = divmod(min(done - stopped, batches * len(losses) - 1), batches)
        first = epoch * stride + batch * batch_size
        self._last_batch = self._stage.batch(first, min(first + batch_size, epoch * stride + rows))
        return done, stopped
