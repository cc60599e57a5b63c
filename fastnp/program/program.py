"""Runs of built-in layers, lowered to a table that kernels walk over an arena."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..arena import Arena, gather
from ..arrays import real_array
from ..backend import kernels
from ..kernels.table import SUM, rows
from ..tensor import Tensor
from . import calls
from .lowering import Workspace
from .op import Job, NumbersAt, Op, Update, Watched, forget_states, move_states, trained_rows

_trained: set[tuple[str, str, bool]] = set()  # backends, dtypes, whether watched: for which a kernel is compiled


class Program:
    """A run of operations with its workspace. It holds the forward state of their layers.

    The workspace has room for `capacity` rows; `_batch` of them are in use, and views show these.
    """

    def __init__(self, ops: Sequence[Op], dtype: np.dtype):
        self.dtype = dtype
        self.n_in = ops[0].n_in
        self.n_out = ops[-1].n_out
        self._ops = list(ops)
        self._input_name = f"the input of {ops[0].name}"
        self.tensors = [tensor for op in ops for tensor in op.tensors]
        self.holds_state = False  # every layer's last forward was this program's
        self._workspace: Workspace | None = None
        self._batch = -1
        self._spare: list[Workspace] = []
        self._adding = np.zeros(1, dtype), np.ones(1, dtype)  # the numbers of the rule that keeps gradients
        self.arena = Arena([], dtype)
        self._gather()

    def _gather(self) -> None:
        gather(self.tensors)
        if self.tensors:
            self.arena = self.tensors[0]._place.arena
        self.is_all = self.arena.holds_only(len(self.tensors))  # the arena has the parameters of this program alone
        self.arena.followed = True

    # --- workspace ---

    def _reserve(self, batch: int) -> Workspace:
        """A workspace for this many rows, neither too small nor far too large.

        Memory may run out and Ctrl-C come between any two lines: table and workspace always fit together.
        """
        space = self._workspace
        if space is None or batch > space.capacity or max(batch, 64) < space.capacity // 8:
            space = Workspace(self._ops, self.arena, batch, self.dtype)
            self._forget_state()
            self._workspace = space
        return space

    def _set_batch(self, space: Workspace, batch: int) -> None:
        """Make views of the buffers for a batch of this size."""
        self._batch = -1
        self._x, self._dx = (self._view(space, 0, name, batch) for name in ("x", "dx"))
        self._y, self._dy = (self._view(space, -1, name, batch) for name in ("y", "dy"))
        self._batch = batch

    def _view(self, space: Workspace, row: int, name: str, batch: int) -> np.ndarray:
        """A buffer of one row, without its pads."""
        op = space.rows[row]
        ld, n = (op.ld_in, op.n_in) if name in ("x", "dx") else (op.ld_out, op.n_out)
        return rows(space.work, getattr(op, name), batch, ld)[:, :n]

    def multiplications(self) -> int:
        """How many numbers are multiplied with weights when one row passes forward."""
        return sum(tensor.data.size for tensor in self.tensors)

    def follow_tensors(self) -> None:
        """If tensors have moved, bring them together again and point the tables at their new places."""
        if not self.arena.dead:
            return
        if any(tensor.dtype != self.dtype for tensor in self.tensors):
            raise ValueError(f"{self._ops[0].name}: backward before forward, for its tensors were converted since")
        self._gather()
        if self._workspace is not None:
            self._workspace.follow(self.arena)

    # --- the state of the layers ---

    def _claim_state(self) -> None:
        """From now on this program holds the forward state of its layers, and no other does."""
        move_states(self._ops, self)
        self.holds_state = True

    def _forget_state(self) -> None:
        """What comes may be broken off: until the state is claimed again, no layer shall use it."""
        forget_states(self._ops, self)
        self.holds_state = False
        self._batch = -1

    def lose_state(self) -> None:
        """Another program now holds the state of one of the layers."""
        self.holds_state = False

    def input_of(self, row: int) -> np.ndarray:
        """A copy of what the layer of a row was last given."""
        return self._state(row, "x")

    def output_of(self, row: int) -> np.ndarray:
        """A copy of what the layer of a row last returned."""
        return self._state(row, "y")

    def _state(self, row: int, name: str) -> np.ndarray:
        assert self._workspace is not None  # layers ask only where they have a state here
        return self._view(self._workspace, row, name, self._batch).copy()

    # --- running ---

    def forward(self, x: Any) -> np.ndarray:
        """The output (batch, n_out) for the input x (batch, n_in), in a new array."""
        x = self._checked_input(x)
        if self.arena.dead:
            self.follow_tensors()
        space = self._workspace
        if space is None or len(x) != self._batch:
            space = self._reserve(len(x))
            self._set_batch(space, len(x))
        if not self.holds_state:
            self._claim_state()
        self._x[...] = x
        backend = kernels()
        if space.noises:
            space.hand_over()
        backend.forward(space.work, self.arena.data, space.forward(backend), self._batch)
        if space.noises:
            space.take_back()
        return self._y.copy()

    def _checked_input(self, x: Any) -> np.ndarray:
        x = real_array(x, self._input_name)
        if x.ndim == 2 and x.shape[1] == self.n_in:
            return x
        what = next(op.words for op in self._ops if op.words)
        if x.ndim == 2:
            raise ValueError(f"{what} got an input with {x.shape[1]} features")
        hint = "; for one sample use x[np.newaxis, :], for one feature x[:, np.newaxis]" if x.ndim == 1 else ""
        raise ValueError(f"{what} got an input of shape {x.shape}; expected 2 dimensions, (batch, {self.n_in}){hint}")

    def predict(self, x: Any) -> np.ndarray:
        """As `forward`, but in a workspace of its own: no state changes, and threads may do it at once."""
        x = self._checked_input(x)
        if self.arena.dead:
            self.follow_tensors()
        space, backend, n = self._borrow(len(x)), kernels(), len(x)
        space.x(n)[:, : self.n_in] = x
        backend.forward(space.work, space.arena.data, space.forward(backend), n)
        result = space.y(n)[:, : self.n_out].copy()
        self._spare.append(space)
        return result

    def _borrow(self, count: int) -> Workspace:
        """A workspace that no other thread uses, neither too small nor far too large."""
        try:
            space = self._spare.pop()
        except IndexError:
            space = None
        if space is None or space.arena is not self.arena or not count <= space.capacity <= max(64, 8 * count):
            space = Workspace(self._ops, self.arena, count, self.dtype)
        return space

    def backward(self, gradient: Any) -> np.ndarray:
        """Add the parameters' gradients; the gradient (batch, n_in) of the input, in a new array."""
        return self._backward(gradient, None, self._dy, self._dx)

    def backward_row(self, gradient: Any, row: int) -> np.ndarray:
        """`backward` for the layer of one row only."""
        assert self._workspace is not None  # layers ask only where they have a state here
        dy, dx = (self._view(self._workspace, row, name, self._batch) for name in ("dy", "dx"))
        return self._backward(gradient, row, dy, dx)

    def _backward(self, gradient: Any, row: int | None, dy: np.ndarray, dx: np.ndarray) -> np.ndarray:
        gradient = real_array(gradient, "the gradient")
        if gradient.shape != dy.shape:
            name = self._ops[-1 if row is None else row].name
            raise ValueError(f"{name} got a gradient of shape {gradient.shape}; its last output had {dy.shape}")
        dy[...] = gradient
        if self.arena.dead:
            self.follow_tensors()
        arena, space, backend = self.arena, self._workspace, kernels()
        assert space is not None
        table = space.backward(backend) if row is None else space.apart(backend, row)
        numbers = self._adding[arena.adds(whole=row is None and self.is_all)]
        backend.backward(space.work, arena.data, arena.grad, numbers, table, self._batch)
        arena.was_written()
        return dx.copy()

    # --- training by a kernel alone ---

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
        backend = kernels()
        space = self._workspace or Workspace(self._ops, self.arena, 0, self.dtype)
        table, key = space.training(backend, *update[:2]), (backend.name, self.dtype.char, watched is None)
        if key not in _trained:
            numbers, none, job = np.zeros(0, self.dtype), np.zeros((0, 1), self.dtype), Job(loss, 1, 0, 0, SUM, 0)
            arrays, apart = (table, numbers, numbers, numbers, none, none), (table, numbers)
            calls.train(backend, np.zeros(0), job, update, arrays, watched, apart)
            _trained.add(key)

    def train(
        self, losses: np.ndarray, job: Job, update: Update, data: calls.Arrays, watched: Watched | None = None
    ) -> int:
        """Run the kernel `train`, or `train_and_watch`, on staged rows; returns how many updates were made."""
        self._forget_state()
        space, backend = self._reserve(min(job.batch_size, job.rows)), kernels()
        arrays = space.training(backend, *update[:2]), space.work, self.arena.data, *data
        space.hand_over()
        if watched is None:
            done = calls.train(backend, losses, job, update, arrays)
        else:
            other = self._borrow(min(watched.job.batch_size, watched.job.rows))
            apart = other.forward(backend), other.work
            done = calls.train(backend, losses, job, update, arrays, watched, apart)
            self._spare.append(other)
        space.take_back()
        return done

    def state_after_training(self, x: np.ndarray) -> np.ndarray:
        """Take up the forward state of the last batch, whose input was x; returns its output in a new array."""
        assert self._workspace is not None
        self._set_batch(self._workspace, len(x))
        self._x[...] = x
        self._claim_state()
        return self._y.copy()
