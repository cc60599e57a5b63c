"""Epochs of an estimator's training, each a few calls of a kernel."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..backend import kernels
from ..losses.built_in import REDUCTIONS
from ..optimizers.arenas import ArenaOptimizer
from ..optimizers.kept import Names, planned
from ..optimizers.singly import SQUARES_PART
from ..overrides import put
from ..program.op import Job, Told
from ..training.kernel_run import KernelRun
from ..training.staging import SECONDS_PER_CALL, STAGED_BYTES
from ..training.trainable import trained_on
from .network import Network
from .objective import Objective, inverses, sums_of
from .rows import Rows, RowStage

FLOPS = 1e9  # a second, assumed for how long a call may take


class Epochs(KernelRun):
    """Trains a network on rows, an epoch at a time, in batches of one size, the last of which may be shorter."""

    def __init__(
        self,
        network: Network,
        objective: Objective,
        optimizer: ArenaOptimizer,
        rows: Rows,
        batch_size: int,
        held: AbstractContextManager[None],
    ):
        X, _, Y, self._weight = rows
        trained = trained_on(network.model, objective.loss_fn, optimizer, X.shape, Y.shape)
        assert trained is not None  # all of it is of the library's own
        stage = RowStage(trained.program, objective.loss_fn, X, Y, self._weight)
        super().__init__(trained, objective.loss_fn, optimizer, held, stage, Y.shape)
        self._stage: RowStage = stage
        self._objective, self._size, self._rows = objective, batch_size, X.shape[0]
        constants = None if objective.constants_of is None else objective.constants_of(Y)
        self._constants = constants if constants is None or self._weight is None else constants * self._weight
        row_seconds = 6 * trained.program.multiplications() / FLOPS
        most = min(STAGED_BYTES // stage.row_bytes, int(SECONDS_PER_CALL / row_seconds))
        self._piece = max(1, most // batch_size) * batch_size
        stage.make_room(min(self._piece, self._rows))
        char, places = trained.program.dtype.char, [(t._place.offset, t._layout.size) for t in _weights(network)]
        self._penalty = planned(kernels(), Names("", squares=SQUARES_PART), char, 0, False, (), places)
        self._settings: dict[int, np.ndarray] = {}  # for so many batches, where no row has a weight

    def train(self, order: np.ndarray) -> float:
        """Train on all rows in this order; the loss, or NaN where it was not finite, which ends the epoch."""
        total = 0.0
        for start in range(0, self._rows, self._piece):
            rows = order[start : start + self._piece]
            starts = np.arange(0, len(rows), self._size)
            counts = np.diff(starts, append=len(rows))
            sums = counts if self._weight is None else sums_of(self._weight[rows], starts)
            settings, each = self._settings_of(sums), np.empty((len(starts), 2))
            with self._held:
                self._stage.put(rows, 0)
                if self._train_piece(len(rows), each, settings) < len(starts):
                    return np.nan
            constants = None if self._constants is None else sums_of(self._constants[rows], starts)
            total += float(self._objective.of_batches(each, sums, constants) @ counts)
        return total / self._rows

    def _settings_of(self, sums: np.ndarray) -> np.ndarray:
        """The settings of each update: its weight decay is alpha over what the rows of its batch weigh."""
        if self._weight is not None:
            return self._sets(sums)
        if len(sums) not in self._settings:
            self._settings[len(sums)] = self._sets(sums)
        return self._settings[len(sums)]

    def _sets(self, sums: np.ndarray) -> np.ndarray:
        settings, decays = self._optimizer._kernel_settings, self._objective.alpha * inverses(sums)
        return np.array([settings(decay) for of_batch in decays.tolist() for decay in (of_batch, 0.0)])

    def _train_piece(self, rows: int, each: np.ndarray, settings: np.ndarray) -> int:
        """One kernel call over the staged rows; returns how many updates were made."""
        loss_fn, program, optimizer = self._loss_fn, self.program, self._optimizer
        update = self._update(np.array([optimizer.learning_rate]))._replace(settings=settings)
        job = Job(self._loss(), self._size, rows, 0, REDUCTIONS[loss_fn.reduction], settings_step=2)
        numbers = loss_fn._numbers_as(program.dtype, program.n_out)
        data, told = (numbers, self._stage.x, self._stage.y), Told(each, self._penalty)
        done = program.train(np.zeros(1), job, update, data, told=told)
        put(optimizer, updates=optimizer.updates + done)
        return done


def _weights(network: Network) -> list[Any]:
    return [linear.weights for linear in network.linears]
