"""A kernel that trains on staged rows, and what it is told of loss and optimizer."""

import time
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..arrays import aligned_zeros
from ..backend import kernels
from ..checks import shown
from ..losses.built_in import REDUCTIONS
from ..overrides import put
from ..program.op import Job, Update, Watched
from .staging import Batch, Stage
from .trainable import Trained


class KernelRun:
    """Trains a program on the rows of a stage, call by call; `stage` has targets of this shape.

    The last batch is remembered, until `_settle` leaves model and loss in the state that the loop would have.
    """

    def __init__(
        self,
        trained: Trained,
        loss_fn: Any,
        optimizer: Any,
        held: AbstractContextManager[None],
        stage: Stage,
        shape: tuple[int, ...],
    ):
        self._trained, self._held, self._stage = trained, held, stage
        self.program = trained.program
        self._loss_fn, self._optimizer = loss_fn, optimizer
        self._part = f"{loss_fn._part(shape)}.sum"
        self._gradients = np.zeros(0, self.program.dtype)  # where they are clipped
        self._no_rate: Exception | None = None
        self._last_batch: Batch | None = None
        self._seconds_asking = self._seconds = 0.0
        self._ruled_by, self._is_paced = self._rule(), False
        # Which takes seconds the first time: Ctrl-C is not held back yet.
        self.program.compile_training(self._update(np.zeros(0)), self._loss())

    def _loss(self) -> int:
        number: int = kernels().parts[self._part, self.program.dtype.char]
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

    def _rule(self) -> tuple[Any, ...]:
        """What it depends on which rule runs, and where."""
        optimizer = self._optimizer
        return optimizer._rule_name(), optimizer.decay_bias, optimizer.clip_norm is None

    def _rates(self, count: int) -> np.ndarray:
        """The learning rates of the next updates; Ctrl-C is not held back, for a schedule of the user's may be slow.

        Raises RuntimeError where it changed what has been looked at.
        """
        start, optimizer = time.perf_counter(), self._optimizer
        self._is_paced = optimizer.schedule is not None
        rates, self._no_rate = optimizer._kernel_rates(count)
        self._seconds_asking = time.perf_counter() - start
        as_before = list(optimizer._kernel_held()) == [self._trained.held] and self._rule() == self._ruled_by
        if self._is_paced and not as_before:
            raise RuntimeError(
                f"fit: the schedule {shown(optimizer.schedule)} changed its optimizer, or what that trains, when it "
                "was asked for rates; it may only return one. Change things in a callback"
            )
        return rates

    def _call(
        self,
        losses: np.ndarray,
        batch_size: int,
        rows: int,
        stride: int,
        rates: np.ndarray,
        watched: Watched | None = None,
    ) -> int:
        """One kernel call over the staged rows; returns how many updates were made. `_seconds` is what it took."""
        optimizer, program, loss_fn, stage = self._optimizer, self.program, self._loss_fn, self._stage
        job = Job(self._loss(), batch_size, rows, stride, REDUCTIONS[loss_fn.reduction], int(self._is_paced))
        update, loss_numbers = self._update(rates), loss_fn._numbers_as(program.dtype, program.n_out)
        start = time.perf_counter()
        done = program.train(losses, job, update, (loss_numbers, stage.x, stage.y), watched)
        put(optimizer, updates=optimizer.updates + done)
        self._seconds = self._seconds_asking + time.perf_counter() - start
        return done

    def _settle(self) -> None:
        """Leave model and loss in the state that the loop would have left them in after the last batch."""
        if self._last_batch is not None:
            x, target, weight = self._last_batch
            pred = self.program.state_after_training(x)
            self._loss_fn._computed(pred, pred, target.copy(), weight)
