"""Whole epochs of training in one kernel call, for models, losses, optimizers and data of fastnp's own."""

import time
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ..arrays import aligned_zeros, take_rows
from ..backend import kernels
from ..data.dataset import ArrayDataset
from ..data.loader import DataLoader
from ..data.sampler import BatchSampler
from ..kernels import padded
from ..layers.sequential import Sequential
from ..losses.built_in import REDUCTIONS
from ..optimizers.kept import Held
from ..overrides import is_plain
from ..program.op import Job, NumbersAt, Rule, Update, kind_of, own_of
from ..program.program import Program
from .finite import diverged
from .history import History

SECONDS_PER_CALL = 0.02  # how long a kernel may run before Python sees Ctrl-C and moves the progress bar
STAGED_BYTES = 1 << 19  # rows are gathered in pieces of this size, or of one batch where that is larger
SLOWEST = 1e9  # operations a second, and …
SECONDS_PER_BATCH = 1e-4  # … more for each batch: assumed until the first call has been timed


Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # x, y and weights


class Trained(NamedTuple):
    """What a kernel trains alone."""

    program: Program
    rows: tuple[NumbersAt | None, ...]  # of the program: whose parameters change, and by which numbers of the rule
    held: Held  # these parameters, and what the optimizer keeps of them


def trainable(model: Any, loss_fn: Any, optimizer: Any, loader: Any) -> Trained | None:
    """What a kernel can train alone, or None where the loop has to run.

    One program must be the whole model, the optimizer must hold the parameters of some of its rows and no others, and
    no gradient may be left over. No method of any of them may have been redefined.
    """
    if not (
        is_plain(model, Sequential)
        and kind_of(loss_fn) is not None
        and loss_fn.reduction != "none"
        and own_of(optimizer, "_kernel_rule", Rule) is not None
        and is_plain(loader, DataLoader)
        and is_plain(loader.sampler, BatchSampler)
        and is_plain(loader.dataset, ArrayDataset)
    ):
        return None
    program = model.whole_program()
    X, Y = loader.dataset.X, loader.dataset.Y
    if program is None or X.shape[1:] != (program.n_in,) or loss_fn._columns(program.n_out, Y.shape) is None:
        return None
    held = optimizer._kernel_held()
    apart = not optimizer.decay_bias and optimizer.clip_norm is None  # else the rows only keep gradients
    rows = program.trained_by(optimizer.parameters, apart)
    if rows is None or program.has_gradients() or not all(of.plain and of.arena is program.arena for of in held):
        return None
    return Trained(program, rows, held[0])


