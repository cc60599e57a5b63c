"""Epochs of an estimator's training, each a few calls of a kernel."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ..backend import kernels
from ..losses.built_in import REDUCTIONS
from ..optimizers.arenas import ArenaOptimizer
from ..optimizers.kept import Names, planned
from ..optimizers.singly import SQUARES_PART
from ..overrides import put
from ..program.op import Job, Told, Update
from ..training.kernel_run import KernelRun
from ..training.staging import SECONDS_PER_CALL, STAGED_BYTES
from ..training.trainable import trained_on
from .network import Network
from .objective import Objective, inverses, sums_of
from .rows import Rows, RowStage

FLOPS = 1e9  # a second, assumed for how long a call may take


class Piece(NamedTuple):
    """Rows that one call trains on: their places in an epoch's order, and those of their batches among them.

    `settings` has those of each update, `shares` what the loss of the epoch takes of what a batch tells.
    """

    places: slice
    starts: np.ndarray
    settings: np.ndarray
    shares: np.ndarray


class Linked(NamedTuple):
    """What a training run of some kernels is told."""

    to: Any
    update: Update
    job: Job
    penalty: np.ndarray


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
        self._network, self._objective, self._size, self._rows = network, objective, batch_size, X.shape[0]
        self._constants = objective.constants(Y, self._weight)
        self._rate = np.zeros(1)
        self._linked: Linked | None = None
        row_seconds = 6 * trained.program.multiplications() / FLOPS
        most = max(1, min(STAGED_BYTES // stage.row_bytes, int(SECONDS_PER_CALL / row_seconds)) // batch_size)
        most *= batch_size
        stage.make_room(min(most, self._rows))
        places = [slice(start, min(start + most, self._rows)) for start in range(0, self._rows, most)]
        self._pieces = [self._piece(place, None) for place in places]

    def train(self, order: np.ndarray) -> float:
        """Train on all rows in this order; the loss, or NaN where it was not finite, which ends the epoch."""
        total = 0.0
        for piece in self._pieces:
            rows = order[piece.places]
            if self._weight is not None:
                piece = self._piece(piece.places, self._weight[rows])
            each = np.empty((len(piece.starts), 2))
            with self._held:
                self._stage.put(rows, 0)
                if self._train_piece(len(rows), each, piece.settings) < len(each):
                    return np.nan
            total += float(np.vdot(piece.shares, each))
            if self._constants is not None:
                total += self._of_constants(rows, piece.starts)
        return total / self._rows

    def _piece(self, places: slice, weight: np.ndarray | None) -> Piece:
        """The rows at these places, where they weigh so much; the weight decay of a batch is alpha over that."""
        count = places.stop - places.start
        starts = np.arange(0, count, self._size)
        counts = np.diff(starts, append=count)
        sums = counts if weight is None else sums_of(weight, starts)
        settings, decays = self._optimizer._kernel_settings, self._objective.alpha * inverses(sums)
        sets = np.array([settings(decay) for of_batch in decays.tolist() for decay in (of_batch, 0.0)])
        return Piece(places, starts, sets, self._objective.shares(counts, sums))

    def _of_constants(self, rows: np.ndarray, starts: np.ndarray) -> float:
        """The constants of each batch as often as it has rows."""
        counts, constants = np.diff(starts, append=len(rows)), self._constants
        assert constants is not None
        sums = counts if self._weight is None else sums_of(self._weight[rows], starts)
        return float(np.sum(sums_of(constants[rows], starts) * counts * inverses(sums)))

    def _train_piece(self, rows: int, each: np.ndarray, settings: np.ndarray) -> int:
        """One kernel call over the staged rows; returns how many updates were made."""
        optimizer, linked, program, stage = self._optimizer, self._linked, self.program, self._stage
        if linked is None or linked.to is not kernels():
            linked = self._linked = self._link()
        self._rate[0] = optimizer.learning_rate
        update = linked.update._replace(settings=settings, before=optimizer.updates)
        numbers = self._loss_fn._numbers_as(program.dtype, program.n_out)
        told = Told(each, linked.penalty)
        job = linked.job._replace(rows=rows)
        done = program.train(np.zeros(1), job, update, (numbers, stage.x, stage.y), told=told)
        put(optimizer, updates=optimizer.updates + done)
        return done

    def _link(self) -> Linked:
        """For the backend in force; what the penalty sums up are the weights, without biases."""
        weights = [linear.weights for linear in self._network.linears]
        places = [(tensor._place.offset, tensor._layout.size) for tensor in weights]
        names, char = Names("", squares=SQUARES_PART), self.program.dtype.char
        job = Job(self._loss(), self._size, 0, 0, REDUCTIONS[self._loss_fn.reduction], settings_step=2)
        return Linked(kernels(), self._update(self._rate), job, planned(kernels(), names, char, 0, False, (), places))
