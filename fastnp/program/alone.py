"""Programs that a kernel trains alone, batch after batch."""

from collections.abc import Iterable

import numpy as np

from ..backend import kernels
from ..kernels.table import SUM
from ..tensor import Tensor
from . import calls
from .lowered import Lowered, Spare
from .lowering import Workspace
from .op import Job, NumbersAt, Told, Update, Watched, trained_rows

_trained: set[tuple[str, str, bool]] = set()  # backends, dtypes, whether watched: for which a kernel is compiled


class TrainedAlone(Lowered):
    """A run of operations in training: one call of a kernel for many steps."""

    def trained_by(self, parameters: Iterable[Tensor], apart: bool) -> tuple[NumbersAt | None, ...] | None:
        """As `trained_rows`, of the rows of this program."""
        return trained_rows(self._ops, parameters, apart)

    def has_gradients(self) -> bool:
        """Whether a gradient of one of the parameters is not zero."""
        if self.is_all:
            return self.arena.has_gradients()
        return any(tensor.grad.any() for tensor in self.tensors)

    def compile_training(self, update: Update, loss: int, watched: Watched | None = None) -> None:
        """Train for no epoch: what the kernel runs is compiled, where it has not been, and nothing else is touched."""
        running = kernels()
        space = self._workspace or self._make_workspace(0)
        table, key = space.training(running, *update[:2]), (running.name, self.dtype.char, watched is None)
        if key not in _trained:
            numbers, none, job = np.zeros(0, self.dtype), np.zeros((0, 1), self.dtype), Job(loss, 1, 0, 0, SUM)
            arrays, apart = (table, numbers, numbers, numbers, none, none), (table, numbers)
            calls.train(running, np.zeros(0), job, update, arrays, watched, apart)
            _trained.add(key)

    def train(
        self,
        losses: np.ndarray,
        job: Job,
        update: Update,
        data: calls.Arrays,
        watched: Watched | None = None,
        told: Told = Told(),
    ) -> int:
        """Run the kernel `train`, or `train_and_watch`, on staged rows; returns how many updates were made."""
        space, running = self._space_for(job), kernels()
        arrays = space.training(running, *update[:2]), space.work, self.arena.data, *data
        space.hand_over()
        if watched is None:
            done = calls.train(running, losses, job, update, arrays, told=told)
        else:
            other = self._borrow(min(watched.job.batch_size, watched.job.rows))
            apart = other.forward(running)[1:], other.work
            done = calls.train(running, losses, job, update, arrays, watched, apart)
            self._spare.append(Spare(other))
        space.take_back()
        return done

    def _space_for(self, job: Job) -> Workspace:
        """The workspace, for a job that leaves no state behind."""
        if self.holds_state or self._batch >= 0:
            self._forget_state()
        return self._reserve(min(job.batch_size, job.rows))

    def loss_and_gradients(self, gradients: np.ndarray, job: Job, data: calls.Arrays) -> float:
        """The loss over staged rows, and the gradients of all parameters, laid out as these are in their arena."""
        space, running = self._space_for(job), kernels()
        table, job_ = space.training(running, "gradients", self.trained_by(self.tensors, False) or ()), np.array(job)
        loss: float = running.loss_and_gradients(gradients, job_, table, space.work, self.arena.data, *data)
        return loss

    def state_after_training(self, x: np.ndarray) -> np.ndarray:
        """Take up the forward state of the last batch, whose input was x; returns its output in a new array."""
        assert self._workspace is not None
        self._batch = len(x)
        self._view(self._workspace, 0, "x", len(x))[...] = x
        self._claim_state()
        return self._view(self._workspace, -1, "y", len(x)).copy()