class CompiledRun:
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
    ):
        self._held, self._trained = held, trained
        self.program = program = trained.program
        self._loss_fn, self._optimizer, self._sampler = loss_fn, optimizer, loader.sampler
        self._X, self._Y, self._weight = loader.dataset.X, loader.dataset.Y, loader.dataset.weight
        self._batch_size = self._sampler.batch_size
        self._rows = len(self._sampler.indices)
        if self._sampler.drop_last:
            self._rows -= self._rows % self._batch_size
        self._batches = -(-self._rows // self._batch_size)
        dtype, batch = program.dtype, min(self._batch_size, self._rows)
        self._columns = loss_fn._columns(program.n_out, self._Y.shape)
        ld, ld_y = padded(program.n_in, dtype.itemsize), self._columns + (self._weight is not None)
        capacity = max(1, STAGED_BYTES // ((ld + ld_y) * dtype.itemsize * batch)) * batch
        self._x = aligned_zeros(capacity * ld, dtype).reshape(capacity, ld)
        self._y = aligned_zeros(capacity * ld_y, dtype).reshape(capacity, ld_y)
        self._seconds_per_row = 6 * program.multiplications() / SLOWEST + SECONDS_PER_BATCH / batch
        self._gradients = np.zeros(0, dtype)  # where they are clipped
        self._no_rate: Exception | None = None
        self._last_batch: Batch | None = None
        self._seconds_asking = 0.0
        self._made_for = self._what(trained, loader)
        # Which takes seconds the first time: Ctrl-C is not held back yet.
        program.compile_training(self._update(np.zeros(0)), self._loss())

    def _loss(self) -> int:
        part = self._loss_fn._part(self._Y.shape)
        number: int = kernels().parts[f"{part}.sum", self.program.dtype.char]
        return number

    def _update(self, rates: np.ndarray) -> Update:
        """What a kernel is told of the optimizer, for updates of these learning rates."""
        optimizer, (_, rows, held) = self._optimizer, self._trained
        clip_norm = optimizer.clip_norm or 0.0
        rule, roles = ("gradients", ("flat", "squares")) if clip_norm else (optimizer._rule_name(), ())
        if clip_norm and not self._gradients.size:
            self._gradients = aligned_zeros(held.data.size, self.program.dtype)
        gradients = self._gradients if clip_norm else self._gradients[:0]
        of_optimizer = optimizer._kernel_plan(held, kernels(), *roles), held.kept, gradients, optimizer._kernel_sets()
        return Update(rule, rows, *of_optimizer, rates, optimizer.updates, clip_norm)

    def _what(self, trained: Trained, loader: DataLoader) -> tuple[Any, ...]:
        sampler, dataset, optimizer = loader.sampler, loader.dataset, self._optimizer
        objects = trained.program, trained.held, sampler, dataset.X, dataset.Y, dataset.weight
        rule = optimizer._rule_name(), optimizer.decay_bias, optimizer.clip_norm is None
        return (*map(id, objects), *trained, *rule, sampler.batch_size, sampler.drop_last, len(sampler.indices))

    def is_for(self, trained: Trained, loader: DataLoader) -> bool:
        """Whether nothing has changed since this run was made."""
        return self._what(trained, loader) == self._made_for

    def epochs(self, epoch: int, most: int, history: History) -> tuple[int, Exception | None]:
        """Train for one epoch or more, at most `most`, the first counted as `epoch`.

        The losses of those completed are added to the history, before Ctrl-C is let through. Returns how
        many these are, and the error that ended them.
        """
        piece = self._piece()
        if self._rows > piece:
            return self._long_epoch(epoch, history)
        count = min(most, piece // self._rows if self._sampler.reshuffle else self._rows_per_call() // self._rows)
        return self._short_epochs(epoch, max(1, count), history)

    def _rows_per_call(self) -> int:
        return int(SECONDS_PER_CALL / self._seconds_per_row)

    def _piece(self) -> int:
        """Rows to stage at once: whole batches, as many as there is room and time for, at least one."""
        rows = min(len(self._x), self._rows_per_call())
        return max(rows - rows % self._batch_size, min(self._batch_size, self._rows))

    def _short_epochs(self, epoch: int, count: int, history: History) -> tuple[int, Exception | None]:
        """`count` epochs in one call. Without reshuffling all take the same rows."""
        sampler, losses = self._sampler, np.zeros(count)
        stride = self._rows if sampler.reshuffle else 0
        rates = self._rates(count * self._batches)
        with self._held:
            before = sampler.state() if sampler.reshuffle and count > 1 else None
            for e in range(count if sampler.reshuffle else 1):
                self._stage(sampler.next_order()[: self._rows], e * self._rows)
            done = self._train(losses, self._rows, stride, rates)
            self._settle()
            finished, batch = divmod(done, self._batches)
            first = np.arange(finished) * (self._batches if len(rates) > 1 else 0)
            history._add((losses[:finished] / self._batches).tolist(), rates[first].tolist())
            if finished == count:
                return count, None
            if before is not None:  # the generator shall stand where the loop would have left it
                sampler.restore(before)
                for _ in range(finished + 1):
                    sampler.next_order()
        return finished, self._broken_off(epoch + finished, batch, losses[finished])

    def _long_epoch(self, epoch: int, history: History) -> tuple[int, Exception | None]:
        """One epoch, piece by piece."""
        order = self._sampler.next_order()
        losses, first_rate = np.zeros(1), np.zeros(0)
        start = 0
        try:
            while start < self._rows:
                rows = min(self._piece(), self._rows - start)
                batches = -(-rows // self._batch_size)
                rates = self._rates(batches)
                first_rate = first_rate if start else rates[:1]
                with self._held:
                    self._stage(order[start : start + rows], 0)
                    done = self._train(losses, rows, 0, rates)
                    if done < batches:
                        return 0, self._broken_off(epoch, start // self._batch_size + done, losses[0])
                    start += rows
                    if start >= self._rows:
                        history._add((losses / self._batches).tolist(), first_rate.tolist())
        finally:  # once: between pieces nobody looks, except after Ctrl-C
            with self._held:
                self._settle()
        return 1, None

    def _rates(self, count: int) -> np.ndarray:
        """The learning rates of the next updates; Ctrl-C is not held back, for a schedule of the user's may be slow."""
        start = time.perf_counter()
        rates, self._no_rate = self._optimizer._kernel_rates(count)
        self._seconds_asking = time.perf_counter() - start
        return rates

    def _broken_off(self, epoch: int, batch: int, loss: float) -> Exception:
        """Why a call ended in the middle of an epoch."""
        no_rate, self._no_rate = self._no_rate, None  # whose traceback holds this object
        if np.isfinite(loss):
            assert no_rate is not None
            return no_rate
        assert self._last_batch is not None  # it is the one
        x, y, *_ = self._last_batch
        return diverged(epoch, batch, float(loss), x, y, list(self._optimizer.parameters))

    def _stage(self, order: np.ndarray, start: int) -> None:
        """Gather the rows of `order`, converted, from row `start` on."""
        self._last_batch = None  # whose rows these may overwrite
        stop = start + len(order)
        self._x[start:stop, : self.program.n_in] = take_rows(self._X, order)
        self._y[start:stop, : self._columns] = take_rows(self._Y, order).reshape(len(order), self._columns)
        if self._weight is not None:
            self._y[start:stop, -1] = take_rows(self._weight, order)

    def _train(self, losses: np.ndarray, rows: int, stride: int, rates: np.ndarray) -> int:
        """One kernel call over the staged rows; returns how many updates were made."""
        optimizer, program, loss_fn = self._optimizer, self.program, self._loss_fn
        batch_size, reduction = min(self._batch_size, rows), REDUCTIONS[loss_fn.reduction]
        rate_step = int(optimizer.schedule is not None)
        job = Job(self._loss(), batch_size, rows, stride, reduction, rate_step)
        update, loss_numbers = self._update(rates), loss_fn._numbers_as(program.dtype, program.n_out)
        start = time.perf_counter()
        done = program.train(losses, job, update, loss_numbers, self._x, self._y)
        optimizer.updates += done
        seconds = self._seconds_asking + time.perf_counter() - start
        self._seconds_per_row = max(seconds / (rows * len(losses)), 1e-12)
        batches = -(-rows // batch_size)
        epoch, batch = divmod(min(done, batches * len(losses) - 1), batches)
        first = epoch * stride + batch * batch_size
        last = min(first + batch_size, epoch * stride + rows)
        target = self._y[first:last, : self._columns].reshape(-1, *self._Y.shape[1:])
        weight = None if self._weight is None else self._y[first:last, -1]
        self._last_batch = self._x[first:last, : program.n_in], target, weight
        return done

    def _settle(self) -> None:
        """Leave model and loss in the state that the loop would have left them in after the last batch."""
        if self._last_batch is not None:
            x, target, weight = self._last_batch
            pred = self.program.state_after_training(x)
            self._loss_fn._computed(pred, pred, target.copy(), weight)
