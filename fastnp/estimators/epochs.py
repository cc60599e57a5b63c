"""Epochs of an estimator's training, each a few calls of a kernel."""

from collections.abc import Sequence
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

FLOPS = 1e10  # a second, assumed for how long a call may take
EPOCHS_AT_ONCE = 8


class Piece(NamedTuple):
    """Rows that one call trains on."""

    places: slice  # in the order of an epoch
    rows: int
    order: np.ndarray
    starts: np.ndarray  # of the batches among them, …
    sums: np.ndarray  # … which weigh so much
    settings: np.ndarray  # of each update
    shares: np.ndarray  # of the loss in what each batch tells


class Linked(NamedTuple):
    """What a training run of some kernels is told."""

    to: Any
    update: Update
    job: Job
    penalty: np.ndarray
    numbers: np.ndarray


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
        row_seconds = 6 * trained.program.multiplications() / FLOPS
        most = min(STAGED_BYTES // stage.row_bytes, int(SECONDS_PER_CALL / row_seconds))
        self._most = max(1, most // batch_size) * batch_size  # rows in one call
        stage.make_room(self.at_once * min(self._most, self._rows))
        places = [slice(start, min(start + self._most, self._rows)) for start in range(0, self._rows, self._most)]
        self._pieces = [self._piece(place, np.arange(place.start, place.stop), None) for place in places]
        self._linked = self._link()

    @property
    def at_once(self) -> int:
        """How many epochs one call may take, where they are short."""
        return max(1, min(EPOCHS_AT_ONCE, self._most // self._rows))

    def train(self, orders: Sequence[np.ndarray]) -> list[float]:
        """Train for one epoch on all rows in each of these orders, no more of them than go at once.

        Returns the loss of each; it is NaN from the one on in which it was not finite, where training ends.
        """
        if len(self._pieces) == 1:
            return self._train_together([self._of_order(self._pieces[0], order) for order in orders])
        (order,) = orders
        total = 0.0
        for piece in self._pieces:
            total += self._train_together([self._of_order(piece, order[piece.places])])[0] * piece.rows
            if np.isnan(total):
                break
        return [total / self._rows]

    def _of_order(self, piece: Piece, order: np.ndarray) -> Piece:
        """A piece with its rows in this order."""
        if self._weight is None:
            return piece._replace(order=order)
        return self._piece(piece.places, order, self._weight[order])

    def _train_together(self, pieces: Sequence[Piece]) -> list[float]:
        """Train on pieces, all of as many rows, in one call; returns the loss of each."""
        (first, *more), rows = pieces, pieces[0].rows
        settings = np.concatenate([piece.settings for piece in pieces]) if more else first.settings
        each = np.full((len(pieces), len(first.starts), 2), np.nan)
        with self._held:
            for i, piece in enumerate(pieces):
                self._stage.put(piece.order, i * rows)
            done = self._call_kernel(len(pieces), rows, each.reshape(-1, 2), settings)
        each.reshape(-1, 2)[done:] = np.nan
        return [self._loss_of(piece, told) for piece, told in zip(pieces, each, strict=True)]

    def _loss_of(self, piece: Piece, told: np.ndarray) -> float:
        """The loss of a piece, from what was told of its batches."""
        total = float(np.vdot(piece.shares, told))
        return (total if self._constants is None else total + self._of_constants(piece)) / piece.rows

    def _piece(self, places: slice, order: np.ndarray, weight: np.ndarray | None) -> Piece:
        """Rows that weigh so much; the weight decay of a batch is alpha over that."""
        starts = np.arange(0, len(order), self._size)
        counts = np.diff(starts, append=len(order))
        sums = counts if weight is None else sums_of(weight, starts)
        settings, decays = self._optimizer._kernel_settings, self._objective.alpha * inverses(sums)
        sets = np.array([settings(decay) for of_batch in decays.tolist() for decay in (of_batch, 0.0)])
        return Piece(places, len(order), order, starts, sums, sets, self._objective.shares(counts, sums))

    def _of_constants(self, piece: Piece) -> float:
        """The constants of each batch as often as it has rows."""
        assert self._constants is not None
        counts = np.diff(piece.starts, append=piece.rows)
        return float(np.sum(sums_of(self._constants[piece.order], piece.starts) * counts * inverses(piece.sums)))

    def _call_kernel(self, epochs: int, rows: int, each: np.ndarray, settings: np.ndarray) -> int:
        """One kernel call over the staged rows; returns how many updates were made."""
        optimizer, linked, program, stage = self._optimizer, self._linked, self.program, self._stage
        if linked.to is not kernels():
            linked = self._linked = self._link()
        self._rate[0] = optimizer.learning_rate
        update = linked.update._replace(settings=settings, before=optimizer.updates)
        job = linked.job._replace(rows=rows, stride=rows)
        data, told = (linked.numbers, stage.x, stage.y), Told(each, linked.penalty)
        done = program.train(np.zeros(epochs), job, update, data, told=told)
        put(optimizer, updates=optimizer.updates + done)
        return done

    def _link(self) -> Linked:
        """For the backend in force; what the penalty sums up are the weights, without biases."""
        weights = [linear.weights for linear in self._network.linears]
        places = [(tensor._place.offset, tensor._layout.size) for tensor in weights]
        names, char = Names("", squares=SQUARES_PART), self.program.dtype.char
        job = Job(self._loss(), self._size, 0, 0, REDUCTIONS[self._loss_fn.reduction], settings_step=2)
        numbers = self._loss_fn._numbers_as(self.program.dtype, self.program.n_out)
        penalty = planned(kernels(), names, char, 0, False, (), places)
        return Linked(kernels(), self._update(self._rate), job, penalty, numbers)
