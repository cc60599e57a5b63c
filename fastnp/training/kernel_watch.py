"""A watch that a kernel keeps while it trains."""

from typing import Any, NamedTuple

import numpy as np

from ..arrays import aligned_zeros
from ..backend import kernels
from ..data.dataset import ArrayDataset
from ..data.loader import DataLoader
from ..data.sampler import BatchSampler
from ..kernels.table import BATCHES, BETTER
from ..losses.built_in import REDUCTIONS
from ..optimizers.kept import Held
from ..optimizers.snapshot import snapshot_of
from ..overrides import is_plain
from ..program.op import Job, Watched
from ..program.program import Program
from .staging import ArrayStage
from .validation import Validation, rows_counted
from .watching import Watch

LARGEST = 1 << 26  # bytes of validation data that are staged: more of it is gathered batch by batch


class Data(NamedTuple):
    """Arrays, which rows of them are taken, in this order, and in batches of which size."""

    X: np.ndarray
    Y: np.ndarray
    weight: np.ndarray | None
    order: np.ndarray
    batch_size: int


def _data_of(validation: Validation) -> Data | None:
    """Validation data as arrays in a fixed order, or None where it is anything else."""
    if validation.arrays is not None:
        X, Y, *more = validation.arrays
        return Data(X, Y, more[0].reshape(-1) if more else None, np.arange(len(X)), len(X))
    loader = validation.batches
    if not is_plain(loader, DataLoader):
        return None
    dataset, sampler = loader.dataset, loader.sampler
    if not is_plain(dataset, ArrayDataset) or not is_plain(sampler, BatchSampler) or sampler.reshuffle:
        return None
    order = sampler.indices[: len(sampler) * sampler.batch_size]
    weight = None if dataset.weight is None else dataset.weight.reshape(-1)
    return Data(dataset.X, dataset.Y, weight, order, sampler.batch_size)


class StagedValidation:
    """All batches of validation data, as kernels take them."""

    def __init__(self, program: Program, loss_fn: Any, stage: ArrayStage, data: Data):
        _, Y, weight, order, size = data
        self._char, self._part, self._loss_fn = program.dtype.char, f"{loss_fn._part(Y.shape)}.sum", loss_fn
        self.rows, self._batch_size = len(order), size
        stage.make_room(self.rows)
        stage.put(order, 0)
        batches = [order[start : start + size] for start in range(0, self.rows, size)]
        weights = [() if weight is None else (weight[batch],) for batch in batches]
        counts = [rows_counted(loss_fn, Y[batch], *w) for batch, w in zip(batches, weights, strict=True)]
        self.arrays = np.array(counts), stage.x, stage.y

    def job(self) -> Job:
        """What a kernel is told of them."""
        part: int = kernels().parts[self._part, self._char]
        reduction = REDUCTIONS[self._loss_fn.reduction]
        return Job(part, self._batch_size, self.rows, stride=0, reduction=reduction)


def _staged(validation: Validation, program: Program, loss_fn: Any) -> StagedValidation | None:
    data = _data_of(validation)
    if data is None:
        return None
    X, Y, weight, order, _ = data
    if X.shape[1:] != (program.n_in,) or loss_fn._columns(program.n_out, Y.shape) is None:
        return None
    stage = ArrayStage(program, loss_fn, X, Y, weight)
    if not 0 < len(order) * stage.row_bytes <= LARGEST:
        return None
    return StagedValidation(program, loss_fn, stage, data)


class KernelWatch:
    """Tells a kernel what a `Watch` knows, and that, after each call, what the kernel found."""

    def __init__(self, watch: Watch, held: Held, validation: StagedValidation | None):
        self._watch, self._held, self._validation = watch, held, validation
        best, best_kept = (aligned_zeros(a.size * watch.restores, a.dtype) for a in (held.data, held.kept))
        self._best, self._losses = (best, best_kept), np.zeros(0)

    @property
    def rows(self) -> int:
        """How many rows of training take about as long as the validation: they pass forward, back and into updates."""
        return 0 if self._validation is None else -(-self._validation.rows // 3)

    @property
    def stops(self) -> bool:
        """Whether patience is at its end."""
        return self._watch.stops

    def told(self, epochs: int, batches: int, loss: int) -> Watched:
        """What a kernel is told for so many epochs, each of so many batches; the loss is not asked for alone."""
        stopping, found = self._watch.stopping, self._validation
        stopping[BATCHES], stopping[BETTER] = batches, -1
        if found is None:
            none = np.zeros((0, 1), self._held.data.dtype)
            return Watched(stopping, *self._best, self._losses, Job(loss, 1, 0, 0, 0), np.zeros(0), none, none)
        self._losses = np.zeros(epochs)
        return Watched(stopping, *self._best, self._losses, found.job(), *found.arrays)

    def take_up(self, epoch: int, finished: int, updates: int, batches: int) -> None:
        """Hand on what was found in a call that began with this epoch, after so many updates.

        The history has the epochs already.
        """
        if self._validation is not None:
            self._watch.history.validation_loss.extend(self._losses[:finished].tolist())
        better = int(self._watch.stopping[BETTER])
        if better >= 0:
            after = updates + (better + 1) * batches
            left = snapshot_of(self._held, *self._best, after) if self._watch.restores else None
            self._watch.found_better(epoch + better, finished - 1 - better, left)


def kernel_watch(watch: Watch, program: Program, held: Held, loss_fn: Any) -> KernelWatch | None:
    """What a kernel needs to keep a watch, or None where it cannot, for its validation data."""
    validation = None
    if watch.validation is not None:
        validation = _staged(watch.validation, program, loss_fn)
        if validation is None:
            return None
    return KernelWatch(watch, held, validation)
